"""The exact search behind the ask/tell contract."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netsmith.errors import InfeasibleError
from netsmith.search.ridge import fit_scale, part_scales, spread
from netsmith.search.solver.exact import Solution, solve, solve_k_best
from netsmith.search.strategy import Designs, FloatArray, Problem, Results
from netsmith.space import Space

#: Designs that many decisions apart are the farthest that are asked for where nearer ones are the same networks.
_FARTHEST = 16
#: Rounds of one call in which designs of known networks may be found.
_TRIES = 32
#: Where losses of parts are summed and corrected, a design that is within this share of the best one is as good.
_ENOUGH = 0.005
#: A choice is never held for losing less than this share of its scaled estimate.
_LEAST = 0.2
#: A part is not searched on its own where it is to lose this share more than the best design.
_BEHIND = 0.3
#: Times what the best is estimated to lose, as long as nothing was told.
_UNKNOWN = 3.0


class Exact:
    """The optimum of the estimated loss first, then the next-best designs; none twice.

    Told losses correct the estimate: the table is rescaled to them (least squares), and what it does not explain is
    spread over the choices of the told designs by ridge regression, most of it over those that lose most, so that
    later designs are optimal for what was measured. With fewer than three told designs, or ``correct=False``, the table
    stays as it is.

    Losses of unlike decisions, such as channels and bits, are not on one scale when they are summed. Where decisions
    come in ``parts``, the first designs are the optimum, the best of every part alone and of all but one part, and told
    losses then give each part a scale of its own. All decisions together, each part as if it were alone, by what was
    told of such designs, and each part around the best design take turns from then on, but for parts that are far
    behind: more decisions should not cost what fewer of them can do.

    Args:
        time_limit: seconds for one design; reached, proposals depend on the speed of the machine.
        parts: disjoint sets of decisions; at their choices in ``problem.reference`` they change nothing.
        canonical: a design ``(D,)`` to the one that stands for all that are the same network (choices inside a branch
            that is dropped do nothing); no network is asked for twice.

    Attributes:
        solutions: what was asked for so far (by this instance), with bounds and gaps.
    """

    def __init__(
        self,
        problem: Problem,
        space: Space | None = None,
        seed: int = 0,
        correct: bool = True,
        time_limit: float | None = 60.0,
        parts: Sequence[Sequence[int]] = (),
        canonical: Callable[[Designs], Designs] = lambda design: design,
    ) -> None:
        self.canonical = canonical
        self.problem, self.space, self.correct, self.time_limit = problem, space, correct, time_limit
        self.parts = tuple(tuple(p) for p in parts) if len(parts) > 1 else ()
        self.solutions: list[Solution] = []
        self._first: Solution | None = (
            None  #: the optimum of the estimate, where nothing was told before it was asked for
        )
        self._asked: list[list[int]] = []
        self._told: list[tuple[list[int], float]] = []
        self._repeats: list[list[int]] = []  #: designs that were found and are networks asked for before

    def ask(self, n: int) -> Designs:
        used = [*self._asked, *(d for d, _ in self._told), *self._repeats]
        networks = {self._network(d) for d in used}
        first = self._apart if len(self._asked) <= 2 * len(self.parts) else []
        found = [s for s in first if self._network(s.choice) not in networks][:n]
        used += [[int(k) for k in s.choice] for s in found]
        views = self._views() if len(found) < n else []
        turn = len(self._asked) + len(found)  # so that each view has its share over many small calls as well
        while views and len(found) < n:
            at = turn % len(views)
            problem, limit = views[at]
            more = self._more(problem, 1 if len(views) > 1 else n - len(found), used)
            worth = [s for s in more if s.loss <= limit]
            found += worth
            turn += 1
            if not worth or len(views) == 1:
                views.pop(at)
        if not self.solutions and not self._told and found:
            self._first = found[0]
        self.solutions += found
        self._asked += [[int(k) for k in s.choice] for s in found]
        return np.array([s.choice for s in found], dtype=np.int64).reshape(-1, len(self.problem.loss))

    @property
    def bound(self) -> float | None:
        """Proven lower bound on the estimated loss of any design within the budgets, once a design was asked for.

        It is of the estimate as given, whatever was told.
        """
        return self._proven if self.solutions else None

    @cached_property
    def _proven(self) -> float:
        if self.parts:
            return self._apart[0].bound
        return self._first.bound if self._first is not None else solve(self.problem, self.time_limit).bound

    def _more(self, problem: Problem, n: int, used: list[list[int]]) -> list[Solution]:
        """The n best designs of a problem that are networks not in ``used``, which grows by them; fewer at its end."""
        found: list[Solution] = []
        seen, distance, farthest = {self._network(d) for d in used}, 1, _FARTHEST
        tries = 0
        while len(found) < n and tries < _TRIES:
            tries += 1
            exclude = np.array(used, dtype=np.int64).reshape(-1, len(problem.loss)) if used else None
            try:
                more = solve_k_best(problem, n - len(found), self.time_limit, exclude, distance, self._gap)
            except InfeasibleError:
                if not used:
                    raise
                more = []  # a view without any design
            if not more and distance == 1:
                break
            if not more:  # too far apart for what is left
                distance, farthest = 1, 1
                continue
            before = len(found)
            for solution in more:
                design = [int(k) for k in solution.choice]
                used.append(design)
                if self._network(design) not in seen:
                    seen.add(self._network(design))
                    found.append(solution)
                else:
                    self._repeats.append(design)
            if len(found) - before < len(more):
                distance = min(2 * distance, farthest)
        return found

    @property
    def _gap(self) -> float:
        """What designs after the first are proven to: sums over unlike parts are never as close as this."""
        return _ENOUGH if self.parts and self.correct else 0.0

    def _views(self) -> list[tuple[Problem, float]]:
        """The problems that take turns, by corrected losses, and how much a design of each may be estimated to lose.

        Sums hardly rank unlike parts against each other, but rank designs of one part well. So beside all decisions
        together, each part is searched as if it were alone, and around the best design that was told: what one part
        can do alone has its share of the designs. A part that is far behind has none.
        """
        every = self.corrected()
        views = [(every, np.inf)]
        if not self.parts:
            return views
        given = self.problem.reference
        loss = np.array([y for _, y in self._told])
        designs = np.array([d for d, _ in self._told], dtype=np.int64).reshape(-1, len(given))
        rest = [~np.isin(np.arange(len(given)), part) for part in self.parts]
        if len(loss):
            best, least = designs[int(loss.argmin())], float(loss.min())
        else:
            best, least = given, _UNKNOWN * min(s.loss for s in self._apart)
        most = least + _BEHIND * abs(least)
        known = set[bytes]()
        for held, anchor, own in [*((h, given, True) for h in rest), *((h, best, False) for h in rest)]:
            key = held.tobytes() + anchor[held].tobytes()
            inside = loss[(designs == anchor)[:, held].all(axis=1)]
            if key not in known and (inside.min() if len(inside) else least) <= most:
                limit = np.inf if own and len(inside) else most
                views.append(((self.corrected(held) if own else every).held(held, anchor), limit))
            known.add(key)
        return views

    def _network(self, design: Sequence[int] | Designs) -> tuple[int, ...]:
        """What tells two designs apart."""
        return tuple(int(k) for k in self.canonical(np.array(design, dtype=np.int64)))

    @cached_property
    def _apart(self) -> list[Solution]:
        """The optimum, then the best designs in which only one part, or all but one, may change; no design twice."""
        sets = [(), *((q for q in self.parts if q != p) for p in self.parts), *((p,) for p in self.parts)]
        found: list[Solution] = []
        for fixed in sets if self.parts else ():
            held = np.isin(np.arange(len(self.problem.loss)), [d for part in fixed for d in part])
            try:
                best = solve(self.problem.held(held), self.time_limit)
            except InfeasibleError:
                if not found:
                    raise
                continue
            if not any(self._network(best.choice) == self._network(s.choice) for s in found):
                found.append(best)
        return found

    def tell(self, designs: Designs, results: Results) -> None:
        pairs = zip(np.atleast_2d(designs).tolist(), results.loss, strict=True)
        self._told += [(d, float(y)) for d, y in pairs if np.isfinite(y)]

    def corrected(self, held: NDArray[np.bool_] | None = None) -> Problem:
        """The problem with the estimate that told losses leave; interactions take its scale.

        Args:
            held: decisions ``(D,)`` that stay as in the reference; only what was told of such designs counts.
        """
        loss = np.asarray(self.problem.loss, dtype=np.float64)
        designs = np.array([d for d, _ in self._told], dtype=np.int64).reshape(-1, len(loss))
        measured = np.array([y for _, y in self._told])
        estimate = self.problem.estimate(designs)
        usable = np.isfinite(estimate)
        if held is not None:
            usable &= (designs == self.problem.reference)[:, held].all(axis=1)
        designs, measured, estimate = designs[usable], measured[usable], estimate[usable]
        if not self.correct or len(estimate) < 3 or float(estimate.std()) <= 0.0:
            return self.problem
        if self.parts and held is None and not self.problem.interactions:
            loss, estimate = self._scaled(loss, designs, measured)
            slope, rest = 1.0, measured - estimate
        else:
            slope, rest = fit_scale(estimate, measured)
        scaled = tuple(replace(f, values=slope * f.values) for f in self.problem.interactions)
        own, known = slope * loss, np.isfinite(loss)
        shift = spread(np.where(known, own, 0.0), designs, rest, np.abs(slope * estimate))
        loss = np.where(known, np.maximum(own + shift, np.minimum(_LEAST * own, own)), np.inf)
        return replace(self.problem, loss=loss, interactions=scaled)

    def _scaled(self, loss: FloatArray, designs: Designs, measured: FloatArray) -> tuple[FloatArray, FloatArray]:
        """The losses with a scale for each part, and what they estimate of the designs ``(N,)``."""
        part_of = np.full(len(loss), len(self.parts))
        for i, part in enumerate(self.parts):
            part_of[list(part)] = i
        own = loss[np.arange(len(loss)), designs]  # (N, D)
        sums = np.array([own[:, part_of == i].sum(axis=1) for i in range(len(self.parts) + 1)]).T
        scales = part_scales(sums, measured)
        return loss * scales[part_of][:, None], sums @ scales

    def state_dict(self) -> dict[str, Any]:
        told = [[list(d), y] for d, y in self._told]
        return {"asked": [list(a) for a in self._asked], "told": told, "repeats": [list(r) for r in self._repeats]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._asked = [[int(k) for k in a] for a in state["asked"]]
        self._repeats = [[int(k) for k in r] for r in state.get("repeats", ())]
        self._told = [([int(k) for k in d], float(y)) for d, y in state["told"]]
