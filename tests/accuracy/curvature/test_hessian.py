"""Traces of the Hessian against the full matrix of torch.func.hessian."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call, hessian
from torch.nn.attention import SDPBackend, sdpa_kernel

from labelled import hessian_trace
from netsmith.accuracy.curvature import hessian as curvature
from netsmith.errors import InputError
from netsmith.network.graph import Graph, trace


def case(
    *layers: nn.Module, shape: tuple[int, ...] = (1, 2, 3), images: int = 10
) -> tuple[Graph, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    for layer in layers:
        for p in layer.parameters():
            nn.init.normal_(p)
    return trace(nn.Sequential(*layers), shape), torch.randn(images, *shape), torch.randint(0, 3, (images,))


def exact(graph: Graph, x: torch.Tensor, y: torch.Tensor, name: str) -> float:
    w = graph.module.get_parameter(name).detach()

    def loss(v: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(functional_call(graph.module, {name: v.view(w.shape)}, (x,)), y)

    return float(hessian(loss)(w.flatten()).trace().detach())


@pytest.fixture(scope="module")
def smooth() -> tuple[Graph, torch.Tensor, torch.Tensor]:
    return case(nn.Conv2d(1, 3, 2), nn.Tanh(), nn.Flatten(), nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 3))


NAMES = ["0.weight", "3.weight", "5.weight"]


@pytest.mark.parametrize("batch_size", [3, 10])  # 3, 3, 3 and 1: batches count by their images
def test_traces_are_those_of_the_full_hessian(smooth, batch_size: int) -> None:  # type: ignore[no-untyped-def]
    graph, x, y = smooth
    found = hessian_trace(graph, x, y, NAMES, most=200, tolerance=0.0, batch_size=batch_size)
    want = np.array([exact(graph, x, y, name) for name in NAMES])
    assert found.names == tuple(NAMES) and found.samples == 200
    assert (np.abs(found.trace - want) < 3 * found.error).all()
    assert (found.error > 0).all() and (found.error < 0.25 * want.max()).all()


def test_softmax_regression() -> None:
    graph, x, y = case(nn.Flatten(), nn.Linear(6, 3))
    p = F.softmax(graph.module(x), 1).detach()
    want = float(((p * (1 - p)).sum(1) * x.flatten(1).square().sum(1)).mean())  # of diag(p) - p p^T, times x x^T
    found = hessian_trace(graph, x, y, ["1.weight"], most=400, tolerance=0.0, batch_size=5)
    assert exact(graph, x, y, "1.weight") == pytest.approx(want, rel=1e-5)
    assert abs(found.trace[0] - want) < 3 * found.error[0] < 0.2 * want


def test_unbiased_over_seeds_and_its_error_is_the_spread(smooth) -> None:  # type: ignore[no-untyped-def]
    graph, x, y = smooth
    runs = [hessian_trace(graph, x, y, NAMES, seed=s, most=4, tolerance=0.0, batch_size=5) for s in range(60)]
    traces, errors = np.array([r.trace for r in runs]), np.array([r.error for r in runs])
    want = np.array([exact(graph, x, y, name) for name in NAMES])
    spread = traces.std(axis=0, ddof=1)
    assert (np.abs(traces.mean(axis=0) - want) < 3 * spread / np.sqrt(60)).all()
    assert np.sqrt((errors**2).mean(axis=0)) == pytest.approx(spread, rel=0.3)
    assert (hessian_trace(graph, x, y, NAMES, seed=7, most=4, tolerance=0.0, batch_size=5).trace == traces[7]).all()


def test_a_layer_of_small_trace_does_not_drown(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, x, _ = case(nn.Flatten(), nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3), images=64)
    with torch.no_grad():
        graph.module.get_parameter("3.weight").mul_(0.05)  # nearly all curvature is then in the second layer
        y = torch.multinomial(F.softmax(graph.module(x), 1), 1, generator=torch.Generator().manual_seed(0)).squeeze(1)
    names = ["1.weight", "3.weight"]
    found = hessian_trace(graph, x, y, names, most=16, tolerance=0.0, batch_size=8)
    want = np.array([exact(graph, x, y, name) for name in names])
    assert want[1] > 50 * want[0] > 0
    assert (np.abs(found.trace - want) < 3 * found.error).all()
    monkeypatch.setattr(curvature, "_scale", np.ones_like)
    plain = hessian_trace(graph, x, y, names, most=16, tolerance=0.0, batch_size=8)
    assert found.error[0] < 0.5 * plain.error[0]


def test_stops_when_the_error_is_small(smooth) -> None:  # type: ignore[no-untyped-def]
    graph, x, y = smooth
    loose = hessian_trace(graph, x, y, NAMES[:1], most=200, tolerance=0.2, batch_size=5)
    assert 2 < loose.samples < 200
    assert (loose.error <= 0.2 * np.abs(loose.trace)).all()


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.head = nn.Linear(4, 12), nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv(x.squeeze(1)).unsqueeze(1).chunk(3, dim=-1)
        return self.head(F.scaled_dot_product_attention(q, k, v).mean(dim=(1, 2)))


def test_attention_has_a_second_derivative() -> None:
    graph, x, y = case(Attention(), shape=(1, 5, 4), images=6)
    with sdpa_kernel(SDPBackend.MATH):
        want = exact(graph, x, y, "0.qkv.weight")
    found = hessian_trace(graph, x, y, ["0.qkv.weight"], most=300, tolerance=0.0)
    assert abs(found.trace[0] - want) < 3 * found.error[0]


class Prototypes(nn.Module):
    """Logits from distances to one prototype a class; torch has no second derivative of them."""

    def __init__(self) -> None:
        super().__init__()
        self.means = nn.Parameter(torch.zeros(3, 16))
        self.first = nn.Linear(16, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return -torch.cdist(self.first(x.flatten(1)), self.means, p=1.0)


def test_bad_input_is_named(smooth) -> None:  # type: ignore[no-untyped-def]
    graph, x, y = smooth
    with pytest.raises(InputError, match=r"no weight '3\.weigth' \(did you mean '3\.weight'\?\)"):
        hessian_trace(graph, x, y, ["3.weigth"])
    with pytest.raises(InputError, match="at least one weight"):
        hessian_trace(graph, x, y, [])
    with pytest.raises(InputError, match="no examples were given"):
        hessian_trace(graph, x[:0], y[:0], NAMES)
    with pytest.raises(InputError, match="at least 2 samples"):
        hessian_trace(graph, x, y, NAMES, most=1)
    with pytest.raises(InputError, match="not finite"):
        hessian_trace(graph, x * torch.nan, y, NAMES)
    once, x, y = case(Prototypes(), shape=(1, 4, 4), images=2)
    with pytest.raises(InputError, match=r"cannot be differentiated twice.*cdist.*weight_fisher"):
        hessian_trace(once, x, y, ["0.means"])
