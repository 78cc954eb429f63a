"""The loss of a network of paths: what it gets wrong, and what it is expected to cost against its budgets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import torch

from netsmith.errors import InputError
from netsmith.space import CostTable
from netsmith.supernets.expected import expected_cost

Form = Literal["constrained", "additive", "multiplicative"]
FORMS: tuple[Form, ...] = get_args(Form)


@dataclass(frozen=True)
class Objective:
    """Cross-entropy and expected costs in one loss. Costs come as ratios to their limits, so that no unit matters.

    Attributes:
        tables: cost name -> its table over the decisions.
        limits: cost name -> budget, in the unit of its table.
        form: ``additive``, ``CE + weight * sum(E / limit - 1)``, and ``multiplicative``,
            ``CE * prod(E / limit) ** exponent``, are ProxylessNAS's with ratios in place of its logarithms of
            milliseconds; they trade cost for accuracy at a fixed rate, wherever that leads. ``constrained`` is the
            augmented Lagrangian of the budgets: ``CE + sum(max(m + penalty * r, 0) ** 2 - m ** 2) / (2 * penalty)``
            with ``r = E / limit - 1`` and multipliers ``m`` that rise while a budget is broken and fall while it is
            kept. Its slope, ``max(m + penalty * r, 0)``, gives way below the budget at once, before ``m`` has fallen.
        weight: of ``additive``.
        exponent: of ``multiplicative``.
        rate: by which multipliers follow their budgets while logits move by 1: with more and smaller steps they rise
            no further.
        penalty: of ``constrained``.

    Raises:
        InputError: an unknown form, a budget without a table or a limit that is not above 0.
    """

    tables: Mapping[str, CostTable]
    limits: Mapping[str, float]
    form: Form = "constrained"
    weight: float = 0.1
    exponent: float = 0.3
    rate: float = 2.0
    penalty: float = 2.0

    def __post_init__(self) -> None:
        if self.form not in FORMS:
            raise InputError(f"unknown loss {self.form!r}; choose one of {', '.join(FORMS)}")
        for name, limit in self.limits.items():
            if name not in self.tables or not limit > 0:
                raise InputError(f"the budget of {name} is {limit:g}: it needs a cost table and must be above 0")

    def expected(self, probabilities: torch.Tensor) -> dict[str, float]:
        """Every cost under the probabilities ``(D, K)``, as plain numbers."""
        return {name: float(expected_cost(table, probabilities)) for name, table in self.tables.items()}

    def ratios(self, probabilities: torch.Tensor) -> torch.Tensor:
        """Expected cost over limit of each budget, ``(budgets,)``, differentiable."""
        found = [expected_cost(self.tables[n], probabilities) / limit for n, limit in self.limits.items()]
        return torch.stack(found) if found else probabilities.new_zeros(0)

    def loss(
        self, error: torch.Tensor, probabilities: torch.Tensor, multipliers: torch.Tensor,
        slack: torch.Tensor | float = 0.0,
    ) -> torch.Tensor:  # fmt: skip
        """The loss of a network whose cross-entropy is ``error``; the constraint, if any, is ``r <= slack``."""
        ratios = self.ratios(probabilities)
        if self.form == "multiplicative":
            return error * ratios.prod() ** self.exponent
        if self.form == "additive":
            return error + self.weight * (ratios - 1).sum()
        m = multipliers.to(ratios)
        push = (m + self.penalty * (ratios - 1 - slack)).clamp(min=0)  # less of it as soon as a budget is kept
        return error + ((push**2 - m**2) / (2 * self.penalty)).sum()

    def raised(
        self, multipliers: torch.Tensor, probabilities: torch.Tensor, lr: float, slack: torch.Tensor | float = 0.0
    ) -> torch.Tensor:  # fmt: skip
        """Multipliers after a step of the logits by ``lr``: up if a budget is broken, else down, not below 0."""
        if self.form != "constrained":
            return multipliers
        over = self.ratios(probabilities.detach()) - 1 - slack
        return (multipliers + self.rate * lr * over.to(multipliers)).clamp(min=0)
