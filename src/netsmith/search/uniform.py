"""The uniform baseline: the same relative choice for every decision of a kind."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Any

import numpy as np

from netsmith.errors import InfeasibleError
from netsmith.search.reduced import reduce
from netsmith.search.strategy import Designs, Problem, Results
from netsmith.space import Space

#: Most uniform designs that are priced; with many kinds, each kind gets fewer positions.
_MOST = 200_000


class Uniform:
    """All uniform designs that keep the budgets, least estimated loss first.

    A position in 0..1 for each kind of decision picks the choice at that place of every decision of the kind; with
    several kinds every combination is tried. Without a space all decisions are of one kind. Ties and forbidden choices
    are respected (the nearest allowed choice is taken).

    Raises:
        InfeasibleError: from ``ask``, if no uniform design keeps the budgets although another one might.
    """

    def __init__(self, problem: Problem, space: Space | None = None, seed: int = 0) -> None:
        self.problem, self.space = problem, space
        self.next = 0
        self._designs: Designs | None = None

    def ask(self, n: int) -> Designs:
        if self._designs is None:
            self._designs = self._ranked()
        asked = self._designs[self.next : self.next + n]
        self.next += len(asked)
        return asked.copy()

    def _ranked(self) -> Designs:
        reduced = reduce(self.problem)
        first = np.unique(reduced.variable, return_index=True)[1]
        names = [self.space.decisions[d].kind if self.space else "" for d in first]
        kinds, kind = np.unique(names, return_inverse=True)
        levels = np.array([reduced.sizes[kind == i].max() for i in range(len(kinds))])
        while np.prod(levels.astype(float)) > _MOST:
            levels = np.maximum(levels - (levels == levels.max()), 2)
        grids = [np.linspace(0, 1, m) if m > 1 else np.ones(1) for m in levels]
        places = np.array(list(product(*grids)))
        # Half up, not to even: positions of one decision then map to choices without gaps.
        x = np.floor(places[:, kind] * (reduced.sizes - 1) + 0.5).astype(np.int64)
        x = np.unique(x, axis=0)
        designs = reduced.expand(x)
        loss = reduced.objective.price(x)
        fits = self.problem.feasible(designs)
        if not fits.any():
            least = {n: float(p.min()) for n, p in self.problem.price(designs).items() if n in self.problem.budgets}
            parts = ", ".join(f"{n} {v:.6g}" for n, v in least.items())
            raise InfeasibleError(f"no uniform design keeps the budgets (least of each: {parts}); loosen them", least)
        return np.asarray(designs[fits][np.argsort(loss[fits], kind="stable")])

    def tell(self, designs: Designs, results: Results) -> None:
        """The uniform baseline does not learn."""

    def state_dict(self) -> dict[str, Any]:
        return {"next": self.next}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.next = int(state["next"])
