"""The least predicted cost at a given loss, with tables that are exact and tables that are expanded."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from netsmith.errors import InfeasibleError
from netsmith.study.cheapest import cheapest

sys.path.insert(0, str(Path(__file__).parents[1] / "decisions"))
sys.path.insert(0, str(Path(__file__).parent))
from test_closing import case, losses


@pytest.fixture(scope="module")
def pricing():  # type: ignore[no-untyped-def]
    return case("zoo:digits", (1, 8, 8))[3]


@pytest.mark.parametrize("name", ["macs", "latency", "size", "memory"])
def test_no_design_that_loses_as_little_is_cheaper_than_the_bound(pricing, name: str) -> None:  # type: ignore[no-untyped-def]
    loss, sizes = losses(pricing), pricing.space.decisions.sizes
    reference = float(pricing.predict(pricing.space.reference, name)[0])
    found = cheapest(pricing, loss, name, 0.5)
    assert found.loss <= 0.5 * (1 + 1e-9)
    assert found.loss == pytest.approx(float(loss[np.arange(len(sizes)), found.design].sum()))
    assert found.cost == float(pricing.predict(found.design, name)[0]) < reference
    assert found.bound <= found.cost and found.exact == pricing.is_exact(name)
    table = pricing.table(name, found.design)  # what the bound is of where the cost is expanded
    random = np.random.default_rng(0).integers(0, sizes, (4000, len(sizes)))
    random = np.concatenate([random, np.maximum(random, sizes - 2)])
    allowed = loss[np.arange(len(sizes)), random].sum(axis=1) <= 0.5
    assert allowed.any() and (table.price(random[allowed]) >= found.bound * (1 - 1e-9)).all()
    assert table.price(found.design[None])[0] == pytest.approx(found.cost, rel=1e-9)


def test_budgets_are_kept_beside_the_loss(pricing) -> None:  # type: ignore[no-untyped-def]
    loss = losses(pricing)
    free = cheapest(pricing, loss, "macs", 0.8)
    limit = 0.9 * float(pricing.predict(free.design, "size")[0])
    held = cheapest(pricing, loss, "macs", 0.8, {"size": limit})
    assert pricing.predict(held.design, "size")[0] <= limit * (1 + 1e-9) and held.cost >= free.bound


def test_a_loss_that_no_design_keeps_is_refused(pricing) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InfeasibleError, match="least is"):
        cheapest(pricing, losses(pricing) + 1.0, "macs", 0.5)
