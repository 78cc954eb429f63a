"""Norms of a user's own, networks that return more than logits while they train, and bfloat16 that is never finite."""

from __future__ import annotations

import dataclasses
from collections import namedtuple
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from labelled import evaluate, fit, reestimate_batch_norm
from netsmith.data import Data, load_data
from netsmith.errors import InputError
from netsmith.network.outputs import describe_output, logits_among
from netsmith.training import Training


@pytest.fixture(scope="module")
def data() -> Data:
    return load_data("digits", train_limit=256)


class HandsOn(nn.BatchNorm2d):
    """Hands its momentum to a function that takes numbers alone."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        y = F.batch_norm(
            input, self.running_mean, self.running_var, self.weight, self.bias, self.training,
            float(self.momentum or 0), self.eps,
        )  # fmt: skip
        return F.leaky_relu(y)


class OtherWay(nn.BatchNorm2d):
    """Its momentum is the share that stays, as in other frameworks; and it computes with it."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, momentum=0.9)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return F.batch_norm(input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        assert self.running_mean is not None and self.running_var is not None and self.momentum is not None
        var, mean = torch.var_mean(input, (0, 2, 3))
        with torch.no_grad():
            self.running_mean.copy_(self.momentum * self.running_mean + (1 - self.momentum) * mean)
            self.running_var.copy_(self.momentum * self.running_var + (1 - self.momentum) * var)
        return F.batch_norm(input, None, None, self.weight, self.bias, True, 0.0, self.eps)


class Frozen(nn.BatchNorm2d):
    """Never in training mode."""

    def train(self, mode: bool = True) -> Frozen:
        return super().train(False)


def cumulative(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, momentum=None)


def slow(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, momentum=0.003)


@pytest.mark.parametrize("norm", [nn.BatchNorm2d, HandsOn, OtherWay, cumulative, slow, nn.SyncBatchNorm])
def test_statistics_are_estimated_whatever_the_norm_does_with_its_momentum(norm: Any, data: Data) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), norm(4), nn.Flatten(), nn.Linear(144, 10))
    layer = model[1]
    momentum = layer.momentum
    assert reestimate_batch_norm(model, data.search, 200, batch_size=50, normalisation=data.normalisation) == 1
    with torch.no_grad():
        x = model[0](data.normalisation(data.search.images[:200])).transpose(0, 1).reshape(4, 4, -1)
    assert layer.momentum == momentum
    assert torch.allclose(layer.running_mean, x.mean((1, 2)), rtol=1e-3, atol=1e-4)
    assert torch.allclose(layer.running_var, x.var(2).mean(1), rtol=1e-3)


@pytest.mark.parametrize("norm", [Frozen, lambda c: nn.BatchNorm2d(c, momentum=0.0)])
def test_frozen_norms_stay_as_they_are(norm: Any, data: Data) -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 3), norm(4), nn.Flatten(), nn.Linear(144, 10))
    model[1].running_mean.fill_(3.0)
    reestimate_batch_norm(model, data.search, 100, batch_size=50, normalisation=data.normalisation)
    assert bool((model[1].running_mean == 3).all()) and bool((model[1].running_var == 1).all())


Named = namedtuple("Named", ["aux", "logits"])


@dataclasses.dataclass
class Result:
    loss: None
    logits: torch.Tensor
    aux: torch.Tensor


@pytest.mark.parametrize(
    "wrap",
    [
        lambda a, b: (a, b),
        lambda a, b: [a, b],
        lambda a, b: {"aux": b, "out": a},
        lambda a, b: Named(b, a),
        lambda a, b: Result(None, a, b),
        lambda a, b: ((a, b), b),
    ],
)
def test_logits_are_found_among_what_training_returns(wrap: Any) -> None:
    a, b = torch.zeros(2, 3), torch.ones(2, 3)
    assert logits_among(wrap(a, b)) is a
    assert "output" in describe_output(wrap(a, b))


def test_what_holds_no_logits_is_described() -> None:
    assert logits_among(None) is None and describe_output(None) == "nothing"
    assert describe_output({"a": torch.ones(1), "b": 1}) == "a dictionary of 2 outputs (a, b)"
    assert describe_output((torch.ones(1),)) == "a tuple of 1 output"
    assert logits_among(()) == () and logits_among({"a": None}) == {"a": None}


class Auxiliary(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc, self.aux = nn.Conv2d(1, 8, 3), nn.Linear(288, 10), nn.Linear(288, 10)

    def forward(self, x: torch.Tensor) -> Any:
        x = F.relu(self.conv(x)).flatten(1)
        return (self.fc(x), self.aux(x)) if self.training else self.fc(x)


def test_an_auxiliary_output_in_training_is_said_and_left_alone(data: Data) -> None:
    torch.manual_seed(0)
    model = Auxiliary()
    result = fit(model, data, Training(epochs=2, lr=0.1, batch_size=64, bf16=False))
    assert result.history[1]["loss"] < result.history[0]["loss"]
    assert result.messages == ["in training the network returns a tuple of 2 outputs: only its logits are trained"]


def test_several_outputs_are_one_sentence(data: Data) -> None:
    class Both(Auxiliary):
        def forward(self, x: torch.Tensor) -> Any:
            return {"features": torch.zeros(len(x), 3), "out": torch.zeros(len(x), 10)}

    class Maps(Auxiliary):
        def forward(self, x: torch.Tensor) -> Any:
            return {"out": torch.zeros(len(x), 10, 2)}

    assert evaluate(Both(), data.search, normalisation=data.normalisation)[0] > 0  # what is called out are its logits
    with pytest.raises(InputError, match=r"returns a tensor of shape \(\d+, 10, 2\) for \d+ images, but one tensor"):
        evaluate(Maps(), data.search, normalisation=data.normalisation)


class NeverInBf16(nn.Module):
    """As kernels of some processors: no number comes out in bfloat16."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.fc, self.calls, self.after = nn.Linear(64, 10), 0, after

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.fc(x.flatten(1))
        self.calls += self.training
        return y * float("nan") if torch.is_autocast_enabled("cpu") and self.calls > self.after else y


@pytest.mark.parametrize(("bf16", "after"), [("auto", 0), ("auto", 3), (True, 0)])
def test_float32_is_tried_before_the_data_are_blamed(
    bf16: Any, after: int, data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("netsmith.training.device.cpu_has_bf16", lambda: True)
    result = fit(NeverInBf16(after), data, Training(epochs=2, lr=0.05, batch_size=64, bf16=bf16), device="cpu")
    assert not result.bf16 and result.history[-1]["loss"] < 2.5
    assert bool(result.messages) is (bf16 is True or after > 0)
    assert all("in float32 instead of bfloat16" in m for m in result.messages)


class Fails(Auxiliary):
    """Works in evaluation; what training does is given."""

    def __init__(self, how: Any) -> None:
        super().__init__()
        self.how = how

    def forward(self, x: torch.Tensor) -> Any:
        x = super().forward(x)
        return self.how(x[0]) if self.training else x


@pytest.mark.parametrize(
    ("how", "says"),
    [
        (lambda y: y @ torch.ones(3, 3), "does not run in training mode: the forward of Fails fails"),
        (lambda y: y.detach(), "cannot be trained, as its loss has no gradients"),
        (lambda y: y.exp().add_(1).mul_(y.exp().sigmoid_().exp_()).relu_(), "cannot be trained"),
        (lambda y: None, "returns nothing for 8 images"),
    ],
)
def test_what_only_training_does_fails_in_words(how: Any, says: str, data: Data) -> None:
    with pytest.raises(InputError, match=says):
        fit(Fails(how), data, Training(epochs=1, bf16=False))
