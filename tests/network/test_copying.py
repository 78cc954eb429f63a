"""Copies of networks that keep what they computed on themselves."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import torch
from torch import nn

from netsmith.compression.channels import GroupReport
from netsmith.compression.evidence import Evidence
from netsmith.errors import InputError
from netsmith.network.copying import copy_network
from netsmith.network.load import load_model


class Keeps(nn.Module):
    """Keeps feature maps on itself: as an attribute, in a list, a dictionary, a buffer, an object."""

    class Notes:
        last: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(1, 4, 3), nn.Linear(4, 10)
        self.register_buffer("seen", torch.zeros(1, 4))
        self.maps: list[Any] = []
        self.by_name: dict[str, Any] = {}
        self.notes = Keeps.Notes()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x).mean((2, 3))
        self.feat = self.notes.last = self.seen = x
        self.maps, self.by_name = [(x, 1)], {"pooled": {"x": x}}
        return torch.as_tensor(self.fc(x))


def test_a_network_that_has_run_with_gradients_is_copied() -> None:
    model, x = Keeps(), torch.randn(2, 1, 8, 8)
    want = model(x)
    assert model.feat.requires_grad
    twin = copy_network(model)
    assert torch.equal(twin.feat, model.feat) and not twin.feat.requires_grad and model.feat.requires_grad
    assert twin.by_name["pooled"]["x"] is twin.feat and twin.maps[0][0] is twin.feat is twin.notes.last
    assert torch.equal(twin(x), want) and twin.conv.weight is not model.conv.weight
    assert torch.equal(load_model(model).model(x), want)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_old_weight_norm_and_importances_by_gradients() -> None:
    model = nn.Sequential(nn.utils.weight_norm(nn.Linear(4, 3)))
    model(torch.ones(1, 4))
    assert torch.equal(copy_network(model)(torch.ones(1, 4)), model(torch.ones(1, 4)))
    kept = Keeps()
    assert Evidence(kept, GroupReport([], {}, {}), [(torch.randn(2, 1, 8, 8), torch.tensor([1, 2]))]).saliency
    copy_network(kept)


def test_what_cannot_be_copied_is_named() -> None:
    model = nn.Sequential(nn.Linear(2, 2))
    model[0].guard = threading.Lock()  # type: ignore[assignment]
    with pytest.raises(InputError, match=r"cannot be copied: module '0' keeps lock as 'guard'"):
        copy_network(model)
