"""Strategies by name, each with what it says of itself.

A ``Spec`` is all that the rest of the house knows of a strategy before it runs: what it is called, where it is, and its
traits. No list of names stands anywhere else, so a strategy that a user registers is run as one of the house is:

    @register_strategy("mine", evaluations=60, batch=1)
    class Mine: ...

This module loads neither numpy nor any strategy: the help of the command line is made from the specs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from netsmith.errors import InputError, did_you_mean, shown

if TYPE_CHECKING:
    from netsmith.search.strategy import Problem, Strategy
    from netsmith.space import Space

#: Called as ``factory(problem, space, seed, **options)``.
Factory = Callable[..., "Strategy"]

NEEDS = ("layers", "parts", "canonical", "renew")  #: what a factory can be told beyond the problem


@dataclass(frozen=True)
class Traits:
    """How a strategy wants to be run.

    Attributes:
        evaluations: designs that are run where the user does not say how many.
        learns: it needs results of whole designs, as the summed losses of single choices tell it too little. One that
            does not is asked once and trusted, unless such sums mislead.
        batch: the most designs that it is asked for before it is told; 1 where it learns from every single result.
        walks: it goes to the budgets step by step: it asks for designs outside of them, and ends by itself.
        retargets: it goes on by itself at renewed prices and limits, by ``retarget(problem)``. Any other is made
            anew, and told again everything that is known.
        guarantees: it can search without a budget, for accuracy weighed against a cost: its factory takes
            ``reward="guaranteed"``, ``resource`` and ``unit``.
        kinds: of decisions that it can choose; none for all.
        needs: what its factory is told of the decisions beyond the problem, by name: ``layers`` (which layers each is
            about), ``parts`` and ``canonical`` (see ``search/exact_strategy.py``), ``renew`` (a design to the tables
            that are right around it).
    """

    evaluations: int = 200
    learns: bool = True
    batch: int = 8
    walks: bool = False
    retargets: bool = False
    guarantees: bool = False
    kinds: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, least in (("evaluations", 1), ("batch", 1)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise InputError(f"trait {name!r} is {shown(value)}; give a whole number of at least {least}")
        for name in ("learns", "walks", "retargets", "guarantees"):
            if not isinstance(value := getattr(self, name), bool):
                raise InputError(f"trait {name!r} is {shown(value)}; give True or False")
        for name in ("kinds", "needs"):
            value = getattr(self, name)
            if isinstance(value, str) or not all(isinstance(word, str) for word in value):
                raise InputError(f"trait {name!r} is {shown(value)}; give a tuple of names")
        if unknown := next((need for need in self.needs if need not in NEEDS), None):
            known = list(NEEDS)
            raise InputError(
                f"trait 'needs' has {shown(unknown)}{did_you_mean(unknown, known)}; there are {', '.join(known)}"
            )


@dataclass(frozen=True)
class Spec:
    """A strategy: its name, what it does in a sentence, what makes it, and its traits.

    Attributes:
        entry: the factory, or ``module:name`` of one, which is imported when it is asked for.
        title: what its configuration is called in Python.
    """

    name: str
    entry: Factory | str
    summary: str
    traits: Traits
    title: str = ""

    @property
    def factory(self) -> Factory:
        """What makes the strategy."""
        if not isinstance(self.entry, str):
            return self.entry
        module, _, attribute = self.entry.partition(":")
        found: Factory = getattr(import_module(module), attribute)
        return found


def _asked(evaluations: int, **traits: Any) -> Traits:
    """Of a strategy that can do with summed losses."""
    return Traits(evaluations, learns=False, **traits)


_WALK = Traits(walks=True, retargets=True, needs=("renew",))
_BITS = ("w_bits", "a_bits")
_SPECS = {spec.name: spec for spec in (
    Spec("exact", "netsmith.search.exact_strategy:Exact",
         "The optimum of summed losses with its proven bound, then designs beside it.",
         _asked(16, needs=("parts", "canonical")), "Exact"),
    Spec("amc", "netsmith.systems.amc:strategy", "Reinforcement learning, layer by layer (AMC).",
         Traits(400, batch=1, guarantees=True, needs=("layers",)), "Amc"),
    Spec("compactnet", "netsmith.systems.compactnet:strategy",
         "Step by step, many layers at once, by accuracy over resource (CompactNet).", _WALK, "CompactNet"),
    Spec("ddpg", "netsmith.search.agents.ddpg_strategy:DdpgStrategy",
         "Reinforcement learning, the bare agent.", Traits(300, batch=1), "Ddpg"),
    Spec("deep", "netsmith.search.ramps:Deep", "Late layers keep most.", _asked(32), "Deep"),
    Spec("evolution", "netsmith.search.evolution:Evolution", "A genetic search.", Traits(200), "Evolution"),
    Spec("greedy", "netsmith.search.greedy:Greedy",
         "The choice that saves most for what it loses, one after another.", _asked(16), "Greedy"),
    Spec("haq", "netsmith.systems.haq:strategy", "Reinforcement learning of bit-widths (HAQ).",
         Traits(300, batch=1, guarantees=True, kinds=_BITS, needs=("layers",)), "Haq"),
    Spec("netadapt", "netsmith.systems.netadapt:strategy",
         "Step by step, the layer that costs least accuracy (NetAdapt).", _WALK, "NetAdapt"),
    Spec("random", "netsmith.search.random:Random", "Random designs that fill the budgets.", _asked(200), "Random"),
    Spec("shallow", "netsmith.search.ramps:Shallow", "Early layers keep most.", _asked(32), "Shallow"),
    Spec("uniform", "netsmith.search.uniform:Uniform", "One share of the channels and one width everywhere.",
         _asked(49), "Uniform"),
)}  # fmt: skip
BUILT_IN = tuple(_SPECS)


def register_strategy(name: str, **traits: Any) -> Callable[[Factory], Factory]:
    """Register a strategy class or factory under ``name``.

    Args:
        traits: fields of :class:`Traits`, for what differs from its defaults.

    Raises:
        InputError: a trait that there is not, or the name of a strategy of the house.
    """
    if name in BUILT_IN:
        raise InputError(f"there is a strategy {name!r} already; give yours a name of its own")
    try:
        own = Traits(**traits)
    except TypeError:
        known = list(Traits.__dataclass_fields__)
        wrong = next((t for t in traits if t not in known), "")
        if not wrong:
            raise InputError(f"strategy {name!r}: 'kinds' and 'needs' are tuples of names") from None
        raise InputError(
            f"strategy {name!r} has a trait {wrong!r}{did_you_mean(wrong, known)}; traits are {', '.join(known)}"
        ) from None
    except InputError as error:
        raise InputError(f"strategy {name!r}: {error}") from None

    def add(factory: Factory) -> Factory:
        summary = (factory.__doc__ or "").strip().partition("\n")[0]
        _SPECS[name] = Spec(name, factory, summary, own, "Registered")
        return factory

    return add


def strategy_names() -> list[str]:
    """Names of all strategies."""
    return sorted(_SPECS)


def strategy_spec(name: str) -> Spec:
    """What the strategy ``name`` says of itself.

    Raises:
        InputError: unknown name.
    """
    if name not in _SPECS:
        known = strategy_names()
        raise InputError(f"unknown strategy {name!r}{did_you_mean(name, known)}; known strategies: {', '.join(known)}")
    return _SPECS[name]


def spec_of(factory: Factory) -> Spec | None:
    """What was registered with a factory, or nothing."""
    return next((spec for spec in _SPECS.values() if spec.entry is factory), None)


def get_strategy(name: str, problem: Problem, space: Space | None = None, seed: int = 0, **options: Any) -> Strategy:
    """Return the strategy ``name`` for a problem.

    Args:
        space: the decisions behind the problem's rows; some strategies use their kinds.
        seed: equal seeds, equal proposals.
        options: passed on to the strategy.

    Raises:
        InputError: unknown name or option, or a space that does not fit the problem.
    """
    spec = strategy_spec(name)
    if space is not None and len(space) != len(problem.loss):
        raise InputError(f"the space has {len(space)} decisions, but the problem has {len(problem.loss)}")
    try:
        return spec.factory(problem, space, seed, **options)
    except TypeError as error:
        if "unexpected keyword argument" in str(error):
            raise InputError(f"strategy {name!r}: {str(error).partition('() ')[2]}") from None
        raise
