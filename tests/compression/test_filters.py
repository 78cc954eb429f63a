"""Criteria that look at the filters and norms of single layers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from netsmith.compression import channel_importance, find_groups, keep_indices
from netsmith.errors import InputError

IMAGE = torch.zeros(2, 3, 6, 6).normal_(generator=torch.Generator().manual_seed(0))


def chain(norm: bool = True) -> nn.Sequential:
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Conv2d(3, 6, 3)]
    if norm:
        layers.append(nn.BatchNorm2d(6))
    return nn.Sequential(*layers, nn.ReLU(), nn.Conv2d(6, 6, 3, groups=6), nn.Conv2d(6, 2, 1)).eval()


def test_fpgm_sums_distances_within_each_layer_that_produces_the_group() -> None:
    model = chain()
    want = np.zeros(6)
    for layer in (model[0], model[3]):  # the depthwise convolution goes with its input
        rows = layer.weight.detach().double().reshape(6, -1).numpy()  # type: ignore[union-attr,operator]
        want += [sum(np.linalg.norm(a - b) for b in rows) for a in rows]
    scores = channel_importance(model, find_groups(model, IMAGE), "fpgm")
    np.testing.assert_allclose(scores["0"], want)


def test_fpgm_drops_the_filter_that_the_others_surround_and_not_the_smallest() -> None:
    model = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 2))
    centre = torch.tensor([5.0, 5.0])
    with torch.no_grad():
        model[0].weight.copy_(centre + torch.tensor([[0.1, 0.0], [3.0, 0.0], [-3.0, 2.5], [0.0, -3.0]]))
    scores = channel_importance(model, find_groups(model, torch.randn(2, 2)), "fpgm")["0"]
    assert int(scores.argmin()) == 0
    assert int(model[0].weight.norm(dim=1).argmin()) != 0


def test_fpgm_reads_the_filters_of_a_transposed_convolution_from_its_second_dimension() -> None:
    model = nn.Sequential(nn.ConvTranspose2d(3, 4, 2), nn.ReLU(), nn.Conv2d(4, 2, 1))
    with torch.no_grad():
        model[0].weight[:, 2] = model[0].weight[:, 1]  # two equal filters are nearer to all than the others
    rows = model[0].weight.detach().double().transpose(0, 1).reshape(4, -1)
    scores = channel_importance(model, find_groups(model, IMAGE), "fpgm")["0"]
    np.testing.assert_allclose(scores, torch.cdist(rows, rows).sum(1).numpy(), atol=1e-9)


def test_bn_is_the_size_of_the_scale() -> None:
    model = chain()
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([0.5, -2.0, 0.1, 1.0, -0.2, 0.0]))
    scores = channel_importance(model, find_groups(model, IMAGE), "bn")["0"]
    np.testing.assert_allclose(scores, [0.5, 2.0, 0.1, 1.0, 0.2, 0.0], rtol=1e-6)
    assert keep_indices(scores, 3) == [0, 1, 3]


def test_bn_without_a_norm_says_so() -> None:
    model = chain(norm=False)
    with pytest.raises(InputError, match="no channels here pass one; use l1"):
        channel_importance(model, find_groups(model, IMAGE), "bn")


def test_unknown_criteria_and_missing_moments_are_named() -> None:
    model = chain()
    report = find_groups(model, IMAGE)
    with pytest.raises(InputError, match="did you mean 'taylor'"):
        channel_importance(model, report, "tailor")
    with pytest.raises(InputError, match="needs moments"):
        channel_importance(model, report, "reconstruction")


def test_a_filter_of_zeros_went_before_and_goes_first() -> None:
    model = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([4.0, 4.0, 4.0]) + 0.1 * torch.randn(5, 3))
        model[0].weight[2] = 0.0  # far from all others, but gone
    scores = channel_importance(model, find_groups(model, torch.randn(2, 3)), "fpgm")["0"]
    assert scores[2] == 0.0 and (np.delete(scores, 2) > 0).all()


def test_bn_ranks_a_group_without_norm_by_l2_beside_one_that_has_it() -> None:
    layers = [nn.Conv2d(3, 6, 1), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 5, 1), nn.ReLU(), nn.Conv2d(5, 2, 1)]
    model = nn.Sequential(*layers).eval()
    with torch.no_grad():
        model[1].weight.copy_(torch.arange(6.0))  # type: ignore[operator,union-attr]
    report = find_groups(model, IMAGE)
    scores = channel_importance(model, report, "bn")
    np.testing.assert_allclose(scores["0"], np.arange(6.0))
    np.testing.assert_allclose(scores["3"], channel_importance(model, report, "l2")["3"])
