"""Sensitivity tables ``(L, K)``: what each of L layers loses with its weights at each of K bit-widths, without running
the network at any of them.

Both are second-order estimates of the rise of the loss, with the factor 1/2 of Taylor's series. The distance of the
logits, E||f(x) - f_c(x)||^2, is measured instead: ``Scores.output_error``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from netsmith.accuracy.curvature.fisher import Fisher
from netsmith.accuracy.curvature.hessian import Traces
from netsmith.errors import InputError

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
