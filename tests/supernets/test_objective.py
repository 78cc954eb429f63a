"""The loss of a network of paths: its forms, multipliers, and what is said of wrong ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from netsmith.errors import InputError
from netsmith.space import CostTable
from netsmith.supernets.objective import Objective

TABLES = {"latency": CostTable(1.0, np.array([[0.0, 2.0]])), "energy": CostTable(0.0, np.array([[4.0, 8.0]]))}
HALF = torch.tensor([[0.5, 0.5]], dtype=torch.float64)  # costs 2 and 6
ERROR = torch.tensor(1.5, dtype=torch.float64)


def objective(latency: float, energy: float, form: str = "constrained", **keys) -> Objective:
    return Objective(TABLES, {"latency": latency, "energy": energy}, form, **keys)  # type: ignore[arg-type]


def test_values_by_hand():
    none = torch.zeros(2, dtype=torch.float64)
    assert objective(4.0, 3.0).expected(HALF) == {"latency": 2.0, "energy": 6.0}
    assert objective(4.0, 3.0).ratios(HALF).tolist() == [0.5, 2.0]
    assert float(objective(4.0, 3.0, "additive", weight=0.2).loss(ERROR, HALF, none)) == pytest.approx(1.5 + 0.2 * 0.5)
    found = objective(4.0, 3.0, "multiplicative", exponent=0.3).loss(ERROR, HALF, none)
    assert float(found) == pytest.approx(1.5 * (0.5 * 2.0) ** 0.3)
    found = objective(4.0, 3.0, penalty=2.0).loss(ERROR, HALF, torch.tensor([3.0, 0.5], dtype=torch.float64))
    assert float(found) == pytest.approx(1.5 + ((3 - 1) ** 2 - 9 + (0.5 + 2) ** 2 - 0.25) / 4)


def test_the_slope_of_the_constraint_gives_way_below_the_budget_and_never_pays_for_cost():
    for ratio in (0.2, 0.6, 0.9, 1.0, 1.4):
        p = HALF.clone().requires_grad_()
        m = torch.tensor([0.8, 0.0], dtype=torch.float64)
        loss = objective(2.0 / ratio, 60.0, penalty=2.0).loss(ERROR, p, m)
        (slope,) = torch.autograd.grad(loss, p)
        push = max(0.8 + 2.0 * (ratio - 1), 0.0)
        assert slope.tolist() == [pytest.approx([0.0, push * 2.0 * ratio / 2.0])]


def test_multipliers_rise_while_a_budget_is_broken_and_fall_while_it_is_kept():
    m = torch.tensor([0.1, 0.1], dtype=torch.float64)
    both = objective(4.0, 3.0, rate=2.0)  # half of one budget, twice the other
    assert both.raised(m, HALF, 0.01).tolist() == pytest.approx([0.1 - 0.01, 0.1 + 0.02])
    assert both.raised(m, HALF, 1.0).tolist() == pytest.approx([0.0, 2.1])
    assert torch.equal(objective(4.0, 3.0, "additive").raised(m, HALF, 1.0), m)


def test_a_budget_with_slack_is_a_larger_budget():
    m, slack = torch.tensor([0.3, 0.5], dtype=torch.float64), torch.tensor([0.5, 1.5], dtype=torch.float64)
    given = objective(1.0, 4.0, rate=2.0)  # ratios 2 and 1.5
    push = (max(0.3 + 2.0 * 0.5, 0.0), max(0.5 + 2.0 * (0.5 - 1.5), 0.0))
    value = 1.5 + sum((p**2 - q**2) / 4 for p, q in zip(push, (0.3, 0.5), strict=True))
    assert float(given.loss(ERROR, HALF, m, slack)) == pytest.approx(value)
    assert given.raised(m, HALF, 0.1, slack).tolist() == pytest.approx([0.3 + 0.2 * 0.5, 0.5 - 0.2])


def test_wrong_objectives_get_one_sentence():
    with pytest.raises(InputError, match="unknown loss 'sum'; choose one of constrained, additive, multiplicative"):
        objective(1.0, 1.0, "sum")
    for limits in ({"latency": 0.0}, {"latency": -1.0}, {"latency": float("nan")}, {"macs": 3.0}):
        with pytest.raises(InputError, match="it needs a cost table and must be above 0"):
            Objective(TABLES, limits)
