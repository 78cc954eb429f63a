"""Random search at the budget: random designs, repaired until they fit and filled until nothing more fits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from netsmith.search.solver.exact import solve
from netsmith.search.solver.moves import Moves, fill, repair, towards
from netsmith.search.solver.reduced import reduce
from netsmith.search.strategy import Designs, Problem, Results
from netsmith.space import Space


class Random:
    """Random designs that fill the budgets; none twice.

    A uniform sample is far from a tight budget, so a search over it is a straw man. Here each sample is moved by random
    single moves inside the budgets and then up to them (each fill move lowers the estimated loss), all of them at once.
    Once such designs are used up, feasible ones that leave budget unspent follow.
    """

    #: Draws that may repeat known designs before the strategy holds the feasible set for exhausted.
    patience = 12

    def __init__(self, problem: Problem, space: Space | None = None, seed: int = 0) -> None:
        self.problem, self.space = problem, space
        self.rng = np.random.default_rng(seed)
        self.reduced = reduce(problem)
        self.moves = Moves(self.reduced)
        self.asked: list[list[int]] = []
        self._seen: set[tuple[int, ...]] = set()
        self._anchor: Designs | None = None

    def ask(self, n: int) -> Designs:
        picked: list[Designs] = []
        for attempt in range(self.patience):
            if len(picked) >= n:
                break
            picked += self._new(self._draw(attempt, n - len(picked)), n - len(picked))
        for x in picked:
            self.asked.append([int(k) for k in x])
        x = np.array(picked, dtype=np.int64).reshape(len(picked), len(self.reduced.choices))
        return self.reduced.expand(x)

    def _draw(self, attempt: int, n: int) -> Designs:
        return self.feasible(self._sample(max(n, 16)), filled=attempt < self.patience // 2)

    def _sample(self, n: int) -> Designs:
        sizes = self.reduced.sizes
        return self.rng.integers(0, sizes, size=(n, len(sizes)), dtype=np.int64)

    def feasible(self, x: Designs, filled: bool = True) -> Designs:
        """Variables ``(N, V)`` brought inside the budgets and, if asked, up to them.

        Raises:
            InfeasibleError: there is no feasible design.
        """
        x, fits = repair(self.moves, self.rng, x)
        if not fits.all():
            x = towards(self.moves, self.rng, x, self.anchor)
        return fill(self.moves, self.rng, x) if filled else x

    @property
    def anchor(self) -> Designs:
        """Some feasible design ``(V,)``, found exactly; for where single moves do not lead into the budgets."""
        if self._anchor is None:
            design = solve(self.problem.indifferent).choice
            self._anchor = self.reduced.contract(design[None])[0]
        return self._anchor

    def _new(self, x: Designs, most: int) -> list[Designs]:
        fresh: list[Designs] = []
        for row in x:
            key = tuple(int(k) for k in row)
            if key not in self._seen and len(fresh) < most:
                self._seen.add(key)
                fresh.append(row)
        return fresh

    def tell(self, designs: Designs, results: Results) -> None:
        """Random search does not learn."""

    def state_dict(self) -> dict[str, Any]:
        return {"rng": self.rng.bit_generator.state, "asked": [list(a) for a in self.asked]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.rng.bit_generator.state = state["rng"]
        self.asked = [list(a) for a in state["asked"]]
        self._seen = {tuple(a) for a in self.asked}
