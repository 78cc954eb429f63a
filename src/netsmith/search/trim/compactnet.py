"""CompactNet's schedule of a step-wise trimming (arXiv 1905.11669)."""

from __future__ import annotations

from collections.abc import Sequence

from netsmith.search.strategy import Problem
from netsmith.search.trim.family import Rule
from netsmith.search.trim.trimming import Renew, Trimming
from netsmith.space import Space


class CompactNet(Trimming):
    """CompactNet: steps that are sized to reach the budgets in ``iterations``; groups of equal width are ties.

    The published gain, ``(base - base / s) / iterations`` times 0.96 before each use, sums to less than its target
    (``nominal=True``); here the first step is scaled so that the series reaches it.

    Args:
        iterations: as many as the series has.
        nominal: take the published gain; the budgets then need more iterations than that.
        options: of :class:`Trimming`.
    """

    def __init__(
        self, problem: Problem, space: Space | None = None, seed: int = 0, iterations: int = 24, nominal: bool = False,
        decay: float = 0.96, rule: Rule = "accuracy", kinds: Sequence[str] | None = None, renew: Renew | None = None,
    ) -> None:  # fmt: skip
        super().__init__(problem, space, seed, 1.0, decay, iterations, rule, kinds, renew)
        if nominal:
            self.first = decay * self._to_go() / iterations
