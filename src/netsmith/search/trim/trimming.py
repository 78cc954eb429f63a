"""Step-wise trimming: a trained network loses a little of its resource an iteration, from one decision at a time.

NetAdapt (Yang et al., ECCV 2018) and CompactNet (arXiv 1905.11669). Iteration i has a limit of its own,
``Con_i = Res_{i-1} - dR_i``; every decision alone is reduced until the whole network keeps it, each such candidate is
evaluated, and one is carried on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from netsmith.errors import InfeasibleError, InputError, NetsmithError
from netsmith.search.solver.exact import solve
from netsmith.search.solver.moves import Moves
from netsmith.search.solver.reduced import reduce
from netsmith.search.strategy import Designs, FloatArray, Path, Problem, Proposals, Results
from netsmith.search.trim.family import RULES, Member, Rule, winner
from netsmith.space import CostTable, MaxTable, Space, as_sums, cost_of
from netsmith.units import COST_NAMES, format_apart, format_cost

_GAIN = 1e-9  #: a saving below this share of the resource is rounding
_CHECK_S = 20.0  #: seconds that the proof of infeasibility may take

Renew = Callable[[Designs], Mapping[str, CostTable | MaxTable]]


class Trimming:
    """NetAdapt: trims until the budgets hold; ``family`` has the network of every iteration.

    The resource is the cost of the most violated budget, as a share of that budget. The network as given
    (``problem.reference``) is asked for first; then, an iteration at a time, for every free decision the largest
    smaller choice whose whole network keeps the iteration's limit, all other decisions as in the winner of before. So
    most asked designs break the budgets: they are on the way. Decisions on a plateau, where no smaller choice gains
    anything, yield no candidate. If no decision reaches the limit alone, the step is halved until one does. Every
    iteration reduces one decision, so that their number is bounded.

    Designs that were asked for but not told are asked for again; when nothing is left to ask, the budgets hold.

    Args:
        first: what the first iteration saves, as a share of the initial resource.
        decay: each further iteration saves so much of what the one before did.
        iterations: take the first step so large that the geometric series of so many reaches the budgets, instead of
            ``first``.
        rule: how a winner is chosen, see :func:`~netsmith.search.trim.family.winner`.
        kinds: of decisions that may be reduced, of the space's; None for all (channels, branches, bits).
        renew: design ``(D,)`` -> cost tables by name that are right for the design and for all single moves away from
            it, where the problem's tables are only right around some design.

    Raises:
        InputError: an option out of its range, or a budget that is not positive.
        InfeasibleError: from ``ask``: no design keeps the budgets, or no single decision leads any nearer to them.
    """

    def __init__(
        self, problem: Problem, space: Space | None = None, seed: int = 0, first: float = 0.025, decay: float = 0.96,
        iterations: int | None = None, rule: Rule = "accuracy", kinds: Sequence[str] | None = None,
        renew: Renew | None = None,
    ) -> None:  # fmt: skip
        if not first > 0 or not 0 < decay <= 1 or (iterations is not None and iterations < 1):
            raise InputError("trimming takes first > 0, decay in 0..1 and at least one iteration")
        if rule not in RULES:
            raise InputError(f"the rule {rule!r} is unknown; choose one of {', '.join(RULES)}")
        self.rule, self.decay, self.renew = rule, decay, renew
        self.most: int | None = None  #: winners after which it ends, whether the budgets hold or not
        self._kinds, self._space = kinds, space
        self._members: list[Member] = []
        self._told: dict[tuple[int, ...], float] = {}
        self._open: list[Member] | None = None
        self._aim_at(problem)
        self.first = first if iterations is None else self._first_of(iterations)

    def _aim_at(self, problem: Problem) -> None:
        for name, limit in problem.budgets.items():
            if not limit > 0:
                raise InputError(f"budget {name!r} is {limit:g}; trimming needs budgets above 0")
        kinds = [d.kind for d in self._space.decisions] if self._kinds is not None and self._space else []
        held = [kind not in (self._kinds or ()) for kind in kinds]
        self.problem = problem.held(np.array(held)) if held else problem
        self._limits = {cost_of(name): limit for name, limit in problem.budgets.items()}
        self.reduced = reduce(self.problem)
        self._tables = Moves(self.reduced)
        self._checked = False

    def _first_of(self, iterations: int) -> float:
        """The first step of a series of ``iterations`` steps that sums to what has to go, as a share of all."""
        return self._to_go() / float((self.decay ** np.arange(iterations)).sum())

    def _to_go(self) -> float:
        return 1.0 - 1.0 / max(float(self._resource(self._start()[None])[0]), 1.0)

    # --- what is known so far ----------------------------------------------------------------------------------------

    @property
    def family(self) -> tuple[Member, ...]:
        """The network as given and the winner of each finished iteration.

        Resources fall strictly, but for iterations in which one of several equally broken budgets falls.
        """
        return tuple(self._members)

    @property
    def design(self) -> Designs:
        """The network of now, ``(D,)``."""
        return self.reduced.expand(self._start()[None])[0] if not self._members else np.array(self._members[-1].design)

    @property
    def leader(self) -> Designs:
        """The best design told in the open iteration; the network of now if there is none yet, ``(D,)``."""
        told = [m for m in self._open or () if m.design in self._told]
        if not told or not self._members:
            return self.design
        return np.array(self._winner(told).design)

    @property
    def alive(self) -> list[Path]:
        """The ways to the networks that others may be made from: that of now, and the best one told since."""
        way: Path = tuple(m.design for m in self._members)
        leader = tuple(int(k) for k in self.leader)
        return [way, *([(*way, leader)] if way and leader != way[-1] else [])]

    @property
    def arrived(self) -> tuple[Designs, float]:
        """The network that keeps the budgets, once nothing is left to ask, and its loss."""
        return np.array(self._members[-1].design), self._members[-1].loss

    @property
    def standing(self) -> tuple[float, float, str] | None:
        """How far it is, of 100, and the network of now in a few words; None before there is one."""
        if not self._members:
            return None
        first, now = self._members[0], self._members[-1]
        done = (first.resource - now.resource) / max(first.resource - 1.0, 1e-9)
        at = ", ".join(
            f"{COST_NAMES.get(n, n)} {format_cost(n, v)}, aim {format_cost(n, self._limits[n])}"
            for n, v in now.costs.items()
        )
        text = f"iteration {len(self._members) - 1}, {at}, loss {now.loss:.4g}"
        return min(round(100 * done), 100), 100, text

    @property
    def reached(self) -> bool:
        """Whether the network of now keeps every budget."""
        return bool(self._members) and bool(self._members[-1].resource <= 1 + _GAIN)

    # --- the contract ------------------------------------------------------------------------------------------------

    def ask(self, n: int) -> Proposals:
        """The first ``n`` candidates of the iteration that nothing was told of, all made from the network of now.

        None once the budgets hold.
        """
        rest = [m.design for m in self._candidates() if m.design not in self._told][:n]
        designs = np.array(rest, dtype=np.int64).reshape(-1, len(self.problem.loss))
        return Proposals(designs, (tuple(m.design for m in self._members),) * len(designs))

    def tell(self, designs: Designs, results: Results) -> None:
        """Take in results; those of all candidates of an iteration decide it, others are of no use here."""
        names = {m.design for m in self._candidates()}
        for design, loss in zip(np.atleast_2d(designs).tolist(), results.loss, strict=True):
            if tuple(design) in names:
                self._told[tuple(design)] = float(loss) if np.isfinite(loss) else np.inf
        if names and len(self._told) == len(names):
            won = self._winner(self._candidates())
            self._members.append(replace(won, loss=self._told[won.design]))
            self._told, self._open = {}, None

    def retarget(self, problem: Problem) -> None:
        """Go on towards other limits of the same budgets, from the last network of the family that is over them.

        The steps stay as long as they were, so that no iteration before that one would have gone otherwise.

        Raises:
            InputError: other budgets, or a limit that is not positive.
        """
        before = self._limits
        if {cost_of(n) for n in problem.budgets} - set(before):
            raise InputError(f"a trimming by {sorted(self.problem.budgets)} cannot go on by {sorted(problem.budgets)}")
        self._aim_at(problem)
        self._limits = before | self._limits
        self._told, self._open = {}, None
        kept: list[Member] = []
        for member in self._members:
            resource = max((v / self._limits[n] for n, v in member.costs.items()), default=0.0)
            if kept and resource <= 1 + _GAIN:
                break
            kept.append(replace(member, resource=resource, limit=member.limit * resource / member.resource))
        self._members = kept

    def state_dict(self) -> dict[str, Any]:
        told = [[list(design), loss] for design, loss in self._told.items()]
        return {"first": self.first, "rule": self.rule, "told": told, "family": [m.to_dict() for m in self._members]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.first, self.rule = float(state["first"]), state["rule"]
        self._members = [Member.from_dict(m) for m in state["family"]]
        self._told = {tuple(int(k) for k in design): float(loss) for design, loss in state["told"]}
        self._open = None

    # --- one iteration -----------------------------------------------------------------------------------------------

    def _candidates(self) -> list[Member]:
        if self._open is None:
            self._open = self._find()
        return self._open

    def _find(self) -> list[Member]:
        """What the open iteration evaluates."""
        if not self._members:
            self._check()
            self._renew(self.design)
            start = self._member(self._start())
            return [replace(start, limit=start.resource)]
        if self.reached or (self.most is not None and len(self._members) > self.most):
            return []
        self._check()
        now = self._members[-1]
        self._renew(np.array(now.design))
        x = self.reduced.contract(np.array(now.design)[None])[0]
        shares = self._tables.after(x[None])[:, 0]  # (B, V, K): of each budget, were variable v at choice k
        after = shares.max(axis=0)
        smaller = np.arange(after.shape[1]) < x[:, None]
        gain, to_go, limit = np.where(smaller, now.resource - after, -np.inf), now.resource - 1.0, now.resource
        even = float(gain.max(initial=-np.inf)) <= _GAIN * now.resource
        if even:  # budgets that are equally broken fall one after the other: by what all of them are broken together
            to_go = float(_broken(self._tables.price(x[None]))[0])
            gain = np.where(smaller & (after <= now.resource * (1 + 1e-12)), to_go - _broken(shares), -np.inf)
            if float(gain.max(initial=-np.inf)) <= _GAIN * now.resource:
                raise self._stuck(now)
        step = self.first * self.decay ** (len(self._members) - 1) * self._members[0].resource
        step = min(step, to_go)  # the budgets ask for no more
        while not (fits := (gain >= step) & (gain > _GAIN * now.resource)).any():
            step /= 2  # no decision reaches this step alone
        largest = after.shape[1] - 1 - fits[:, ::-1].argmax(axis=1)
        moved = np.flatnonzero(fits.any(axis=1))
        designs = np.tile(x, (len(moved), 1))
        designs[np.arange(len(moved)), moved] = largest[moved]
        return [self._member(row, limit if even else limit - step) for row in designs]

    def _winner(self, told: list[Member]) -> Member:
        losses = np.array([self._told[m.design] for m in told])
        if not self._members:
            return told[0]
        before, start = self._members[-1], self._members[0].resource
        saved = np.array([(before.resource - m.resource) / start for m in told])
        known = before.loss if np.isfinite(before.loss) else 0.0  # a failed evaluation is nothing to compare with
        return told[winner(self.rule, losses - known, saved)]

    def _start(self) -> Designs:
        return np.asarray(self.reduced.contract(self.problem.reference[None])[0])

    def _renew(self, design: Designs) -> None:
        """Price from tables that are right around ``design``."""
        if self.renew is not None:
            costs, limits = as_sums(self.renew(design), self._limits)
            self.reduced = reduce(replace(self.problem, costs=costs, budgets=limits))
            self._tables = Moves(self.reduced)

    def _resource(self, x: Designs) -> FloatArray:
        """The most violated budget's cost as a share of it: ``(N, V)`` to ``(N,)``; nothing without budgets."""
        return np.asarray(self._tables.price(x).max(axis=0, initial=0.0))

    def _member(self, x: Designs, limit: float = np.inf) -> Member:
        design = tuple(int(k) for k in self.reduced.expand(x[None])[0])
        costs: dict[str, float] = {}
        for n in self.reduced.limits:
            value = float(self.reduced.costs[n].price(x[None])[0])
            costs[cost_of(n)] = max(value, costs.get(cost_of(n), value))
        return Member(design, costs, float(self._resource(x[None])[0]), limit, np.nan)

    def _check(self) -> None:
        """Say at once what no design can reach, before anything is evaluated."""
        if self._checked or not self.problem.budgets:
            return
        try:
            solve(self.problem.indifferent, time_limit=_CHECK_S)
        except InfeasibleError:
            raise
        except NetsmithError:
            pass  # out of time: the trimming will find out
        self._checked = True

    def _stuck(self, now: Member) -> InfeasibleError:
        limits = self._limits
        pairs = {n: format_apart(n, v, limits[n]) for n, v in now.costs.items()}
        parts = ", ".join(f"{COST_NAMES.get(n, n)} {v} of {most}" for n, (v, most) in pairs.items())
        return InfeasibleError(
            f"trimming ends after {len(self._members) - 1} iterations at {parts}: no single decision saves anything "
            "more; loosen the budgets, or use the strategy exact, which changes several at once",
            now.costs,
        )


def _broken(shares: FloatArray) -> FloatArray:
    """By how much budgets are broken in all: shares of them ``(B, ...)`` to ``(...)``."""
    return np.asarray(np.maximum(shares - 1.0, 0.0).sum(axis=0))
