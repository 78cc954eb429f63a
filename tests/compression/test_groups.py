"""Channel groups of hand-written networks: what is found, what is frozen, and that the trial catches mistakes."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from netsmith.compression import GroupReport, find_groups, masked
from netsmith.compression.groups import _trial
from netsmith.compression.prune import prune
from netsmith.compression.trial import Limit, faulty, randomized


class OptionA(nn.Module):
    """A residual stage change whose shortcut pads channels, as in the CIFAR ResNets."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.conv1, self.bn1 = nn.Conv2d(8, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16)
        self.conv2, self.bn2 = nn.Conv2d(16, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        self.fc = nn.Linear(16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.stem(x))
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        x = F.relu(y + F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 4, 4)))
        return self.fc(x.mean((2, 3)))


class Attention(nn.Module):
    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.num_heads, self.head_dim = heads, dim // heads
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b, n, _ = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, self.num_heads, self.head_dim).permute(2, 0, 3, 1, 4)
        x = F.scaled_dot_product_attention(q, k, v).transpose(1, 2)
        return self.proj(x.reshape(b, n, self.num_heads * self.head_dim))


class TinyViT(nn.Module):
    def __init__(self, dim: int = 16, heads: int = 4) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, dim, 4, 4)
        self.cls = nn.Parameter(torch.zeros(1, 1, dim))
        self.position = nn.Parameter(torch.randn(1, 5, dim))
        self.norm1, self.attn = nn.LayerNorm(dim), Attention(dim, heads)
        self.norm2, self.fc1, self.fc2 = nn.LayerNorm(dim), nn.Linear(dim, 2 * dim), nn.Linear(2 * dim, dim)
        self.head = nn.Linear(dim, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.embed(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(len(x), -1, -1), x], 1) + self.position
        x = x + self.attn(self.norm1(x))
        x = x + self.fc2(F.gelu(self.fc1(self.norm2(x))))
        return self.head(x[:, 0])


IMAGE = torch.randn(2, 3, 8, 8)


def _claims(report: GroupReport) -> list[tuple[str, bool, int]]:
    return [
        (m.layer, out, int(i))
        for g in report.groups
        for out, members in ((True, g.outputs), (False, g.inputs))
        for m in members
        for i in m.index
    ]


def test_a_shortcut_that_pads_leaves_the_channels_free_that_it_carries() -> None:
    model = OptionA()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    report = find_groups(model, IMAGE)
    assert [(g.name, g.channels, g.unit) for g in report.groups] == [("stem", 8, 1), ("conv1", 16, 1)]
    stream, inner = report.groups
    assert [m.layer for m in inner.outputs] == ["conv1", "bn1"] and [m.layer for m in inner.inputs] == ["conv2"]
    carried = next(m for m in stream.outputs if m.layer == "conv2")
    assert carried.size == 16 and carried.index.tolist() == list(range(4, 12))  # 4 zeros before and behind them
    assert report.frozen == {"fc": "its channels are the network's output"}
    assert model.training and all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_attention_is_pruned_by_heads_and_the_stream_with_its_bare_parameters() -> None:
    report = find_groups(TinyViT(), IMAGE)
    assert {g.name: (g.channels, g.unit) for g in report.groups} == {
        "attn.qkv": (16, 4), "fc1": (32, 1), "embed": (16, 1),
    }  # fmt: skip
    assert {"cls", "position", "norm1", "norm2", "attn.proj", "fc2"} < {m.layer for m in report["embed"].outputs}
    assert ("attn", "num_heads", 4) in report["attn.qkv"].attributes
    assert set(report.frozen) == {"head"}


def test_an_attention_block_pruned_equals_its_masked_parent() -> None:
    model, (x,) = randomized(TinyViT(), IMAGE)
    report = find_groups(model, IMAGE)
    keep = {"attn.qkv": [*range(4, 8), *range(12, 16)], "fc1": range(3, 20), "embed": [0, 2, 3, 9, 14]}
    with torch.no_grad():
        want = masked(model, report, keep)(x)
        prune(model, report, keep)
        torch.testing.assert_close(model(x), want)
    assert model.attn.num_heads == 2 and model.attn.qkv.weight.shape == (24, 5) and model.cls.shape == (1, 1, 5)


def test_a_reshape_with_a_fixed_size_freezes_its_group_with_the_reason() -> None:
    class Fixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 1), nn.Linear(8 * 64, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.c(self.b(self.a(x)).reshape(len(x), 8 * 64))

    report = find_groups(Fixed(), IMAGE)
    assert [g.name for g in report.groups] == ["a"]
    # the line of the user's own code, no exception
    assert "fails in test_groups.py, line" in report.frozen["b"] and "8 * 64" in report.frozen["b"]


def test_a_shuffle_that_still_runs_but_mixes_up_channels_is_frozen() -> None:
    class Flip(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 4, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.b(self.a(x).flip(1))

    assert find_groups(Flip(), IMAGE).frozen["a"] == "the forward puts its channels into another order"


def test_grouped_convolutions_lose_whole_groups_on_both_sides() -> None:
    model = nn.Sequential(nn.Conv2d(3, 12, 1), nn.Conv2d(12, 24, 3, groups=4), nn.Conv2d(24, 5, 1))
    (group,) = find_groups(model, IMAGE).groups
    assert (group.name, group.channels, group.unit) == ("0", 12, 3)
    assert {m.layer for m in group.outputs} == {"0", "1"} and {m.layer for m in group.inputs} == {"1", "2"}


def test_halves_that_a_concatenation_ties_to_one_tensor_form_units() -> None:
    class Ghost(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.main = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 4, 1)
            self.cheap, self.head = nn.Conv2d(4, 4, 3, padding=1, groups=4), nn.Conv2d(8, 2, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.stem(x)
            y = self.main(x)
            return self.head(x + torch.cat([y, self.cheap(y)], 1))

    (group,) = find_groups(Ghost(), IMAGE).groups
    assert (group.name, group.channels, group.unit) == ("stem", 8, 2)
    stem = next(m for m in group.outputs if m.layer == "stem")
    first_unit = set(stem.index[np.isin(stem.root, [0, 1])].tolist())
    assert first_unit == {0, 4}


class Streamed(nn.Module):
    """Attention over channels whose result is laid out as wide as the stream: both shrink alike, or neither."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.fc, self.num_heads = nn.Linear(8, 16), nn.Linear(16, 3), 4
        self.qkv, self.proj, self.temperature = nn.Linear(16, 48), nn.Linear(16, 16), nn.Parameter(torch.ones(4, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        n, t, c = x.shape
        q, k, v = self.qkv(x).reshape(n, t, 3, self.num_heads, -1).permute(2, 0, 3, 4, 1)
        y = ((q @ k.transpose(2, 3) * self.temperature).softmax(-1) @ v).permute(0, 3, 1, 2).reshape(n, t, c)
        return self.fc((x + self.proj(y)).mean(1))


def test_groups_that_fit_only_as_long_as_they_shrink_alike_are_frozen() -> None:
    torch.manual_seed(0)
    model, x = Streamed(), torch.randn(2, 5, 8)
    report = find_groups(model, x)
    for group in report.groups:
        for units in range(1, group.channels // group.unit):
            small = copy.deepcopy(model)
            prune(small, report, {group.name: list(range(units * group.unit))})
            assert small(x).shape == (2, 3)
    assert all("the forward fails" in report.frozen[name] for name in ("stem", "qkv") if name in report.frozen)


def test_no_channel_is_in_two_groups() -> None:
    for model in (TinyViT(), OptionA()):
        claims = _claims(find_groups(model, IMAGE))
        assert len(claims) == len(set(claims)) > 0


def test_a_layer_outside_of_the_graph_and_an_odd_forward_are_reasons_not_tracebacks() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.unused = nn.Linear(8, 8), nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            with torch.no_grad():
                return self.a(x)

    report = find_groups(Odd(), torch.randn(2, 8))
    assert report.groups == [] and set(report.frozen) == {"a", "unused"}


@pytest.mark.parametrize("side", ["outputs", "inputs"])
def test_the_trial_rejects_a_group_with_one_wrong_index(side: str) -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 1))
    (group,) = find_groups(model, IMAGE).groups
    probe, inputs = randomized(model, IMAGE)
    keep = [0, 2, 3, 6]
    assert _trial(probe, inputs, [(group, keep)]) is None
    members = getattr(group, side)
    turned = dataclasses.replace(members[-1], index=np.roll(members[-1].index, 1))
    wrong = dataclasses.replace(group, **{side: (*members[:-1], turned)})
    assert _trial(probe, inputs, [(wrong, keep)]) is not None


class Sliced(nn.Module):
    """Additions to a part of a tensor, laid beside the rest, again and again: many ways lead to one channel."""

    def __init__(self, blocks: int = 3) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.blocks = nn.ModuleList(nn.Conv2d(8 + 2 * i, 10 + 2 * i, 3, padding=1) for i in range(blocks))
        self.mixed, self.fc = nn.Conv2d(8 + 2 * blocks, 12, 1), nn.Linear(12, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        for conv in self.blocks:
            y = conv(x)
            x = torch.cat([y[:, : x.shape[1]] + x, y[:, x.shape[1] :]], 1)
        return self.fc(self.mixed(x).mean((2, 3)))


def test_what_is_open_after_the_limit_is_frozen_and_the_run_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    class Two(nn.Module):
        """One group can be pruned, the other cannot; together they fail, and there is no time to find which."""

        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 5, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.c(self.b(self.a(x)).reshape(-1, 8, 8, 8))

    report = find_groups(Two(), IMAGE, seconds=0)
    assert not report.groups and set(report.frozen) == set(report.counts)
    assert "within 0 s" in report.frozen["a"] and "within 0 s" in report.frozen["b"]
    assert [g.name for g in find_groups(Two(), IMAGE).groups] == ["a"]
    found = find_groups(Sliced(), IMAGE)
    assert {"mixed"} <= {g.name for g in found.groups} and set(found.frozen) == {"fc"}


def test_what_passes_together_needs_no_time() -> None:
    report = find_groups(TinyViT(), IMAGE, seconds=0)
    assert [g.name for g in report.groups] == ["embed", "attn.qkv", "fc1"]


def test_undecided_items_count_as_faulty() -> None:
    tried: list[list[int]] = []

    def trial(some: list[int]) -> str | None:
        tried.append(some)
        return "three" if 3 in some else None

    assert faulty(range(8), trial) == {3: "three"}
    tried.clear()
    over = Limit(0)
    assert faulty(range(8), trial, over) == dict.fromkeys(range(8), over.reason) and tried == [list(range(8))]
    assert faulty([0, 1], trial, over) == {}  # what passes together needs no search
