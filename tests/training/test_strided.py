"""Pointwise convolutions with a stride: what runs in their place computes the same and has no stride."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from labelled import fit
from netsmith.data import load_data
from netsmith.network.strided import CONVOLUTIONS, Subsampled
from netsmith.training import Training


class Strides(TorchFunctionMode):
    """The stride of every convolution that is run with gradients, after all other modes."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[int, ...]] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in CONVOLUTIONS and torch.is_grad_enabled():
            self.found.append(tuple(args[3]) if len(args) > 3 else (1, 1))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "channels", "groups", "changed"),
    [
        (1, 2, 0, 6, 1, True),
        (1, (1, 3), 0, 15, 1, True),
        (1, 2, 0, 16, 1, False),  # a block of the widest kernels
        (1, 1, 0, 6, 1, False),
        (1, 2, 1, 6, 1, False),
        (1, 2, 0, 6, 2, False),
        (3, 2, 1, 6, 1, False),
    ],
)
def test_results_and_gradients_are_those_of_the_strided_convolution(
    kernel: int, stride: Any, padding: int, channels: int, groups: int, changed: bool
) -> None:
    torch.manual_seed(0)
    x, layer = torch.randn(2, channels, 7, 8), nn.Conv2d(channels, 4, kernel, stride, padding, groups=groups)
    x.requires_grad_()
    with Strides() as strides, Subsampled():
        got = layer(x)
        again = torch.ops.aten.conv2d.default(x, layer.weight, layer.bias, layer.stride, layer.padding, [1, 1], groups)
    assert (set(strides.found) == {(1, 1)}) == (changed or stride == 1)
    want = F.conv2d(x.detach(), layer.weight.detach(), layer.bias, stride, padding, 1, groups)
    assert torch.allclose(got, want, atol=1e-5) and torch.equal(got, again)
    gradients = torch.autograd.grad(got.square().sum(), [x, layer.weight])
    y, w = (v.detach().double().requires_grad_() for v in (x, layer.weight))
    assert layer.bias is not None
    exact = F.conv2d(y, w, layer.bias.detach().double(), stride, padding, 1, groups).square().sum()
    for gradient, truth in zip(gradients, torch.autograd.grad(exact, [y, w]), strict=True):
        assert torch.allclose(gradient.double(), truth, rtol=1e-3, atol=1e-3)


def test_training_runs_no_narrow_one_with_a_stride() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 6, 1), nn.Conv2d(6, 8, 1, 2), nn.ReLU(), nn.Flatten(), nn.Linear(128, 10))
    with Strides() as strides:
        fit(model, load_data("digits"), Training(epochs=1, lr=0.1, batch_size=64, bf16=False), device="cpu")
    assert len(strides.found) >= 38 and set(strides.found) == {(1, 1)}
