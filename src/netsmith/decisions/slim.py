"""From a design to a smaller network: branches gone, channels gone, whatever its kinds of decisions do to a module."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import nn

from netsmith.compression.build import is_int8
from netsmith.compression.mixed import Bits
from netsmith.compression.recipe import Recipe, apply_recipe
from netsmith.compression.steps import Step
from netsmith.decisions.given import GivenSpace
from netsmith.decisions.kind import Designs
from netsmith.decisions.tools import Tools
from netsmith.network.copying import copy_network


@dataclass(frozen=True)
class Slimmed:
    """A network after everything but bits was done to it.

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


def slim(model: nn.Module, space: GivenSpace, design: Designs, tools: Tools) -> Slimmed:
    """Apply the choices of a design ``(D,)`` to a copy of ``model``, each kind in its turn.

    With a repair among the tools, layers that read pruned channels get the weights that make up for them.
    """
    smaller, steps = copy_network(model), tuple[Step, ...]()
    for kind, own in space.staged:
        step = kind.apply(smaller, design[own], steps, tools) if kind.decisions else None
        steps += () if step is None else (step,)
    bits = space.bits(design)
    quantize = {"int8": list(bits)} if is_int8(bits) else {"bits": {n: list(pair) for n, pair in bits.items()}}
    recipe = Recipe().then(*steps)
    return Slimmed(apply_recipe(smaller, recipe), replace(recipe, quantize=quantize), bits)
