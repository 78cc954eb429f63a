"""Fisher information against gradients taken image by image, and against the Hessian where the two are equal."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call, hessian

from labelled import weight_fisher
from netsmith.errors import InputError
from netsmith.network.graph import Graph, trace


@pytest.fixture
def tiny() -> tuple[Graph, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(12, 4))
    return trace(model, (1, 3, 3)), torch.randn(10, 1, 3, 3), torch.randint(0, 4, (10,))


NAMES = ["0.weight", "3.weight", "3.bias"]


def by_image(graph: Graph, x: torch.Tensor, y: torch.Tensor) -> list[torch.Tensor]:
    """Per name the squared gradients of each image, ``(N, ...)``."""
    w = [graph.module.get_parameter(n) for n in NAMES]
    g = [torch.autograd.grad(F.cross_entropy(graph.module(a[None]), b[None]), w) for a, b in zip(x, y, strict=True)]
    return [torch.stack(column).square() for column in zip(*g, strict=True)]


@pytest.mark.parametrize("batch_size", [None, 3])
def test_is_the_mean_of_squared_gradients(tiny, batch_size: int | None) -> None:  # type: ignore[no-untyped-def]
    graph, x, y = tiny
    found = weight_fisher(graph, x, y, NAMES, batch_size=batch_size)
    for i, squares in enumerate(by_image(graph, x, y)):
        traces = squares.flatten(1).sum(1).double()
        torch.testing.assert_close(found.diagonal[i], squares.mean(0))
        assert found.trace[i] == pytest.approx(float(traces.mean()), rel=1e-5)
        assert found.error[i] == pytest.approx(float(traces.std()) / np.sqrt(10), rel=1e-4)


def test_a_network_of_fixed_batch_gives_the_same(tiny) -> None:  # type: ignore[no-untyped-def]
    graph, x, y = tiny
    free = weight_fisher(graph, x, y, NAMES)

    class Pinned(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.net = nn.Sequential(nn.Conv2d(1, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(12, 4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.net(x.reshape(2, 1, 3, 3))

    pinned = trace(Pinned(), (1, 3, 3))
    assert not pinned.dynamic_batch
    found = weight_fisher(pinned, x, y, [f"net.{n}" for n in NAMES])
    for a, b in zip(found.diagonal, free.diagonal, strict=True):
        torch.testing.assert_close(a, b)
    with pytest.raises(InputError, match="give at least 2"):
        weight_fisher(pinned, x[:1], y[:1], ["net.0.weight"])


def regression(images: int) -> tuple[Graph, torch.Tensor]:
    torch.manual_seed(1)
    graph = trace(nn.Sequential(nn.Flatten(), nn.Linear(4, 3)), (1, 2, 2))
    with torch.no_grad():
        graph.module.get_parameter("1.weight").mul_(3)
    return graph, torch.randn(images, 1, 2, 2)


def test_expected_over_outputs_it_is_the_hessian_of_softmax_regression() -> None:
    graph, x = regression(30)
    w = graph.module.get_parameter("1.weight").detach()

    def loss(v: torch.Tensor) -> torch.Tensor:  # the Hessian of softmax regression does not depend on labels
        z = functional_call(graph.module, {"1.weight": v.view(w.shape)}, (x,))
        return F.cross_entropy(z, torch.zeros(30, dtype=torch.long))

    want = hessian(loss)(w.flatten()).detach().diagonal().view(w.shape)
    runs = torch.stack([weight_fisher(graph, x, None, ["1.weight"], seed=s).diagonal[0] for s in range(100)])
    error = runs.std(dim=0) / 10
    assert ((runs.mean(dim=0) - want).abs() < 4 * error).all()
    assert (error < 0.05 * want).all()
    many = x.repeat(100, 1, 1, 1)
    drawn = torch.multinomial(F.softmax(graph.module(many), 1).detach(), 1).squeeze(1)
    sampled = weight_fisher(graph, many, drawn, ["1.weight"], batch_size=500)
    assert abs(sampled.trace[0] - float(want.sum())) < 3 * sampled.error[0] < 0.2 * float(want.sum())


def test_bad_input_is_named(tiny) -> None:  # type: ignore[no-untyped-def]
    graph, x, y = tiny
    with pytest.raises(InputError, match="one example has no standard error"):
        weight_fisher(graph, x[:1], y[:1], NAMES)
    with pytest.raises(InputError, match="for NaN"):
        weight_fisher(graph, x * torch.nan, y, NAMES)
