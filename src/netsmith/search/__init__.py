"""Strategies and the exact solver; ``strategy.py`` is the contract. Names load on first use, as some need scipy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from netsmith.search.agreement import additivity
    from netsmith.search.history import History
    from netsmith.search.registry import get_strategy, register_strategy, strategy_names
    from netsmith.search.solver.exact import Solution, minimise_cost, solve, solve_k_best
    from netsmith.search.solver.relaxation import Relaxation, lagrange
    from netsmith.search.strategy import Problem, Results, Strategy

__all__ = [
    "History", "Problem", "Relaxation", "Results", "Solution", "Strategy", "additivity", "get_strategy",
    "lagrange", "minimise_cost", "register_strategy", "solve", "solve_k_best", "strategy_names",
]  # fmt: skip

_HOME = {
    "Solution": "solver.exact",
    "minimise_cost": "solver.exact",
    "solve": "solver.exact",
    "solve_k_best": "solver.exact",
    "Relaxation": "solver.relaxation",
    "lagrange": "solver.relaxation",
    "History": "history",
    "get_strategy": "registry",
    "register_strategy": "registry",
    "strategy_names": "registry",
    "additivity": "agreement",
    "Problem": "strategy",
    "Results": "strategy",
    "Strategy": "strategy",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'netsmith.search' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"netsmith.search.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
