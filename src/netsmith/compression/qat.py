"""Quantization-aware training: quantizers in the user's own module while it trains, grids of the graph afterwards.

Batch norm stays as it is while training, so its statistics follow the rounded weights. Folding it later multiplies each
channel of a weight by one number, which its scale takes up: the folded network computes what the trained one did.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from netsmith.compression.mixed import Bits, LayerQuantizer
from netsmith.compression.quantizers import linear
from netsmith.compression.quantizers.learned import LsqActivation, LsqWeight
from netsmith.compression.sparsify import ZerosKept, kept_numbers
from netsmith.errors import InputError
from netsmith.network.copying import copy_network
from netsmith.network.edit import QuantParams
from netsmith.network.graph import Graph
from netsmith.network.layers import FLOAT
from netsmith.network.passes import get_parameter

_INPUT = "input_quantizer"
_LAYERS = (nn.modules.conv._ConvNd, nn.Linear)


@dataclass(frozen=True)
class Trained:
    """Grids that training ended with: layer -> scale of its weight ``(C_out,)`` before folding, and of its input."""

    weights: Mapping[str, torch.Tensor]
    inputs: Mapping[str, QuantParams]


def prepare(model: nn.Module, bits: Bits, quantizer: LayerQuantizer) -> nn.Module:
    """A copy of ``model`` that rounds weights and inputs of the layers ``bits`` with steps that are trained (LSQ).

    Steps start where calibration put them, shared values where k-means did. Layers that are no modules of their own
    (functional calls) stay as they are; they are rounded after training only.
    """
    model = copy_network(model)
    for layer, (w_bits, a_bits) in bits.items():
        module = _module(model, quantizer.parameter(layer))
        if module is None:
            continue
        rounded = quantizer.trainable(layer, module.weight.detach(), w_bits)
        parametrize.register_parametrization(module, "weight", rounded)
        entries = quantizer.sparse.get(quantizer.parameter(layer))
        if entries is not None and quantizer.codebook(layer, w_bits) is None:  # codebooks know their zeros
            kept = kept_numbers(module.parametrizations.weight.original.detach(), entries)
            parametrize.register_parametrization(module, "weight", ZerosKept(kept))
        if a_bits < FLOAT:
            module.add_module(_INPUT, LsqActivation.from_grid(quantizer.grid(layer, a_bits)))
            module.register_forward_pre_hook(_round_input)
    return model


def _module(model: nn.Module, parameter: str) -> Any:
    """The convolution or linear layer that owns a weight, if there is one."""
    path, _, leaf = parameter.rpartition(".")
    try:
        module = model.get_submodule(path)
    except AttributeError:
        return None
    return module if leaf == "weight" and isinstance(module, _LAYERS) else None


def _round_input(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
    return (getattr(module, _INPUT)(args[0]), *args[1:])


def finish(model: nn.Module, bits: Bits, quantizer: LayerQuantizer) -> tuple[nn.Module, Trained]:
    """Make the trained network a plain module, in place, with weights on their grids or codebooks; tell the grids."""
    weights: dict[str, torch.Tensor] = {}
    inputs: dict[str, QuantParams] = {}
    for layer in bits:
        module = _module(model, quantizer.parameter(layer))
        if module is None or not parametrize.is_parametrized(module, "weight"):
            continue
        parametrization: Any = module.parametrizations.weight
        if isinstance(parametrization[0], LsqWeight):
            weights[layer] = parametrization[0].export(parametrization.original.detach())[0]
        parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)
        if not hasattr(module, _INPUT):
            continue
        inputs[layer] = getattr(module, _INPUT).grid()
        hooks = module._forward_pre_hooks
        for key in [k for k, hook in hooks.items() if hook is _round_input]:
            del hooks[key]
        delattr(module, _INPUT)
    return model, Trained(weights, inputs)


class TrainedQuantizer(LayerQuantizer):
    """The grids that training ended with, on the graph of the trained network; calibrated ones for the other layers.

    Args:
        graph: of the network that :func:`finish` returned, batch norm folded.
        model: that network.
        trained: its grids.
        calibrated: for layers that were not trained.
    """

    def __init__(self, graph: Graph, model: nn.Module, trained: Trained, calibrated: LayerQuantizer) -> None:
        super().__init__(graph, {}, sparse=calibrated.sparse)
        self._calibrated, self._trained = calibrated, trained
        self._scales: dict[str, torch.Tensor] = {}
        for layer, scale in trained.weights.items():
            name = self.parameter(layer)
            folded = get_parameter(graph.module, name).detach()
            plain = get_parameter(model, name).detach()
            if folded.shape != plain.shape:
                raise InputError(f"layer {layer!r} changed its shape when batch norm was folded; give --epochs 0")
            before, after = (t.abs().flatten(1).sum(dim=1).double() for t in (plain, folded))
            # a channel of zeros has no ratio, and any scale describes it
            ratio = torch.where((before > 0) & (after > 0), after / before.clamp(min=1e-30), 1.0)
            self._scales[layer] = (scale.double() * ratio).float()

    def grid(self, layer: str, bits: int) -> QuantParams:
        """The grid of a layer's input; ``bits`` is what it was trained at."""
        return self._trained.inputs.get(layer) or self._calibrated.grid(layer, bits)

    def _fit(self, layer: str, bits: int) -> tuple[torch.Tensor, torch.Tensor]:
        if layer not in self._scales:
            return self._calibrated._fit(layer, bits)
        weight = get_parameter(self.graph.module, self.parameter(layer)).detach()
        return self._scales[layer], linear.quantize(weight, self._scales[layer], bits)
