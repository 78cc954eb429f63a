"""A batch size in a forward is found and named, whatever else the network does."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from netsmith.errors import InputError
from netsmith.network.batch import written_batch
from netsmith.network.behaviour import check_network
from netsmith.network.graph import trace
from netsmith.network.load import load_model

Flat = Callable[..., torch.Tensor]


class Pooled(nn.Module):
    def __init__(self, flat: Flat) -> None:
        super().__init__()
        self.conv, self.fc, self.flat = nn.Conv2d(1, 6, 3), nn.Linear(6, 4), flat
        self.register_buffer("offset", torch.zeros(2, 6))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.as_tensor(self.fc(self.flat(self, self.conv(x))))


WRITTEN: dict[str, tuple[Flat, int]] = {
    "view of one": (lambda m, x: x.view(1, 6, 16).mean(2), 1),
    "view of two": (lambda m, x: x.view(2, 6, 16).mean(2), 2),
    "reshape of four": (lambda m, x: x.reshape(4, 6, 16).mean(2), 4),
    "four that folds": (lambda m, x: x.reshape(4, 6, -1).mean(2), 4),
    "a buffer of two": (lambda m, x: x.mean((2, 3)).unsqueeze(1) .squeeze(1)[:2] + m.offset, 2),
    "one row": (lambda m, x: x.mean((2, 3)).reshape(1, -1)[:, :6], 1),
}  # fmt: skip


@pytest.mark.parametrize("name", WRITTEN)
def test_a_batch_size_in_the_forward_is_named(name: str) -> None:
    flat, size = WRITTEN[name]
    with pytest.raises(InputError, match=rf"on a batch of {size} alone: .* forward.*x\.shape\[0\]") as caught:
        check_network(Pooled(flat), torch.randn(4, 1, 6, 6), "")
    if name.startswith("view"):
        assert "test_batch.py, line" in str(caught.value) and "--" not in str(caught.value)


def test_a_trace_names_it_instead_of_the_shape() -> None:
    with pytest.raises(InputError, match="batch of 1 alone"):
        trace(Pooled(WRITTEN["view of one"][0]), (1, 6, 6))


def test_networks_of_any_batch_and_of_none_say_nothing() -> None:
    x = torch.randn(4, 1, 8, 8)
    assert written_batch(load_model("zoo:digits").model, x) is None
    assert written_batch(Pooled(lambda m, y: y.mean((2, 3))), x) is None
    assert written_batch(Pooled(lambda m, y: y.flatten(1)), x) is None  # fails on every batch
    assert written_batch(Pooled(lambda m, y: y.mean((2, 3)).squeeze()), x) is None  # one image alone loses its row
