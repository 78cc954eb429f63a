"""Recipes: JSON and back, and replay on the factory's output without tracing."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from netsmith.compression import (
    Branch,
    DropStep,
    LayerKeep,
    PruneStep,
    Recipe,
    apply_recipe,
    drop_branches,
    find_branches,
    find_groups,
    keep_indices,
)  # fmt: skip
from netsmith.compression import steps as house
from netsmith.compression.prune import prune
from netsmith.compression.slicing import from_ranges, to_ranges
from netsmith.errors import InputError
from netsmith.network.zoo.cifar_resnet import cifar_resnet

IMAGE = torch.randn(2, 3, 16, 16)


class Mixed(nn.Module):
    """One of each kind of layer that can be sliced, bare parameters, attention heads, and two branches."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.bn = nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8)
        self.depthwise, self.act = nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.PReLU(8)
        self.grouped, self.gn = nn.Conv2d(8, 16, 3, padding=1, groups=2), nn.GroupNorm(4, 16)
        self.up, self.norm = nn.ConvTranspose2d(16, 12, 2, 2), nn.InstanceNorm2d(12, affine=True)
        self.branch = nn.Sequential(nn.Conv2d(12, 6, 1), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 12, 1))
        self.patch, self.scale = nn.Conv2d(12, 8, 8, 8), nn.Parameter(torch.rand(1, 1, 8))
        self.ln, self.qkv, self.proj = nn.LayerNorm(8), nn.Linear(8, 24), nn.Linear(8, 8)
        self.num_heads = 4
        self.fc1, self.fc2, self.head = nn.Linear(8, 20), nn.Linear(20, 8), nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.act(self.depthwise(F.relu(self.bn(self.stem(x)))))
        x = self.norm(self.up(F.relu(self.gn(self.grouped(x)))))
        x = x + self.branch(x)
        x = self.patch(x).flatten(2).transpose(1, 2) * self.scale
        q, k, v = self.qkv(self.ln(x)).reshape(*x.shape[:2], 3, self.num_heads, 2).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x = x + self.proj(y)
        x = x + self.fc2(F.relu(self.fc1(x)))
        return self.head(x.mean(1))


@pytest.mark.parametrize("factory", [Mixed, lambda: cifar_resnet(14), lambda: cifar_resnet(14, shortcut="B")])
@pytest.mark.parametrize("drop", [False, True])
def test_replay_on_a_fresh_model_loads_strictly_and_computes_the_same(
    factory: object, drop: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert callable(factory)
    model, rng, recipe = factory(), np.random.default_rng(0), Recipe(quantize={"bits": {"head": [8, 8]}})
    model(IMAGE)  # batch-norm statistics are part of the state
    if drop:
        branches = find_branches(model, IMAGE)[:1]
        assert branches
        drop_branches(model, branches)
        recipe = recipe.then(DropStep(tuple(branches)))
    for _ in range(2):  # two rounds: the second is in the numbering of the first
        report = find_groups(model, IMAGE)
        keep = {}
        for g in report.groups:
            n = max(g.unit, int(g.channels * 0.7) // g.unit * g.unit)
            keep[g.name] = keep_indices(rng.random(g.channels), n, g.unit)
        recipe = recipe.then(prune(model, report, keep))
    assert len(recipe.steps) == 2 + drop
    text, state = recipe.to_json(), model.state_dict()

    monkeypatch.setitem(sys.modules, "netsmith.compression.following", None)  # replay must not need it
    read = Recipe.from_json(text)
    assert read == recipe and read.to_json() == text
    fresh = apply_recipe(factory(), read)
    fresh.load_state_dict(state, strict=True)
    model.eval(), fresh.eval()
    with torch.no_grad():
        assert torch.equal(model(IMAGE), fresh(IMAGE))
    assert [p.shape for p in fresh.parameters()] == [p.shape for p in model.parameters()]


def test_mixed_covers_every_kind_of_layer() -> None:
    report = find_groups(Mixed(), IMAGE)
    assert set(report.frozen) == {"head"}
    members = {m.layer for g in report.groups for m in (*g.outputs, *g.inputs)}
    assert members >= {"bn", "depthwise", "act", "grouped", "gn", "up", "norm", "branch.1", "scale", "ln", "qkv", "fc1"}
    assert {g.unit for g in report.groups} >= {1, 2}


def test_ranges() -> None:
    for kept in [(0,), (0, 1, 2), (1, 3, 4, 5, 9), ()]:
        assert from_ranges(to_ranges(kept)) == kept
    assert to_ranges((0, 1, 2, 5, 7, 8)) == "0-2,5,7-8"


def test_steps_without_effect_are_left_out() -> None:
    assert Recipe().then(DropStep(()), PruneStep({})) == Recipe()


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (PruneStep({"nowhere": LayerKeep(outputs=(0,))}), "layer 'nowhere'"),
        (PruneStep({"stem": LayerKeep(outputs=(0, 8))}), "has 8 channels on dimension 0.*0,8 do not fit"),
        (PruneStep({"stem": LayerKeep(outputs=())}), r"\(none\)"),
        (
            PruneStep({"grouped": LayerKeep(inputs=(0, 1, 2, 3), outputs=tuple(range(8, 16)))}),
            "other convolution groups",
        ),
        (PruneStep({"gn": LayerKeep(outputs=(0, 1, 4, 5))}), "groups of 4"),
        (PruneStep({"missing": LayerKeep(outputs=(0,), dim=1)}), "parameter 'missing'"),
        (DropStep((Branch("b", "gone", channels=1),)), "no module 'gone'"),
    ],
)
def test_a_recipe_for_another_model_is_one_clear_sentence(step: DropStep | PruneStep, message: str) -> None:
    with pytest.raises(InputError, match=message):
        apply_recipe(Mixed(), Recipe((step,)))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 1, "steps": [{"do": "bake"}]}'])
def test_text_that_is_no_recipe(text: str) -> None:
    with pytest.raises(InputError, match=r"^the recipe is .*; give the recipe.json of a run$"):
        Recipe.from_json(text)


def test_a_newer_recipe_asks_for_an_update() -> None:
    text = json.dumps({"version": 99, "steps": []})
    with pytest.raises(InputError, match="update netsmith"):
        Recipe.from_json(text)


def test_steps_of_the_house_are_known_to_whoever_reads_a_recipe() -> None:
    """A process that only loads a product has not imported the modules that register steps."""
    folder = Path(house.__file__).parent
    registering = {p.stem for p in folder.glob("*.py") if "\n@register_step" in p.read_text(encoding="utf-8")}
    assert {"heads", "sparsify"} <= registering
    assert {home.rpartition(".")[2] for home in house._HOMES.values()} == registering - {"steps"}
    assert all(house.step_class(name).do == name for name in house._HOMES)
