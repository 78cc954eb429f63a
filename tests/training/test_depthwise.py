"""Depthwise convolutions in bfloat16 training: which ones run in float32, and that they compute the same."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from labelled import fit
from netsmith.data import load_data
from netsmith.training import Training
from netsmith.training.depthwise import Float32Depthwise


class Record(TorchFunctionMode):
    """The type of the image of every convolution that is run, after all other modes."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[torch.dtype] = []
        self.trained: list[torch.dtype] = []  # those of them with gradients

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (torch.conv2d, torch.ops.aten.conv2d.default):
            fast = torch.is_autocast_enabled("cpu")
            self.found.append(torch.bfloat16 if fast else args[0].dtype)
            if torch.is_grad_enabled():
                self.trained.append(self.found[-1])
        return func(*args, **(kwargs or {}))


def dtype_of(layer: nn.Conv2d, x: torch.Tensor, bf16: bool = True) -> torch.dtype:
    with Record() as record, torch.autocast("cpu", torch.bfloat16, enabled=bf16), Float32Depthwise():
        y = layer(x)
    assert y.dtype == (torch.bfloat16 if bf16 else torch.float32) and len(record.found) == 1
    return record.found[0]


@pytest.mark.parametrize(
    ("kernel", "stride", "groups", "side", "expected"),
    [
        (3, 1, 8, 6, torch.bfloat16),
        (3, 2, 8, 6, torch.float32),
        (5, 1, 8, 6, torch.float32),
        (3, 1, 8, 2, torch.float32),
        (3, 2, 1, 6, torch.bfloat16),
        (5, 1, 4, 6, torch.bfloat16),  # grouped, but not depthwise
    ],
)
def test_only_slow_depthwise_convolutions_run_in_float32(
    kernel: int, stride: int, groups: int, side: int, expected: torch.dtype
) -> None:
    layer, x = nn.Conv2d(8, 8, kernel, stride, kernel // 2, groups=groups), torch.randn(2, 8, side, side)
    assert dtype_of(layer, x) == expected
    assert dtype_of(layer, x, bf16=False) == torch.float32
    with torch.no_grad():  # only the backward pass is slow
        assert dtype_of(layer, x) == torch.bfloat16


def test_results_and_gradients_are_those_of_float32() -> None:
    torch.manual_seed(0)
    x, w, b = torch.randn(2, 8, 7, 7).bfloat16(), torch.randn(8, 1, 5, 5, requires_grad=True), torch.randn(8)
    expected = F.conv2d(x.float(), w, b, 2, 2, 1, 8)
    with torch.autocast("cpu", torch.bfloat16), Float32Depthwise():
        got = [
            F.conv2d(x, w, b, 2, 2, 1, 8),
            F.conv2d(input=x, weight=w, bias=b, stride=(2, 2), padding=2, groups=8),
            torch.ops.aten.conv2d.default(x, w, b, [2, 2], [2, 2], [1, 1], 8),  # as in exported networks
        ]
    for y in got:
        assert y.dtype == torch.bfloat16 and torch.equal(y, expected.bfloat16())
        gradient = torch.autograd.grad(y.float().square().sum(), w)[0]
        rounded = torch.autograd.grad(expected, w, 2 * expected.detach().bfloat16().float(), retain_graph=True)[0]
        assert gradient.dtype == torch.float32 and torch.allclose(gradient, rounded, rtol=2e-2, atol=0.5)


def test_training_in_bf16_runs_them_in_float32() -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(8, 8, 3, 2, 1, groups=8)
    model = nn.Sequential(nn.Conv2d(1, 8, 3, 1, 1), layer, nn.ReLU(), nn.Flatten(), nn.Linear(128, 10))
    with Record() as record:
        result = fit(model, load_data("digits"), Training(epochs=2, lr=0.1, batch_size=64, bf16=True), device="cpu")
    assert result.best_score is not None and result.best_score > 0.5
    steps = 2 * 2 * 19  # what is rehearsed on a copy comes before them
    assert record.trained[-steps:] == [torch.bfloat16, torch.float32] * (steps // 2)
    assert set(record.found[-2:]) == {torch.float32}
