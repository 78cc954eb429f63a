"""What is measured before a search is all that the search asks for."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from given import space_of
from netsmith.compression.branches import find_branches
from netsmith.compression.groups import find_groups
from netsmith.decisions.demand import rows_asked, rows_possible
from netsmith.decisions.pricing import Pricing
from netsmith.hardware.target import Capabilities, Cost
from netsmith.network.graph import trace
from netsmith.network.layers import LayerTable
from netsmith.network.load import load_model


class Asked:
    """A target that notes what it is asked, each row once."""

    name = "asked"
    capabilities = Capabilities()

    def __init__(self) -> None:
        self.rows: set[tuple[int, ...]] = set()

    def cost(self, table: LayerTable, batch: int = 1) -> Cost:
        self.rows |= rows_of(LayerTable.distinct([table]))
        return Cost(np.ones(table.kind.shape))


def rows_of(table: LayerTable) -> set[tuple[int, ...]]:
    return set(zip(*(c.tolist() for c in table.columns.values()), strict=True))


@pytest.mark.parametrize("spec", ["zoo:digits", "zoo:cifar_resnet20", "zoo:mobilenet_v2?width=0.25"])
def test_no_design_needs_a_row_that_was_not_listed(spec: str) -> None:
    loaded = load_model(spec, input_shape=(1, 8, 8) if spec == "zoo:digits" else (3, 32, 32))
    x = loaded.example_input()
    graph, target = trace(loaded.model, tuple(x.shape[1:])), Asked()
    space = space_of(graph, find_groups(loaded.model, x), find_branches(loaded.model, x), multiple=8)
    pricing = Pricing(space, target)
    asked, possible = rows_of(rows_asked(pricing)), rows_of(rows_possible(pricing))
    assert target.rows == set() and asked < possible
    rng = np.random.default_rng(0)
    designs = space.decisions.sample(rng, 200)
    some = np.where(rng.random(designs.shape) < 0.2, designs, space.reference)
    pricing.predict(np.concatenate([designs, some]))
    for design in designs[:2]:
        pricing.table("latency", design)
    assert len(target.rows) > len(graph.layers)
    assert target.rows <= possible, f"{len(target.rows - possible)} of {len(target.rows)} rows were not listed"


def test_a_network_of_which_nothing_can_be_pruned_has_its_own_rows() -> None:
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.Flatten(), torch.nn.Linear(8 * 36, 5))
    space = space_of(trace(model, (3, 8, 8)))
    listed = rows_possible(Pricing(space, Asked()))
    assert set(listed.c_in[listed.is_compute]) == {3, 8 * 36} and set(listed.a_bits) == {8, 32}
    assert not (rows_of(space.table) - rows_of(listed))
