"""The exact search behind the ask/tell contract."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from netsmith.search.exact import Solution, solve_k_best
from netsmith.search.ridge import fit_scale, ridge
from netsmith.search.strategy import Designs, FloatArray, Problem, Results
from netsmith.space import Space


class Exact:
    """The optimum of the estimated loss first, then the next-best designs; none twice.

    Told losses correct the estimate: the table is rescaled to them (least squares), and what it does not explain is
    spread over the choices of the told designs by ridge regression, so that later designs are optimal for what was
    measured. With fewer than three told designs, or ``correct=False``, the table stays as it is.

    Args:
        time_limit: seconds for one design; reached, proposals depend on the speed of the machine.

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
    ) -> None:
        self.problem, self.space, self.correct, self.time_limit = problem, space, correct, time_limit
        self.solutions: list[Solution] = []
        self._asked: list[list[int]] = []
        self._told: list[tuple[list[int], float]] = []

    def ask(self, n: int) -> Designs:
        width = len(self.problem.loss)
        used = np.array([*self._asked, *(d for d, _ in self._told)], dtype=np.int64).reshape(-1, width)
        found = solve_k_best(self._corrected(), n, self.time_limit, exclude=used if len(used) else None)
        self.solutions += found
        self._asked += [[int(k) for k in s.choice] for s in found]
        return np.array([s.choice for s in found], dtype=np.int64).reshape(-1, width)

    def tell(self, designs: Designs, results: Results) -> None:
        pairs = zip(np.atleast_2d(designs).tolist(), results.loss, strict=True)
        self._told += [(d, float(y)) for d, y in pairs if np.isfinite(y)]

    def corrected_loss(self) -> FloatArray:
        """The loss table in the light of what was told, ``(D, K)``."""
        return self._corrected().loss

    def _corrected(self) -> Problem:
        """The problem with the estimate that told losses leave; interactions take its scale."""
        loss = np.asarray(self.problem.loss, dtype=np.float64)
        designs = np.array([d for d, _ in self._told], dtype=np.int64).reshape(-1, len(loss))
        measured = np.array([y for _, y in self._told])
        estimate = self.problem.estimate(designs)
        usable = np.isfinite(estimate)
        designs, measured, estimate = designs[usable], measured[usable], estimate[usable]
        if not self.correct or len(estimate) < 3 or float(estimate.std()) <= 0.0:
            return self.problem
        slope, rest = fit_scale(estimate, measured)
        # Ridge on one-hot designs; a design has D ones, so this prior halves a lone residual. Tied decisions move
        # together, so that they share their part of it.
        code = np.zeros((len(designs), *loss.shape))
        code[np.arange(len(designs))[:, None], np.arange(len(loss)), designs] = 1.0
        shift = ridge(code.reshape(len(designs), -1), rest, len(loss)).reshape(loss.shape)
        scaled = tuple(replace(f, values=slope * f.values) for f in self.problem.interactions)
        loss = np.where(np.isfinite(loss), slope * loss + shift, np.inf)
        return replace(self.problem, loss=loss, interactions=scaled)

    def state_dict(self) -> dict[str, Any]:
        return {"asked": [list(a) for a in self._asked], "told": [[list(d), y] for d, y in self._told]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._asked = [[int(k) for k in a] for a in state["asked"]]
        self._told = [([int(k) for k in d], float(y)) for d, y in state["told"]]
