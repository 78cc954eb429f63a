"""A small residual network, traced, with data-like statistics in its batch norms."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from netsmith.network.graph import Graph, trace
from netsmith.network.load import load_model


def warmed(model: nn.Module, shape: tuple[int, ...]) -> nn.Module:
    """Batch norm with running statistics of random images instead of zeros and ones."""
    torch.manual_seed(0)
    model.train()
    with torch.no_grad():
        for _ in range(4):
            model(torch.randn(32, *shape))
    return model.eval()


@pytest.fixture(scope="session")
def digits_model() -> nn.Module:
    return warmed(load_model("zoo:digits").model, (1, 8, 8))


@pytest.fixture(scope="session")
def digits_graph(digits_model: nn.Module) -> Graph:
    return trace(digits_model, (1, 8, 8))
