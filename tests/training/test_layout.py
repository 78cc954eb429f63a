"""Networks that run on contiguous maps alone are trained, scored and estimated as if nothing were."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from labelled import centre_batch_norm, evaluate, fit, reestimate_batch_norm
from netsmith.compression.channels import GroupReport
from netsmith.compression.evidence import Evidence
from netsmith.data import Data, load_data
from netsmith.network.layout import channels_last, find_layout
from netsmith.training import Training


class Flattens(nn.Module):
    """``view`` behind a feature map: always, or in training alone; or ``flatten``, which takes both layouts."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.conv, self.norm, self.fc, self.how = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Linear(144, 10), how

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.norm(self.conv(x)))
        view = self.how == "view" or (self.how == "training" and self.training)
        return torch.as_tensor(self.fc(x.view(x.size(0), -1) if view else x.flatten(1)))


@pytest.fixture(scope="module")
def data() -> Data:
    return load_data("digits", train_limit=256)


@pytest.mark.parametrize("how", ["view", "training"])
def test_a_view_of_a_feature_map_gives_what_flatten_gives(how: str, data: Data) -> None:
    torch.manual_seed(0)
    model, norm = Flattens(how), data.normalisation
    plain = copy.deepcopy(model)
    plain.how = "flatten"
    for network in (model, plain):
        fit(network, data, Training(epochs=1, lr=0.05, batch_size=64, bf16=False), teacher=copy.deepcopy(network))
        centre_batch_norm(network, data.search, normalisation=norm)
        reestimate_batch_norm(network, data.search, 100, batch_size=50, normalisation=norm)
    got, want = (evaluate(m, data.search, normalisation=norm)[1] for m in (model, plain))
    assert got == pytest.approx(want, rel=1e-3)


def test_each_part_finds_out_by_itself(data: Data) -> None:
    norm = data.normalisation
    images, labels = next(data.search.batches(16, normalise=norm))
    assert images.stride()[1] == 1  # channels last
    for part in (
        lambda m: evaluate(m, data.search, normalisation=norm),
        lambda m: reestimate_batch_norm(m, data.search, 100, normalisation=norm),
        lambda m: centre_batch_norm(m, data.search, 100, normalisation=norm),
        lambda m: Evidence(m, GroupReport([], {}, {}), [(images, labels)]).saliency,
    ):
        part(channels_last(Flattens("view")))


def test_layouts_are_found_and_failures_of_any_layout_left_to_others() -> None:
    x = torch.randn(2, 3, 6, 6)
    narrow = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Linear(5, 2))
    for model, takes in (
        (nn.Conv2d(3, 4, 3), True),
        (nn.Sequential(nn.Conv2d(3, 4, 3), View()), False),
        (narrow, True),
    ):
        assert find_layout(model, x) is takes and find_layout(model, x) is takes


class ViewedBackwards(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> torch.Tensor:
        return grads[0].view(len(grads[0]), -1).view(grads[0].shape)


class Between(nn.Module):
    """Two convolutions with a function between them and one behind."""

    def __init__(self, between: Callable[..., torch.Tensor], behind: Callable[..., torch.Tensor]) -> None:
        super().__init__()
        self.a, self.b, self.fc = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1), nn.Linear(512, 4)
        self.between, self.behind = between, behind

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.as_tensor(self.fc(self.behind(self.b(self.between(self.a(x))))))


@pytest.mark.parametrize(
    ("model", "takes"),
    [
        (Between(torch.relu, lambda x: x.flatten(1)), True),
        (Between(ViewedBackwards.apply, lambda x: x.flatten(1)), False),
        (Between(torch.relu, lambda x: x.as_strided((len(x), 512), (512, 1))), False),
    ],
    ids=["plain", "view in the backward pass", "strides by hand"],
)
def test_what_fails_backwards_or_gives_other_values_is_found(model: nn.Module, takes: bool) -> None:
    before = copy.deepcopy(model.state_dict())
    with torch.inference_mode():
        assert find_layout(model, torch.randn(4, 1, 8, 8)) is takes
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


class View(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.view(len(x), -1)
