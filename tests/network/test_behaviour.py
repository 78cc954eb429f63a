"""Outputs that depend on company or chance, are no logits or not finite: found, with the module at fault."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from labelled import Labelled
from netsmith.errors import InputError
from netsmith.network.behaviour import check_network, fault_of

IMAGES = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))


class Of(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[[torch.Tensor], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> Any:
        return self.function(x)


class Along(nn.Module):
    """Attention or a recurrence that takes the batch for its sequence, as both do unless told otherwise."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x[:, None]
        return torch.as_tensor(self.layer(x, x, x)[0] if isinstance(self.layer, nn.MultiheadAttention)
                               else self.layer(x)[0])[:, 0]  # fmt: skip


class Counts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.ones(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls = self.calls + 1
        return x * self.calls


def network(middle: nn.Module, end: Callable[[torch.Tensor], Any] = lambda y: y) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), middle, nn.Linear(8, 10), Of(end)
    )  # fmt: skip


def refused(model: nn.Module) -> str:
    with pytest.raises(InputError) as error:
        check_network(model, IMAGES, "give --image-size", Labelled().read, "images")
    assert "\n" not in str(error.value) and "Error" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    "middle",
    [
        nn.Identity(), nn.Dropout(), nn.LayerNorm(8), nn.GroupNorm(2, 8), nn.BatchNorm1d(8),
        Of(lambda x: x - x.mean(1, True)), Of(lambda x: F.softmax(x.float(), -1).type_as(x)),
        Of(lambda x: x @ torch.eye(8)),
        Of(lambda x: x.view(-1, 2, 4).sort(1)[0].flatten(1)), Along(nn.LSTM(8, 8, batch_first=True)),
        Along(nn.MultiheadAttention(8, 2, batch_first=True)), Of(lambda x: x * 1e6),
    ],
)  # fmt: skip
def test_what_treats_each_image_alone_passes(middle: nn.Module) -> None:
    model = network(middle)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    state, mode = torch.get_rng_state(), model.training
    assert check_network(model, IMAGES, "").shape == (1, 10)
    assert torch.equal(torch.get_rng_state(), state) and model.training is mode
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


@pytest.mark.parametrize(
    "middle",
    [
        Of(lambda x: x - x.mean(0)), Of(lambda x: x / x.abs().max()), Of(lambda x: x.sort(0)[0]),
        Of(lambda x: x.cumsum(0)), Of(lambda x: x.flip(0)), Of(lambda x: F.softmax(x, 0)),
        Of(lambda x: x * (x >= x.max(0)[0])),
        Of(lambda x: F.batch_norm(x, None, None, training=True) if len(x) > 1 else x), Along(nn.LSTM(8, 8)),
        Along(nn.MultiheadAttention(8, 2)),
    ],
)  # fmt: skip
def test_outputs_that_depend_on_the_batch_are_found(middle: nn.Module) -> None:
    message = refused(network(middle))
    where = "4.layer (" if isinstance(middle, Along) else "4 (Of)"
    assert "depends on what else is in its batch" in message and where in message, message


def test_norms_without_running_statistics_are_named() -> None:
    plain = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8, track_running_stats=False), nn.ReLU(), nn.Conv2d(8, 8, 3),
        nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(128, 10),
    )  # fmt: skip
    assert "1 (BatchNorm2d without running statistics) mixes the images of a batch" in refused(plain)
    message = refused(network(nn.BatchNorm1d(8, track_running_stats=False)))
    assert "4 images" in message and "not on one alone" in message and "4 (BatchNorm1d without" in message


def test_weights_of_zero_hide_nothing() -> None:
    model = network(Of(lambda x: x - x.mean(0)))
    nn.init.zeros_(model[5].weight)  # type: ignore[index,union-attr,arg-type]
    assert "depends on what else" in refused(model)


@pytest.mark.parametrize(
    ("middle", "says"),
    [
        (Of(lambda x: F.dropout(x)), "4 (Of) draws random numbers"),
        (Of(lambda x: x + 0.1 * torch.randn_like(x)), "4 (Of) draws random numbers (randn_like)"),
        (Of(lambda x: x * (1 + 1e-5 * torch.rand(1))), "4 (Of) draws random numbers"),
        (Of(lambda x: x * random.random()), "4 (Of) keeps a counter or draws"),
        (Counts(), "4 (Counts) keeps a counter"),
    ],
)
def test_outputs_that_depend_on_chance_are_found(middle: nn.Module, says: str) -> None:
    message = refused(network(middle))
    assert "differs from call to call" in message and says in message, message


@pytest.mark.parametrize(
    ("end", "says"),
    [
        (lambda y: {"logits": y[:, :, None]}, "a tensor of shape (1, 10, 1)"),
        (lambda y: None, "nothing"),
        (lambda y: y.squeeze(), "a tensor of shape (10,)"),
        (lambda y: y[:, :, None], "a tensor of shape (1, 10, 1)"),
    ],
)
def test_what_is_no_row_of_logits_is_described(end: Callable[[torch.Tensor], Any], says: str) -> None:
    assert says in refused(network(nn.Identity(), end))


@pytest.mark.parametrize("end", [lambda y: (y, y[:, :2]), lambda y: [y], lambda y: {"other": y[:, :3], "logits": y}])
def test_logits_among_other_outputs_are_read(end: Callable[[torch.Tensor], Any]) -> None:
    check_network(network(nn.Identity(), end), IMAGES, "", Labelled().read, "images")


def test_what_is_not_finite_and_what_does_not_run() -> None:
    assert "not finite: 4 (Of) makes NaN or infinite" in refused(network(Of(lambda x: (x - 100).log())))
    broken = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 10))
    broken[1].running_var.fill_(-1.0)  # type: ignore[operator,union-attr]
    assert "1 (BatchNorm2d) makes NaN" in refused(broken)
    message = refused(nn.Sequential(nn.Flatten(), nn.Linear(63, 10)))
    assert "does not run on images of shape (1, 8, 8): 1 (Linear) fails" in message and "--image-size" in message


def test_a_batch_that_is_written_into_the_forward_says_nothing_of_company() -> None:
    written = network(Of(lambda x: x.view(1, 8)))
    assert fault_of(written, IMAGES) is None and "on a batch of 1 alone" in refused(written)
    assert fault_of(nn.Linear(3, 3), IMAGES) is None  # it does not run: what traces it says so
