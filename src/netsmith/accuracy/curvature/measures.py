"""Sensitivity tables ``(L, K)``: what each of L layers loses with its weights at each of K bit-widths, without running
the network at any of them.

All are second-order estimates of the rise of the loss, with the factor 1/2 of Taylor's series. The distance of the
logits, E||f(x) - f_c(x)||^2, is measured instead: ``Scores.output_error`` of the candidates of ``weight_candidates``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import fx

from netsmith.accuracy.curvature.fisher import Fisher, output_gradients
from netsmith.accuracy.curvature.hessian import Traces
from netsmith.accuracy.incremental import call_node, fast_layout
from netsmith.errors import InputError
from netsmith.network.edit import GraphEdit
from netsmith.network.graph import Graph
from netsmith.network.passes import get_parameter

FloatArray = NDArray[np.float64]
Quantized = Mapping[str, Sequence[torch.Tensor]]  # weight name -> its values at each of K bit-widths


def hessian_sensitivity(
    traces: Traces | Fisher, weights: Mapping[str, torch.Tensor], quantized: Quantized
) -> FloatArray:
    """``(L, K)`` 1/2 tr(H_i) / n_i ||w - q||^2 in nats (HAWQ-V2 with the factor 1/2 of the Taylor series).

    Of a ``Fisher`` only the traces are read. A trace that is negative, or less than its standard error, counts as that
    error: a layer must not gain by losing precision.

    Raises:
        InputError: a weight of ``traces`` that is missing, or quantized to other shapes or numbers of bit-widths.
    """
    changes = _changes(traces.names, weights, quantized)
    squared = np.array([[float(d.square().sum(dtype=torch.float64)) for d in row] for row in changes])
    sizes = np.array([row[0].numel() for row in changes])
    result: FloatArray = 0.5 * (np.maximum(traces.trace, traces.error) / sizes)[:, None] * squared
    return result


def fisher_sensitivity(fisher: Fisher, weights: Mapping[str, torch.Tensor], quantized: Quantized) -> FloatArray:
    """``(L, K)`` 1/2 sum_k F_kk (w - q)_k^2 in nats: every entry of a weight has a curvature of its own.

    Raises:
        InputError: as ``hessian_sensitivity``.
    """
    changes = _changes(fisher.names, weights, quantized)
    table = [
        [0.5 * float((f * d.square()).sum(dtype=torch.float64)) for d in row]
        for f, row in zip(fisher.diagonal, changes, strict=True)
    ]
    return np.array(table)


def output_fisher_sensitivity(
    graph: Graph, images: torch.Tensor, labels: torch.Tensor | None, quantized: Quantized, *, seed: int = 0,
    batch_size: int | None = None,
) -> FloatArray:  # fmt: skip
    """``(L, K)`` 1/2 E[sum_k g_k^2 (delta y_k)^2] in nats at each layer's own output (BRECQ, Li et al., ICLR 2021).

    The gradient g and the change delta y that the rounded weight makes on the layer's unchanged input belong to one
    image. It costs one gradient of the network and K evaluations of every layer.

    Args:
        graph: the network.
        images: normalised ``(N, C, H, W)`` of the search split.
        labels: ``(N,)``; None for the expectation over the network's own outputs.
        quantized: weight name -> its values at each bit-width.
        seed: of the random signs that stand for labels.
        batch_size: images at once; chosen from memory if None.

    Raises:
        InputError: an unknown weight, or one that reaches its layer only through other operators.
    """
    constants = {n.name: str(n.target) for n in graph.nodes.values() if n.op == "get_attr"}
    fixed = {node: fast_layout(get_parameter(graph.module, name).detach()) for node, name in constants.items()}
    weights = {name: fixed[node] for node, name in constants.items()}
    width = len(_changes(list(quantized), weights, quantized)[0])
    rounded = {name: [fast_layout(q) for q in row] for name, row in quantized.items()}
    readers = {name: _readers(graph, name) for name in quantized}
    wanted = {m.name for row in readers.values() for n in row for m in (n, *n.all_input_nodes)} - set(constants)
    table, seen = np.zeros((len(quantized), width)), 0
    for size, found in output_gradients(graph, images, labels, sorted(wanted), seed=seed, batch_size=batch_size):
        before = fixed | {name: value for name, (value, _) in found.items()}
        seen += size
        for i, (name, row) in enumerate(rounded.items()):
            for node in readers[name]:
                importance = found[node.name][1].square()
                for k, q in enumerate(row):
                    after = before | {n.name: q for n in node.all_input_nodes if constants.get(n.name) == name}
                    with torch.no_grad():
                        change = call_node(node, after.__getitem__) - before[node.name]
                    table[i, k] += 0.5 * float((importance * change.square()).sum(dtype=torch.float64))
    return table / seen


def weight_candidates(quantized: Quantized) -> list[GraphEdit]:
    """Every layer alone at every bit-width, L * K candidates; a score of theirs reshapes to ``(L, K)``."""
    return [GraphEdit(weights={name: q}) for name, row in quantized.items() for q in row]


def _changes(
    names: Sequence[str], weights: Mapping[str, torch.Tensor], quantized: Quantized
) -> list[list[torch.Tensor]]:
    """q - w of each weight at each bit-width."""
    for name in names:
        if name not in weights or name not in quantized:
            raise InputError(
                f"weight {name!r} has no {'value' if name not in weights else 'quantized values'}; give both"
            )
        for q in quantized[name]:
            if q.shape != weights[name].shape:
                raise InputError(f"{name} has shape {tuple(weights[name].shape)}, quantized {tuple(q.shape)}; give one")
    widths = {len(quantized[name]) for name in names}
    if len(widths) != 1 or 0 in widths:
        raise InputError("layers have different numbers of bit-widths; give every weight the same, at least one")
    return [[q.detach() - weights[name].detach() for q in quantized[name]] for name in names]


def _readers(graph: Graph, name: str) -> list[fx.Node]:
    """The layers that read a weight: nodes that have it and a tensor that follows from the image as inputs."""
    attributes = [n for n in graph.nodes.values() if n.op == "get_attr" and str(n.target) == name]
    found = [user for n in attributes for user in n.users]
    for node in found:
        inputs = [m for m in node.all_input_nodes if m.op != "get_attr"]
        if not inputs or not all(isinstance(m.meta.get("val"), torch.Tensor) for m in inputs):
            raise InputError(f"{name} reaches its layer through {node.name}; use fisher_sensitivity for this network")
    return found
