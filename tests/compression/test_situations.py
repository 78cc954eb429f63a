"""Which channels may leave in situations that are hard to read, exactly, and true reasons where none may."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations

from exact_pruning import exact, widths
from netsmith.compression import find_groups
from netsmith.compression.prune import prune
from situations import (
    BareProduct,
    ConstantProduct,
    Decoder,
    Functional,
    GroupedPair,
    GroupedUp,
    Normalised,
    PlainAttention,
    Res2,
    RootMeanSquare,
    Shuffled,
    SliceAdd,
    TinySwin,
)

IMAGE = torch.randn(2, 3, 8, 8)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (GroupedPair(), {"a": (16, 2), "b": (32, 2), "c": (32, 2)}),
        (GroupedPair(4, 2), {"a": (16, 4), "b": (32, 4), "c": (32, 2)}),
        (GroupedPair(2, 8), {"a": (16, 2), "b": (32, 8)}),
        (GroupedUp(), {"a": (12, 2), "up": (8, 2)}),
        (Shuffled(), {"a": (16, 2), "b": (16, 4), "c": (24, 2)}),
        (Shuffled(by_hand=False), {"a": (16, 2), "b": (16, 4), "c": (24, 2)}),
        (PlainAttention(), {"embed": (16, 1), "q": (12, 1), "v": (20, 1)}),
        (PlainAttention(fused=True), {"embed": (16, 1), "q": (12, 1), "v": (20, 1)}),
        (RootMeanSquare(), {"a": (24, 1), "b": (16, 1)}),
        (RootMeanSquare(affine=False), {"a": (24, 1), "b": (16, 1)}),
        (Normalised(by_hand=True), {"a": (16, 1), "b": (12, 1)}),
        (Normalised(by_hand=False), {"a": (16, 1), "b": (12, 1)}),
        (Decoder(), {"lin": (64, 4), "up": (24, 1)}),
        (SliceAdd(), {"a": (8, 1), "b": (8, 1)}),
        (Functional(), {"a": (16, 1), "b": (12, 1)}),
        (BareProduct(), {"a": (16, 1), "b": (12, 1)}),
        (Res2(fixed=False), {"stem": (16, 4), "convs.2": (4, 1)}),
    ],
    ids=lambda v: type(v).__name__ if isinstance(v, nn.Module) else "",
)
def test_what_may_leave_leaves_exactly(model: nn.Module, expected: dict[str, tuple[int, int]]) -> None:
    report = exact(model)
    assert widths(report) == expected
    last = "b" if isinstance(model, GroupedUp) else "fc"
    assert report.frozen == {last: "its channels are the network's output"}


def test_equally_many_channels_leave_each_convolution_group() -> None:
    model = GroupedPair()
    report = find_groups(model, IMAGE)
    prune(model, report, {"a": range(10), "b": range(24)})
    assert (model.b.groups, model.b.in_channels, model.b.out_channels) == (2, 10, 24)
    assert model.b.weight.shape == (24, 5, 3, 3) and model.c.weight.shape == (32, 12, 3, 3)


def test_a_swin_is_pruned_by_heads_within_its_time() -> None:
    report = exact(TinySwin(), torch.randn(2, 3, 16, 16))
    heads = {g.name: g.attributes for g in report.groups if g.attributes}
    assert heads["one.0.attn.qkv"] == (("one.0.attn", "num_heads", 2),) and len(heads) == 4
    assert widths(report)["embed"] == (16, 1) and widths(report)["merge"] == (32, 1)
    assert set(report.frozen) == {"head"}


def test_what_a_fixed_split_ties_down_is_named_by_its_line() -> None:
    report = exact(Res2(fixed=True))
    assert set(report.frozen) == {"convs.0", "fc"}
    assert "fails in situations.py, line" in report.frozen["convs.0"]


def test_a_layer_that_a_constant_reads_says_so() -> None:
    frozen = find_groups(ConstantProduct(), IMAGE).frozen
    assert frozen["a"] == "its channels meet a tensor of fixed size that the forward makes itself"


class Normed(nn.Module):
    """A layer whose weight is computed from others, between two that are ordinary."""

    def __init__(self, how: Any) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 8, 1), how(nn.Conv2d(8, 8, 1)), nn.Conv2d(8, 8, 1)
        self.fc = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(F.relu(self.c(F.relu(self.b(F.relu(self.a(x)))))).mean((2, 3)))


@pytest.mark.filterwarnings("ignore:.*weight_norm.*deprecated:FutureWarning")
@pytest.mark.parametrize(
    ("how", "remedy"),
    [
        (parametrizations.weight_norm, "remove_parametrizations"),
        (parametrizations.spectral_norm, "remove_parametrizations"),
        (parametrizations.orthogonal, "remove_parametrizations"),
        (torch.nn.utils.weight_norm, "remove_weight_norm"),
        (torch.nn.utils.spectral_norm, "remove_spectral_norm"),
    ],
)
def test_weights_that_are_computed_name_the_remedy(how: Any, remedy: str) -> None:
    report = exact(Normed(how))
    assert widths(report) == {"c": (8, 1)}
    assert report.frozen["b"].startswith("its weight is computed from others") and remedy in report.frozen["b"]
    assert "'b', whose weight is computed" in report.frozen["a"] and remedy in report.frozen["a"]


def test_multi_head_attention_is_named() -> None:
    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Conv2d(3, 16, 4, 4)
            self.layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
            self.unused, self.fc = nn.Linear(4, 4), nn.Linear(16, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc(self.layer(self.embed(x).flatten(2).transpose(1, 2)).mean(1))

    report = exact(Encoder())
    assert widths(report) == {"layer.linear1": (32, 1)}
    for layer in ("embed", "layer.self_attn.out_proj", "layer.linear2"):
        assert "'layer.self_attn', a MultiheadAttention" in report.frozen[layer]
    assert "no part in the forward" in report.frozen["unused"]


@pytest.mark.parametrize("how", ["mean", "softmax", "layer norm", "shared", "fails"])
def test_reasons_are_sentences_without_internal_text(how: str) -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.fc = nn.Linear(192, 12), nn.Linear(12, 12), nn.Linear(12, 5)
            if how == "shared":
                self.b.weight = nn.Parameter(torch.randn(12, 12))
                again = nn.Linear(12, 12)
                again.weight = self.b.weight
                self.fc = nn.Sequential(again, nn.Linear(12, 5))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = F.relu(self.a(x.flatten(1)))
            if how == "mean":
                x = x - x.mean(1, keepdim=True)
            elif how == "softmax":
                x = x.softmax(1)
            elif how == "layer norm":
                x = F.layer_norm(x, x.shape[1:])
            elif how == "fails":
                x = x.view(-1, 3, 4).flatten(1)
            return self.fc(self.b(x))

    report = exact(Odd())
    said = {
        "mean": "a mean", "softmax": "a softmax", "layer norm": "no module of its own", "shared": "share",
        "fails": "`return self.fc(self.b(x))`",
    }[how]  # fmt: skip
    assert said in report.frozen["a"]
    assert not any("Error" in r or "size of tensor" in r for r in report.frozen.values())
