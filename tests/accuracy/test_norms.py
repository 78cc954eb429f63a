"""Designs judged with their norms estimated again are the networks that are built."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch

from given import candidates_of, groups_in, space_of
from labelled import evaluator as evaluator_of
from netsmith.compression.branches import find_branches
from netsmith.compression.groups import find_groups
from netsmith.compression.importance import channel_importance
from netsmith.compression.mixed import LayerQuantizer
from netsmith.compression.quantize import Calibration
from netsmith.decisions.slim import slim
from netsmith.decisions.tools import AtHand
from netsmith.network.edit import GraphEdit
from netsmith.network.graph import trace
from netsmith.network.load import load_model

IMAGES = 128


def estimated(model: torch.nn.Module, images: torch.Tensor) -> torch.nn.Module:
    """Running statistics of the images, as one batch."""
    norms = [m for m in model.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    model.train()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = 1.0
    with torch.no_grad():
        model(images)
    return model.eval()


@pytest.fixture(scope="module")
def case() -> dict[str, Any]:
    torch.manual_seed(0)
    images, labels = torch.randn(IMAGES, 1, 8, 8), torch.randint(0, 10, (IMAGES,))
    model = load_model("zoo:digits").model
    with torch.no_grad():
        for norm in model.modules():
            if isinstance(norm, torch.nn.modules.batchnorm._BatchNorm):
                norm.weight.uniform_(0.5, 1.5)
                norm.bias.uniform_(-0.5, 0.5)
    estimated(model, images)
    report = find_groups(model, images[:2])
    return {"model": model, "report": report, "images": images, "labels": labels,
            "branches": find_branches(model, images[:2])}  # fmt: skip


def distance(want: torch.nn.Module, model: torch.nn.Module, images: torch.Tensor) -> float:
    with torch.no_grad():
        return float((want(images) - model(images)).double().square().sum(dim=1).mean())


@pytest.mark.parametrize("fold", [True, False])
def test_a_settled_candidate_is_the_network_with_its_norms_estimated_again(case: dict[str, Any], fold: bool) -> None:
    model, images = case["model"], case["images"]
    graph = trace(model, (1, 8, 8), fold=fold)
    space = space_of(graph, case["report"], case["branches"], multiple=8, quantize=False)
    scores = channel_importance(model, case["report"])
    evaluator = evaluator_of(graph, images, case["labels"], batch_size=IMAGES)
    settled, kept = (
        candidates_of(space, Calibration({}), LayerQuantizer(graph, {}), scores, settle=settle)
        for settle in (True, False)
    )
    designs = np.repeat(space.reference[None], 3, axis=0)
    groups, branch = len(groups_in(space)), 0
    designs[0, :groups] = 0
    designs[1, groups + branch] = 0
    designs[2, :groups], designs[2, groups + branch] = 1, 0
    found = evaluator.evaluate([settled.of_design(d) for d in designs]).output_error
    plain = evaluator.evaluate([kept.of_design(d) for d in designs]).output_error
    changes = []
    for design, error, unsettled in zip(designs, found, plain, strict=True):
        small = slim(model, space, design, AtHand(scores)).model
        assert unsettled == pytest.approx(distance(model, small, images), rel=1e-3)
        want = distance(model, estimated(small, images), images)
        assert error == pytest.approx(want, rel=0.02)  # running variances are the unbiased ones
        changes.append(abs(unsettled - want) / want)
    assert max(changes) > 0.1  # or there would be nothing to see here


def test_one_choice_is_settled_as_the_design_that_takes_it(case: dict[str, Any]) -> None:
    graph = trace(case["model"], (1, 8, 8))
    space = space_of(graph, case["report"], case["branches"], multiple=8, quantize=False)
    scores = channel_importance(case["model"], case["report"])
    candidates = candidates_of(space, Calibration({}), LayerQuantizer(graph, {}), scores, settle=True)
    evaluator = evaluator_of(graph, case["images"], case["labels"])
    for decision in (0, len(groups_in(space))):
        design = space.reference.copy()
        design[decision] = 0
        one, whole = evaluator.evaluate([candidates.of_choice(decision, 0), candidates.of_design(design)]).divergence
        assert one == pytest.approx(whole, rel=1e-6) and one > 0


def test_norms_are_estimated_before_weights_are_rounded(case: dict[str, Any]) -> None:
    model, images = case["model"], case["images"]
    graph = trace(model, (1, 8, 8), fold=False)
    name = next(n for n, p in model.named_parameters() if p.dim() == 4)
    halved = model.get_parameter(name).detach().clone()
    halved[: len(halved) // 2] *= 0.1
    coarse = (halved * 4).round() / 4
    evaluator = evaluator_of(graph, images, case["labels"], batch_size=IMAGES)
    both = evaluator.evaluate([
        GraphEdit({name: coarse}, norms={name: halved}), GraphEdit(rounded := {name: coarse}, norms=rounded)
    ]).output_error  # fmt: skip
    changed = copy.deepcopy(model)
    changed.get_parameter(name).data.copy_(halved)
    estimated(changed, images)
    changed.get_parameter(name).data.copy_(coarse)
    assert both[0] == pytest.approx(distance(model, changed, images), rel=0.02)
    assert abs(both[0] - both[1]) > 0.05 * both[0]


def test_what_no_norm_follows_stays_as_it_is() -> None:
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(1, 8, 3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(),
        torch.nn.Linear(8, 10),
    ).eval()  # fmt: skip
    graph, x = trace(net, (1, 8, 8)), torch.randn(16, 1, 8, 8)
    evaluator = evaluator_of(graph, x, torch.zeros(16, dtype=torch.int64))
    weights = {"0.weight": net[0].weight.detach() * 0.5}
    kept, settled = evaluator.evaluate([GraphEdit(weights), GraphEdit(weights, norms=weights)]).output_error
    assert kept == settled > 0
