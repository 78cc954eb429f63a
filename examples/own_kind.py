"""A kind of decisions of one's own: convolutions of 3x3 that become 1x1.

    python examples/own_kind.py

trains a small network on the digits that come with netsmith and makes it keep 0.8 of its multiply-accumulates by
shrinking kernels, twice: with a kind that says what every choice does to the network, and with a twin of it that only
says what they cost. A kind is one class: which decisions there are, what a choice does to the layer table (what it
costs), to the traced graph (what it loses) and to the module (what is built).
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

import netsmith
from netsmith.compression.steps import register_step
from netsmith.decisions import Deltas, Given, Kind, on_top, register_kind
from netsmith.network.edit import GraphEdit
from netsmith.network.passes import get_parameter
from netsmith.shapes import List, Record, Text
from netsmith.space import Decision


def centre(weight: torch.Tensor) -> torch.Tensor:
    """All taps of a kernel added up in its middle: what it does to maps that are smooth."""
    out = torch.zeros_like(weight)
    out[..., 1, 1] = weight.sum(dim=(-2, -1))
    return out


@register_step
@dataclass(frozen=True)
class KernelStep:
    """Convolutions keep the middle of their kernels: how a saved recipe makes the small module again."""

    do: ClassVar[str] = "kernels"
    shape: ClassVar[Record] = Record({"layers": List(Text())})
    layers: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.layers)

    def to_dict(self) -> dict[str, Any]:
        return {"layers": list(self.layers)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> KernelStep:
        return cls(tuple(data["layers"]))

    def apply(self, model: nn.Module) -> None:
        for path in self.layers:
            conv = model.get_submodule(path)
            conv.weight = nn.Parameter(conv.weight.detach()[..., 1:2, 1:2].clone())
            conv.kernel_size, conv.padding = (1, 1), (0, 0)


class Kernels(Kind):
    """Decisions ``LAYER.kernel``: 1 or 3."""

    name = "kernels"

    def __init__(self, given: Given) -> None:
        self.graph = given.graph
        rows = {name: i for i, name in enumerate(self.graph.layers.names)}
        self.convs = [
            path for path, m in given.model.named_modules()
            if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3) and m.padding == (1, 1) and path in rows
        ]  # fmt: skip
        self.rows = [rows[path] for path in self.convs]
        self.decisions = tuple(Decision(f"{path}.kernel", "kernel", (1, 3)) for path in self.convs)

    def layers(self, d: int) -> tuple[str, ...]:
        return (self.convs[d],)

    def columns(self, designs: np.ndarray, rows: np.ndarray) -> Deltas:
        sizes = np.full((len(designs), len(self.graph.layers)), 10**6)
        sizes[:, self.rows] = np.array([1, 3])[designs]
        return Deltas(most={"kernel_h": sizes[:, rows], "kernel_w": sizes[:, rows]})

    def small(self, design: np.ndarray) -> list[str]:
        return [path for path, k in zip(self.convs, design, strict=True) if k == 0]

    def edit(self, design: np.ndarray, so_far: GraphEdit, tools: Any) -> GraphEdit:
        weights = {}
        for path in self.small(design):
            name = f"{path}.weight"
            weights[name] = centre(so_far.weights.get(name, get_parameter(self.graph.module, name).detach()))
        return on_top(so_far, weights=weights)

    def apply(self, model: nn.Module, design: np.ndarray, before: tuple[Any, ...], tools: Any) -> KernelStep | None:
        small = self.small(design)
        with torch.no_grad():
            for path in small:
                conv = model.get_submodule(path)
                conv.weight.copy_(centre(conv.weight))
        return KernelStep(tuple(small)) if small else None


@register_kind("kernels")
def kernels_of(given: Given, method: Any) -> Kernels:
    return Kernels(given)


class Blind(Kernels):
    """The twin: to the search every choice looks as if it lost nothing."""

    def edit(self, design: np.ndarray, so_far: GraphEdit, tools: Any) -> GraphEdit:
        return so_far


@register_kind("blind-kernels")
def blind_kernels_of(given: Given, method: Any) -> Blind:
    return Blind(given)


NETWORK = "zoo:digits?channels=8&blocks=2"


def main(folder: str | Path | None = None) -> dict[str, netsmith.Result]:
    """Both jobs, by the method that they allow."""
    place = Path(folder or tempfile.mkdtemp())
    weights = str(place / "digits.safetensors")
    netsmith.train(NETWORK, "digits", epochs=4, out=weights)
    return {
        method: netsmith.compress(
            NETWORK, "digits", weights=weights, target="roofline-edge", macs="0.8x", methods=(method,), epochs=0,
            out=place / method,
        )
        for method in ("kernels", "blind-kernels")
    }  # fmt: skip


if __name__ == "__main__":
    for name, result in main().items():
        before, after = (result.summary[side]["accuracy"] for side in ("baseline", "result"))
        chosen = [size for name, size in result.summary["design"].items()]
        print(f"{name}: kernels {chosen}, test accuracy {before:.2%} -> {after:.2%}")
