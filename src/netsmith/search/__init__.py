"""Strategies and the exact solver; ``strategy.py`` is the contract. Names load on first use, as some need scipy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netsmith.lazy import lazy_names

if TYPE_CHECKING:
    from netsmith.search.agreement import additivity
    from netsmith.search.cheapest import Cheapest, least_cost
    from netsmith.search.history import History
    from netsmith.search.registry import get_strategy, register_strategy, strategy_names
    from netsmith.search.solver.exact import Solution, minimise_cost, solve, solve_k_best
    from netsmith.search.strategy import Problem, Results, Strategy

__all__ = [
    "Cheapest", "History", "Problem", "Results", "Solution", "Strategy", "additivity", "get_strategy", "least_cost",
    "minimise_cost", "register_strategy", "solve", "solve_k_best", "strategy_names",
]  # fmt: skip

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "agreement": ("additivity",),
        "cheapest": ("Cheapest", "least_cost"),
        "history": ("History",),
        "registry": ("get_strategy", "register_strategy", "strategy_names"),
        "solver.exact": ("Solution", "minimise_cost", "solve", "solve_k_best"),
        "strategy": ("Problem", "Results", "Strategy"),
    },
)
