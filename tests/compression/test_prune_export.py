"""A pruned network of any make leaves Python: ONNX, ``.pt2`` without its class, a recipe on the user's factory."""

from __future__ import annotations

import copy
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from netsmith.compression import Recipe, apply_recipe, find_groups
from netsmith.compression.prune import plan
from netsmith.compression.trial import randomized
from netsmith.export.onnx import to_onnx
from netsmith.export.parity import check_parity
from netsmith.export.pt2 import save_pt2
from netsmith.network.graph import trace
from netsmith.network.weights import load_weights, save_weights
from random_networks import random_keep, random_network

IMAGE = torch.randn(2, 3, 8, 8)
KINDS = {"Residual", "SqueezeExcite", "Concat", "ConvTranspose2d"}
SEEDS = (4, 6)


def pruned(seed: int) -> tuple[torch.nn.Module, torch.nn.Module, Recipe]:
    """A random network, the same pruned at random, and how."""
    model = randomized(random_network(seed), IMAGE, seed)[0].float()
    report = find_groups(model, IMAGE)
    recipe = Recipe().then(plan(report, random_keep(report, np.random.default_rng(seed))))
    return model, apply_recipe(copy.deepcopy(model), recipe).eval(), recipe


def test_the_seeds_have_every_kind_of_block() -> None:
    found = {type(m).__name__ for seed in SEEDS for m in random_network(seed)}
    assert found >= KINDS
    convolutions = [m for s in SEEDS for m in random_network(s).modules() if isinstance(m, torch.nn.Conv2d)]
    assert any(m.groups == m.in_channels > 1 for m in convolutions)
    assert any(1 < m.groups < m.in_channels for m in convolutions)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_pruned_network_computes_the_same_wherever_it_goes(seed: int, tmp_path: Path) -> None:
    model, small, recipe = pruned(seed)
    x = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        want, before = small(x), model(x)
    scale = float(want.abs().max())
    assert float((want - before).abs().max()) > 1e-3 * scale
    close = partial(torch.testing.assert_close, rtol=1e-4, atol=1e-4 * scale)

    graph = trace(small, (3, 8, 8))
    onnx, full = tmp_path / "model.onnx", tmp_path / "full.onnx"
    onnx.write_bytes(to_onnx(graph).SerializeToString())
    full.write_bytes(to_onnx(trace(model, (3, 8, 8))).SerializeToString())
    assert check_parity(graph.module, onnx, x, tolerance=1e-3).ok
    assert not check_parity(graph.module, full, x, tolerance=1e-3).ok
    assert onnx.stat().st_size < full.stat().st_size

    save_pt2(graph, tmp_path / "model.pt2")
    with torch.no_grad():
        close(torch.export.load(str(tmp_path / "model.pt2")).module()(x), want)

    save_weights(tmp_path / "model.safetensors", small.state_dict())
    again = apply_recipe(random_network(seed), Recipe.from_json(recipe.to_json())).eval()  # the user's factory
    load_weights(again, tmp_path / "model.safetensors")
    with torch.no_grad():
        close(again(x), want)
