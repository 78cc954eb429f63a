"""From a design to a smaller network: branches gone, channels gone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from torch import nn

from netsmith.compression.build import is_int8
from netsmith.compression.channels import GroupReport
from netsmith.compression.kept import keep_indices
from netsmith.compression.mixed import Bits
from netsmith.compression.prune import plan
from netsmith.compression.recipe import DropStep, LayerKeep, Recipe, apply_recipe
from netsmith.compression.reconstruct import Repair
from netsmith.decisions.choices import Choices, Designs
from netsmith.network.copying import copy_network

Importance = Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Slimmed:
    """A network after branches and channels are gone, before quantization.

    Attributes:
        model: the user's module, physically smaller.
        recipe: how to make it again from a fresh one.
        bits: (weight, activation) widths of the rows of its graph that the design wants as integers.
    """

    model: nn.Module
    recipe: Recipe
    bits: Bits

    @property
    def is_smaller(self) -> bool:
        return bool(self.recipe.steps)


def slim(
    model: nn.Module, choices: Choices, report: GroupReport, design: Designs, importance: Importance,
    repair: Repair | None = None,
) -> Slimmed:  # fmt: skip
    """Apply the width and branch choices of a design to a copy of ``model``.

    With ``repair``, layers that read pruned channels get the weights that make up for them.
    """
    branches = choices.dropped(design)
    removed = {path for b in branches for path, _ in b.passes}
    gone = {layer for b in branches for layer in b.layers}
    keep = {
        name: keep_indices(importance[name], n, report[name].unit)
        for name, n in choices.kept(design).items()
        if not all(m.layer in gone for m in report[name].outputs)
    }
    step = plan(report, keep)
    zeros = {b.zero: b.layers[-1] for b in branches}  # a zero may be a container: it is as wide as its last layer

    def stays(name: str) -> bool:
        return not any(name == p or name.startswith(f"{p}.") for p in (*removed, *zeros))

    layers = {name: k for name, k in step.layers.items() if stays(name)}
    padding = {name: cut for name, cut in step.padding.items() if stays(name)}
    for zero, last in zeros.items():
        own = step.layers.get(zero) or step.layers.get(last)
        if own is not None and own.outputs is not None:
            layers[zero] = LayerKeep(outputs=own.outputs)
    recipe = Recipe().then(DropStep(tuple(branches)), replace(step, layers=layers, padding=padding))
    bits = choices.bits(design)
    quantize = {"int8": list(bits)} if is_int8(bits) else {"bits": {n: list(pair) for n, pair in bits.items()}}
    smaller = copy_network(model)
    if repair is not None:
        repair.write(smaller, keep)
    return Slimmed(apply_recipe(smaller, recipe), replace(recipe, quantize=quantize), bits)
