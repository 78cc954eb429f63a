"""What was removed from a network, replayed on a fresh one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from doors import register


def _valid() -> Mapping[str, bytes]:
    import torch

    from netsmith.compression.branches import find_branches
    from netsmith.compression.groups import find_groups
    from netsmith.compression.prune import plan
    from netsmith.compression.recipe import Recipe
    from netsmith.compression.sparsify import SparseStep
    from netsmith.compression.steps import DropStep
    from netsmith.network.load import load_model

    model, x = load_model("zoo:digits?channels=8&blocks=2").model, torch.zeros(2, 1, 8, 8)
    report = find_groups(model, x)
    group = report.groups[0]
    step = plan(report, {group.name: list(range(0, group.channels, 2))})
    steps = DropStep(tuple(find_branches(model, x)[-1:])), step, SparseStep({"linear.weight": 7})
    recipe = Recipe(steps, {"bits": {"stem": [4, 8]}})
    return {"recipe.json": recipe.to_json().encode()}


@register("recipe", _valid)
def replayed(folder: Path) -> object:
    from netsmith.compression.recipe import Recipe, apply_recipe
    from netsmith.network.load import load_model

    return apply_recipe(load_model("zoo:digits?channels=8&blocks=2").model, Recipe.read(folder / "recipe.json"))
