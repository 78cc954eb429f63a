"""Strategies by name."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from netsmith.errors import InputError, did_you_mean
from netsmith.search.strategy import Problem, Strategy
from netsmith.space import Space

#: Called as ``factory(problem, space, seed, **options)``.
Factory = Callable[..., Strategy]

#: Built-in strategies as "module:class", imported when asked for.
_BUILTIN = {
    "amc": "netsmith.search.agents.amc_strategy:AmcStrategy",
    "compactnet": "netsmith.search.trim.compactnet:CompactNet",
    "ddpg": "netsmith.search.agents.ddpg_strategy:DdpgStrategy",
    "deep": "netsmith.search.ramps:Deep",
    "evolution": "netsmith.search.evolution:Evolution",
    "exact": "netsmith.search.exact_strategy:Exact",
    "greedy": "netsmith.search.greedy:Greedy",
    "netadapt": "netsmith.search.trim.trimming:Trimming",
    "random": "netsmith.search.random:Random",
    "shallow": "netsmith.search.ramps:Shallow",
    "uniform": "netsmith.search.uniform:Uniform",
}
_REGISTERED: dict[str, Factory] = {}


def register_strategy(name: str) -> Callable[[Factory], Factory]:
    """Register a strategy class or factory under ``name``."""

    def add(factory: Factory) -> Factory:
        _REGISTERED[name] = factory
        return factory

    return add


def strategy_names() -> list[str]:
    """Names of all strategies."""
    return sorted({*_BUILTIN, *_REGISTERED})


def get_strategy(name: str, problem: Problem, space: Space | None = None, seed: int = 0, **options: Any) -> Strategy:
    """Return the strategy ``name`` for a problem.

    Args:
        space: the decisions behind the problem's rows; some strategies use their kinds.
        seed: equal seeds, equal proposals.
        options: passed on to the strategy.

    Raises:
        InputError: unknown name or option, or a space that does not fit the problem.
    """
    if name not in strategy_names():
        known = strategy_names()
        raise InputError(f"unknown strategy {name!r}{did_you_mean(name, known)}; known strategies: {', '.join(known)}")
    if space is not None and len(space) != len(problem.loss):
        raise InputError(f"the space has {len(space)} decisions, but the problem has {len(problem.loss)}")
    if name in _REGISTERED:
        factory = _REGISTERED[name]
    else:
        module, _, attribute = _BUILTIN[name].partition(":")
        factory = getattr(import_module(module), attribute)
    try:
        return factory(problem, space, seed, **options)
    except TypeError as error:
        if "unexpected keyword argument" in str(error):
            raise InputError(f"strategy {name!r}: {str(error).partition('() ')[2]}") from None
        raise
