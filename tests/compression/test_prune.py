"""A pruned network is its masked parent, layer by layer as small as predicted."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from channel_counts import channel_counts
from netsmith.compression import (
    GroupReport,
    channel_importance,
    find_groups,
    keep_indices,
    masked,
    widths,
)
from netsmith.compression.prune import prune
from netsmith.compression.trial import randomized
from netsmith.errors import InputError
from netsmith.network.zoo.cifar_resnet import cifar_resnet
from random_networks import random_keep, random_network

IMAGE = torch.randn(2, 3, 8, 8)


def check(model: nn.Module, seed: int) -> GroupReport:
    model, (x,) = randomized(model, IMAGE, seed)
    report = find_groups(model, IMAGE)
    keep = random_keep(report, np.random.default_rng(seed))
    with torch.no_grad():
        full, want = model(x), masked(model, report, keep)(x)
        small = copy.deepcopy(model)
        prune(small, report, keep)
        got = small(x)
    assert torch.allclose(got, want, rtol=1e-5, atol=1e-5 * float(full.abs().max()))
    assert not torch.allclose(want, full)  # the mask took something away
    for name, (c_in, c_out) in channel_counts(model, report, keep).items():
        m = small.get_submodule(name)
        sides = (m.in_features, m.out_features) if isinstance(m, nn.Linear) else (m.in_channels, m.out_channels)
        assert sides == (c_in, c_out), name
        per_group = c_in // m.groups if isinstance(m, nn.Conv2d) else c_in
        assert isinstance(m, nn.ConvTranspose2d) or m.weight.shape[:2] == (c_out, per_group)
    assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in model.parameters())
    return report


@pytest.mark.parametrize("seed", range(12))
def test_a_random_network_pruned_at_random_equals_its_masked_parent(seed: int) -> None:
    report = check(random_network(seed), seed)
    assert len(report.frozen) <= 2, report.frozen  # the classifier, and at most one more


def test_a_cifar_resnet_pruned_equals_its_masked_parent() -> None:
    report = check(cifar_resnet(20), 2)
    inner = [f"layer{s}.{b}.conv1" for s in (1, 2, 3) for b in range(3)]
    streams = {"conv1": 16, "layer2.0.conv2": 16, "layer3.0.conv2": 32}  # what a stage adds goes through all behind it
    assert {g.name for g in report.groups} == {*streams, *inner}
    assert {n: report[n].channels for n in streams} == streams
    assert list(report.frozen) == ["linear"]
    assert len(check(cifar_resnet(20, shortcut="B"), 3).groups) == 12  # its stages are free too


def test_the_pruned_network_trains() -> None:
    model = random_network(3)
    report = find_groups(model, IMAGE)
    prune(model, report, {g.name: range(g.unit) for g in report.groups})
    model.train()(IMAGE).sum().backward()
    assert all(p.grad is None or p.grad.shape == p.shape for p in model.parameters())


@pytest.mark.parametrize("criterion", ["l1", "l2", "taylor"])
def test_importance_finds_the_dead_channels(criterion: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 1), nn.ReLU(), nn.ConvTranspose2d(8, 6, 2), nn.Flatten(), nn.Linear(6 * 81, 4)
    )
    report = find_groups(model, IMAGE)
    with torch.no_grad():
        model[0].weight[[1, 5]] = 0
        model[2].weight[[1, 5]] = 0
        model[2].weight[:, 3] = 0
        model[4].weight[:, 3 * 81 : 4 * 81] = 0
    batches = [(torch.randn(16, 3, 8, 8), torch.arange(16) % 4)]
    scores = channel_importance(model, report, criterion, batches)  # type: ignore[arg-type]
    assert scores["0"].shape == (8,) and scores["2"].shape == (6,)
    assert keep_indices(scores["0"], 6) == [0, 2, 3, 4, 6, 7]
    assert keep_indices(scores["2"], 5) == [0, 1, 2, 4, 5]
    assert model.training and all(p.grad is None for p in model.parameters())


def test_l2_is_the_norm_over_rows_and_columns() -> None:
    model = nn.Sequential(nn.Linear(5, 4), nn.Linear(4, 3))
    report = find_groups(model, torch.randn(2, 5))
    rows, columns = model[0].weight.detach().double(), model[1].weight.detach().double()
    want = (rows.square().sum(1) + columns.square().sum(0)).sqrt().numpy()
    np.testing.assert_allclose(channel_importance(model, report)["0"], want)


def test_keep_indices_and_widths_respect_units_and_multiples() -> None:
    scores = np.array([1.0, 0, 5, 5, 0, 2, 3, 0])
    assert keep_indices(scores, 5) == [0, 2, 3, 5, 6]
    assert keep_indices(scores, 4, unit=2) == [2, 3, 6, 7]
    assert widths(64, 16) == (16, 32, 48, 64)
    assert widths(64, 8, (0.25, 0.35, 0.5, 1.0)) == (16, 24, 32, 64)
    assert widths(12, 8) == (8, 12)
    assert widths(6, 8) == (6,)
    assert widths(192, 32, unit=64) == (64, 128, 192)


def test_bad_requests_are_one_sentence() -> None:
    model = cifar_resnet(8)
    report = find_groups(model, IMAGE)
    with pytest.raises(InputError, match=r"did you mean 'layer1.0.conv1'"):
        prune(model, report, {"layer1.0.conv": [0]})
    with pytest.raises(InputError, match=r"'linear' cannot be pruned: .*output"):
        prune(model, report, {"linear": [0]})
    with pytest.raises(InputError, match="keep between 1 and 16"):
        prune(model, report, {"layer1.0.conv1": []})
    grouped = nn.Sequential(nn.Conv2d(3, 12, 1), nn.Conv2d(12, 12, 3, groups=4), nn.Conv2d(12, 5, 1))
    with pytest.raises(InputError, match="whole units of 3"):
        prune(grouped, find_groups(grouped, IMAGE), {"0": [0, 1]})
