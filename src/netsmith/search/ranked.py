"""Baselines that know all their designs beforehand and learn nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from netsmith.errors import InfeasibleError
from netsmith.search.strategy import Designs, Problem, Results
from netsmith.space import Space
from netsmith.units import over, within


class Ranked:
    """A list of designs within the budgets, least estimated loss first; derived classes make it.

    Raises:
        InfeasibleError: from ``ask``, if none of its designs keeps the budgets although another one might.
    """

    name = "listed"  #: what its designs are called in messages

    def __init__(self, problem: Problem, space: Space | None = None, seed: int = 0) -> None:
        self.problem, self.space = problem, space
        self.next = 0
        self._designs: Designs | None = None

    def ask(self, n: int) -> Designs:
        if self._designs is None:
            designs = self.designs()
            self._designs = designs[np.argsort(self.problem.estimate(designs), kind="stable")]
        asked = self._designs[self.next : self.next + n]
        self.next += len(asked)
        return asked.copy()

    def designs(self) -> Designs:
        """All designs to ask for, within the budgets, ``(N, D)``."""
        raise NotImplementedError

    def infeasible(self, designs: Designs) -> InfeasibleError:
        """None of ``designs (N, D)`` keeps the budgets."""
        least = {n: float(p.min()) for n, p in self.problem.price(designs).items() if n in self.problem.budgets}
        limits = self.problem.budgets
        short = " and ".join(over(n, limits[n], v) for n, v in least.items() if v > limits[n] * (1 + 1e-9))
        parts = short or f"{within(limits)} together"
        return InfeasibleError(
            f"no {self.name} design keeps {parts}; loosen the budgets or use another strategy", least
        )

    def tell(self, designs: Designs, results: Results) -> None:
        """The baseline does not learn."""

    def state_dict(self) -> dict[str, Any]:
        return {"next": self.next}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.next = int(state["next"])
