"""A strategy of a user's own, held to the contract: what it does wrong is said in one sentence that names it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from inspect import getattr_static
from typing import Any, NoReturn

import numpy as np

from netsmith.errors import InputError, NetsmithError, shown
from netsmith.search.registry import Traits
from netsmith.search.strategy import Designs, Problem, Proposals, Results, Strategy
from netsmith.usercode import failure

WALKING = ("alive", "arrived", "standing")  #: what one that walks has besides
_MISSING = object()


class Guarded:
    """A strategy whose proposals are checked and whose errors are told, and which cannot change what it is given.

    Args:
        name: of the strategy.
        problem: it gets arrays that cannot be written to.
        traits: what it says of itself.
        make: a problem to the strategy.

    Raises:
        InputError: it cannot be made, or lacks a method that its traits ask for.
    """

    def __init__(self, name: str, problem: Problem, traits: Traits, make: Callable[[Problem], Strategy]) -> None:
        self._name, self._problem, self._traits = name, problem, traits
        with self._told("its class"):
            self._own: Any = make(_read_only(problem))
        needed = ("ask", "tell", *(WALKING if traits.walks else ()), *(("retarget",) if traits.retargets else ()))
        for method in needed:
            if getattr_static(self._own, method, _MISSING) is _MISSING:
                self._wrong(f"has no {method!r}, which its traits ask for" if method not in ("ask", "tell") else
                            f"has no {method!r}")  # fmt: skip

    def ask(self, n: int) -> Proposals:
        with self._told("ask"):
            asked = self._own.ask(n)
        parents = asked.parents if isinstance(asked, Proposals) else None
        designs = self._designs(asked.designs if isinstance(asked, Proposals) else asked, n)
        if parents is not None and len(parents) != len(designs):
            self._wrong(f"asked for {len(designs)} designs with {len(parents)} parents")
        return Proposals(designs, parents if parents is not None else ((),) * len(designs))

    def tell(self, designs: Designs, results: Results) -> None:
        told = Results(np.array(results.loss), {name: np.array(cost) for name, cost in results.costs.items()})
        with self._told("tell"):
            self._own.tell(np.array(designs), told)

    def retarget(self, problem: Problem) -> None:
        self._problem = problem
        with self._told("retarget"):
            self._own.retarget(_read_only(problem))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._own, name)

    def _designs(self, asked: Any, n: int) -> Designs:
        """A copy of what was asked for, checked."""
        width, choices = np.shape(self._problem.loss)
        try:
            designs = np.array(asked)
        except (TypeError, ValueError):  # rows of unequal lengths
            self._wrong(f"asked for {shown(asked)}, which is no array of designs (n, {width})")
        if asked is not None and designs.size == 0:
            return np.empty((0, width), dtype=np.int64)
        designs = designs[None] if designs.ndim == 1 and len(designs) == width else designs
        if asked is None or designs.ndim != 2 or designs.shape[1] != width:
            was = shown(asked) if designs.ndim == 0 else f"an array of shape {designs.shape}"
            self._wrong(f"asked for {was} where designs have the shape (n, {width})")
        if not np.issubdtype(designs.dtype, np.integer):
            self._wrong(f"asked for designs of {designs.dtype}, and they are indices of choices, whole numbers")
        if len(designs) > n:
            self._wrong(f"asked for {len(designs)} designs where it may ask for {n}")
        outside = (designs < 0) | (designs >= choices)
        allowed = np.isfinite(self._problem.loss)[np.arange(width), np.where(outside, 0, designs)] & ~outside
        if not allowed.all():
            row, d = np.argwhere(~allowed)[0]
            self._wrong(f"asked for choice {designs[row, d]} of decision {d}, which is not there or not allowed")
        for group in self._problem.tied:
            if (designs[:, list(group)] != designs[:, [group[0]]]).any():
                self._wrong(f"asked for a design in which the tied decisions {list(group)} differ")
        return designs.astype(np.int64)

    def _wrong(self, what: str) -> NoReturn:
        raise InputError(f"strategy {self._name} {what}; netsmith.testing.check_strategy shows what else it breaks")

    @contextmanager
    def _told(self, where: str) -> Iterator[None]:
        """Within it the user's code runs; what it raises is said with its name."""
        try:
            yield
        except (NetsmithError, KeyboardInterrupt):
            raise
        except BaseException as error:  # also SystemExit
            words = f"strategy {self._name} failed in {where} ({failure(error)}{_line(error)}); mend it"
            raise InputError(words) from error


def _read_only(problem: Problem) -> Problem:
    """The same problem, with arrays of its own that cannot be written to."""
    loss = np.array(problem.loss, dtype=np.float64)
    loss.setflags(write=False)
    costs = {}
    for name, table in problem.costs.items():
        unary = np.array(table.unary)
        unary.setflags(write=False)
        costs[name] = replace(table, unary=unary)
    return replace(problem, loss=loss, costs=costs, budgets=dict(problem.budgets))


def _line(error: BaseException) -> str:
    """The line where an error came up, of the last file that is not netsmith's or a library's."""
    last, at = None, error.__traceback__
    while at is not None:
        name = at.tb_frame.f_globals.get("__name__", "")
        if name.startswith("_netsmith_user_"):
            last = at.tb_lineno
        at = at.tb_next
    return "" if last is None else f" in line {last}"
