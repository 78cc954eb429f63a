"""Rewrites of the traced graph: in-place operators become functional, dropped branches leave nothing behind."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from netsmith.network.graph import trace

aten = torch.ops.aten


class Odd(nn.Module):
    """A convolution, and then whatever ``tail`` does."""

    def __init__(self, tail: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.conv, self.tail = nn.Conv2d(2, 4, 3, padding=1), tail

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.tail(self.conv(x), x)


def rectified_before_the_shortcut(y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    z = nn.functional.relu_(y).tanh()
    return z + y  # y is rectified by now


def read_before_it_is_written(y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    before = y.sigmoid()
    y += x.mean()
    return before * y


def written_through_a_view(y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    y[:, :2].mul_(3.0)
    return y.tanh()


def view_of_what_is_written(y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    flat = y.flatten(1)
    y.relu_()
    return flat.cos()  # sees the rectifier


def written_input(y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    z = x.clone()
    z.mul_(2.0)
    return y + z.mean((1, 2, 3), keepdim=True)


@pytest.mark.parametrize(
    "tail",
    [
        rectified_before_the_shortcut,
        read_before_it_is_written,
        written_through_a_view,
        view_of_what_is_written,
        written_input,
    ],
    ids=lambda f: f.__name__,
)
def test_in_place_operators_keep_their_meaning(tail: Callable[..., torch.Tensor]) -> None:
    torch.manual_seed(0)
    model = Odd(tail).eval()
    graph = trace(model, (2, 5, 5))
    x = torch.randn(3, 2, 5, 5)
    with torch.no_grad():
        torch.testing.assert_close(graph.module(x), model(x.clone()))
    targets = [n.target for n in graph.module.graph.nodes if n.op == "call_function"]
    assert not any(getattr(t, "_schema", None) is not None and t._schema.is_mutable for t in targets)


class Scaled(nn.Module):
    """A block in the way of ConvNeXt whose branch was dropped: zeros pass a layer scale and a change of layout."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.stem, self.gamma, self.factor = nn.Conv2d(3, 4, 1), nn.Parameter(torch.ones(4)), factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        zero = torch.zeros(x.shape[0], x.shape[2], x.shape[3], 4) + self.factor
        return x + (zero * self.gamma).permute(0, 3, 1, 2)


def shuffle(y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    b, c, h, w = y.shape
    return y.view(b, 2, c // 2, h, w).transpose(1, 2).contiguous().view(b, c, h, w).tanh()


def test_a_view_survives_the_loss_of_the_copy_before_it() -> None:
    model = Odd(shuffle).eval()
    graph = trace(model, (2, 4, 6))
    x = torch.randn(3, 2, 4, 6)
    with torch.no_grad():
        torch.testing.assert_close(graph.module(x), model(x))


def test_zeros_of_a_dropped_branch_leave_no_row() -> None:
    class Dropped(Scaled):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.stem(x)
            zero = torch.zeros(x.shape[0], x.shape[2], x.shape[3], 4)
            return x + (zero * self.gamma).permute(0, 3, 1, 2)

    assert trace(Dropped(0.0).eval(), (3, 4, 4)).layers.names == ("stem",)
    assert len(trace(Scaled(1.0).eval(), (3, 4, 4)).layers) > 1  # what is not zero stays
