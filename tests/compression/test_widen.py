"""A small network put back among zeros computes the same, and can be cut from again."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from netsmith.compression.branches import find_branches
from netsmith.compression.groups import find_groups
from netsmith.compression.importance import channel_importance
from netsmith.compression.kept import keep_indices
from netsmith.compression.prune import plan
from netsmith.compression.recipe import Recipe, apply_recipe
from netsmith.compression.steps import DropStep
from netsmith.compression.widen import widened
from netsmith.network.load import load_model


@pytest.mark.parametrize("name", ["zoo:cifar_resnet20", "zoo:mobilenet_v2?width=0.25", "zoo:squeezenet1_1"])
def test_whatever_weights_the_small_network_has_by_now(name: str) -> None:
    torch.manual_seed(0)
    loaded = load_model(name)
    model, x = loaded.model.eval(), loaded.example_input()
    x = torch.randn(2, *x.shape[1:])
    report, branches = find_groups(model, x), find_branches(model, x)
    scores = channel_importance(model, report)
    keep = {g.name: keep_indices(scores[g.name], g.channels // 2, g.unit) for g in report.groups}
    gone = {layer for b in branches[:1] for layer in b.layers}
    keep = {n: k for n, k in keep.items() if not {m.layer for m in report[n].outputs} & gone}
    recipe = Recipe().then(DropStep(tuple(branches[:1])), plan(report, keep))
    small = apply_recipe(load_model(name).model, recipe).eval()
    with torch.no_grad():
        for parameter in small.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
        for module in small.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
        before = {k: v.clone() for k, v in model.state_dict().items()}
        full = widened(model, small, recipe)
        want = small(x)
        torch.testing.assert_close(full(x), want, atol=1e-4 * float(want.abs().max()), rtol=1e-3)
        for key, value in model.state_dict().items():
            assert torch.equal(value, before[key])
    # what is gone has no importance, and cut out again the network is the small one, to the last bit
    again = channel_importance(full, report)
    for group in keep:
        left = set(keep[group])
        assert all((again[group][c] > 0) == (c in left) for c in range(report[group].channels))
    apply_recipe(full, recipe)
    assert all(torch.equal(v, small.state_dict()[k]) for k, v in full.state_dict().items() if v.is_floating_point())
