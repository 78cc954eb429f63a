"""Every kind of the house keeps the contract of kinds, and check_kind finds kinds that do not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from netsmith.compression import channel_importance, find_branches, find_groups
from netsmith.compression.build import histograms_of
from netsmith.compression.mixed import LayerQuantizer, quantize_mixed
from netsmith.compression.placement import layer_inputs, place
from netsmith.compression.quantize import Calibration, quantize
from netsmith.compression.reconstruct import Repair, gather
from netsmith.compression.share import CodebookQuantizer
from netsmith.decisions.bits import Bits
from netsmith.decisions.branches import Branches
from netsmith.decisions.channels import Channels
from netsmith.decisions.integers import Integers
from netsmith.decisions.kind import Deltas, Designs
from netsmith.decisions.tools import AtHand, Tools
from netsmith.network.edit import GraphEdit
from netsmith.network.graph import Graph, trace
from netsmith.network.load import load_model
from netsmith.testing import check_kind
from warmed import warmed

SHAPE = (1, 8, 8)


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return warmed(load_model("zoo:digits?channels=8&blocks=2").model, SHAPE)


@pytest.fixture(scope="module")
def graph(model: nn.Module) -> Graph:
    return trace(model, SHAPE)


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.randn(16, *SHAPE, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("repaired", [False, True])
def test_channels(model: nn.Module, graph: Graph, images: torch.Tensor, repaired: bool) -> None:
    report = find_groups(model, images[:2])
    scores = channel_importance(model, report)
    repair = Repair(gather(graph, model, report.groups, images, 0), scores) if repaired else None
    check_kind(Channels(graph, report, multiple=2, most=2), model, images, AtHand(scores, repair))


def test_branches(model: nn.Module, graph: Graph, images: torch.Tensor) -> None:
    check_kind(Branches(graph, find_branches(model, images[:2])), model, images)


def test_bits(model: nn.Module, graph: Graph, images: torch.Tensor) -> None:
    kind = Bits(graph, [(w, a) for w in (3, 8) for a in (4, 8)])
    histograms = histograms_of(graph, images, layer_inputs(graph, kind.quantized).values())
    quantizer = LayerQuantizer(graph, histograms)

    def built(design: Designs) -> nn.Module:
        return quantize_mixed(graph, kind.widths(design), quantizer).graph.module

    check_kind(kind, model, images, AtHand(quantizer=quantizer), built)


def test_codebooks(model: nn.Module, images: torch.Tensor) -> None:
    whole = trace(model, SHAPE, fold=False)
    kind, quantizer = Bits(whole, ((2, 32), (5, 32)), codebooks=True), CodebookQuantizer(whole)

    def built(design: Designs) -> nn.Module:
        return quantize_mixed(whole, kind.widths(design), quantizer).graph.module

    check_kind(kind, model, images, AtHand(quantizer=quantizer), built)


def test_integers(model: nn.Module, graph: Graph, images: torch.Tensor) -> None:
    kind = Integers(graph, ((8, 8), (32, 32)))
    names = set().union(
        *(place(graph, [layer]).scaled for layer in kind.quantized), place(graph, kind.quantized).scaled
    )
    calibration = Calibration(histograms_of(graph, images, names))

    def built(design: Designs) -> nn.Module:
        layers = kind.widths(design)
        return quantize(graph, layers, calibration).graph.module if layers else graph.module

    check_kind(kind, model, images, AtHand(calibration=calibration), built)


class Cheap(Channels):
    """Prices channels lower than they are."""

    def columns(self, designs: Designs, rows: np.ndarray) -> Deltas:
        deltas = super().columns(designs, rows)
        return Deltas({name: 2 * removed for name, removed in deltas.removed.items()})


class Sweet(Channels):
    """Is evaluated as if nothing had gone."""

    def edit(self, design: Designs, so_far: GraphEdit, tools: Tools) -> GraphEdit:
        return so_far


class Blind(Channels):
    """Denies what it changes."""

    def bearing(self) -> np.ndarray:
        return super().bearing() * 0


@pytest.mark.parametrize(
    ("broken", "message"),
    [(Cheap, "multiply-accumulates"), (Sweet, "differs by .* from what was evaluated"), (Blind, "denies")],
)
def test_what_is_not_so_is_found(
    model: nn.Module, graph: Graph, images: torch.Tensor, broken: type[Channels], message: str
) -> None:
    report = find_groups(model, images[:2])
    with pytest.raises(AssertionError, match=message):
        check_kind(broken(graph, report, multiple=4), model, images, AtHand(channel_importance(model, report)))
