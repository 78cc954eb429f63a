"""A small residual network, traced, with data-like statistics in its batch norms."""

from __future__ import annotations

import pytest
from torch import nn

from netsmith.network.graph import Graph, trace
from netsmith.network.load import load_model
from warmed import warmed


@pytest.fixture(scope="session")
def digits_model() -> nn.Module:
    return warmed(load_model("zoo:digits").model, (1, 8, 8))


@pytest.fixture(scope="session")
def digits_graph(digits_model: nn.Module) -> Graph:
    return trace(digits_model, (1, 8, 8))
