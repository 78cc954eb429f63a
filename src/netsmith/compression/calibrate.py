"""Ranges of activations from calibration examples: histograms once, then any of four clipping rules."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import fx

from netsmith.data.batch import Batch
from netsmith.errors import InputError, did_you_mean
from netsmith.network.edit import QuantParams
from netsmith.network.graph import Graph

FloatArray = NDArray[np.float64]
METHODS = ("minmax", "percentile", "mse", "entropy")
BINS = 2048


@dataclass(frozen=True)
class Histogram:
    """Counts ``(BINS,)`` of a tensor's values between its exact minimum and maximum."""

    low: float
    high: float
    counts: FloatArray

    @property
    def centres(self) -> FloatArray:
        width = (self.high - self.low) / len(self.counts)
        return np.asarray(self.low + width * (np.arange(len(self.counts)) + 0.5))


def collect(graph: Graph, batches: Iterable[torch.Tensor | Batch], names: Collection[str]) -> dict[str, Histogram]:
    """Histograms of the outputs of the named nodes over batches of inputs, without what is padding.

    Two passes, the first for the exact range; ``batches`` is read once and kept, so give calibration-sized data.
    """
    kept = [Batch.of(batch) for batch in batches]
    if not kept:
        raise InputError("calibration needs at least one batch of examples")
    wanted = set(names)
    low = dict.fromkeys(wanted, np.inf)
    high = dict.fromkeys(wanted, -np.inf)
    counts = {name: torch.zeros(BINS) for name in wanted}

    def ranges(name: str, value: torch.Tensor) -> None:
        a, b = torch.aminmax(value)
        # unlike min(), np.minimum hands NaN on
        low[name], high[name] = float(np.minimum(low[name], float(a))), float(np.maximum(high[name], float(b)))

    def fill(name: str, value: torch.Tensor) -> None:
        top = high[name] if high[name] > low[name] else low[name] + 1e-8
        counts[name] += torch.histc(value.float(), BINS, low[name], top)

    def walk(visit: object) -> None:
        watcher = Watcher(graph, wanted, visit)
        with torch.inference_mode():
            for batch in kept:
                watcher.watch(batch)

    walk(ranges)
    for name in sorted(wanted):
        if not (np.isfinite(low[name]) and np.isfinite(high[name])):
            raise InputError(f"calibration found NaN or infinite values at {name}; check the weights and normalisation")
    walk(fill)
    return {name: Histogram(low[name], high[name], counts[name].double().numpy()) for name in wanted}


class Watcher(fx.Interpreter):
    """Runs a graph and hands the outputs of the named nodes to ``visit(name, value)``.

    Args:
        padded: with what is padding in them.
    """

    def __init__(self, graph: Graph, names: set[str], visit: object, padded: bool = False) -> None:
        super().__init__(graph.module)
        self._graph, self._names, self._visit, self._padded = graph, names, visit, padded
        self.batch: Batch | None = None

    def unpadded(self, value: torch.Tensor) -> torch.Tensor:
        """What of a value is no padding of the batch that is run."""
        return value if self.batch is None else self.batch.unpadded(value)

    def watch(self, batch: Batch) -> None:
        """Run the graph on a batch."""
        self.batch = batch
        self.run(*self._graph.flat(batch), enable_io_processing=False)

    def run_node(self, n: fx.Node) -> object:
        value = super().run_node(n)
        if n.name in self._names and isinstance(value, torch.Tensor):
            self._visit(n.name, value if self._padded else self.unpadded(value))  # type: ignore[operator]
        return value


def fit_range(histogram: Histogram, method: str = "mse", bits: int = 8, percentile: float = 99.99) -> QuantParams:
    """Choose the clipping range of a tensor and return its unsigned affine grid; zero is exactly representable.

    Args:
        method: ``minmax`` (no clipping), ``percentile`` (of absolute deviation from zero, each side), ``mse`` (least
            squared rounding and clipping error) or ``entropy`` (least KL divergence of the quantized histogram).
    """
    if method not in METHODS:
        raise InputError(
            f"unknown calibration {method!r}{did_you_mean(method, list(METHODS))}; known: {', '.join(METHODS)}"
        )
    low, high = min(histogram.low, 0.0), max(histogram.high, 0.0)
    if method == "percentile":
        cumulative = np.cumsum(histogram.counts) / max(histogram.counts.sum(), 1.0)
        x: FloatArray = histogram.centres
        tail = (100.0 - percentile) / 100.0
        low = min(float(x[int(np.searchsorted(cumulative, tail))]), 0.0) if low < 0 else 0.0
        high = max(float(x[min(int(np.searchsorted(cumulative, 1 - tail)), len(x) - 1)]), 0.0)
    elif method in ("mse", "entropy"):
        score = _mse if method == "mse" else _entropy
        shrink = np.concatenate([np.linspace(0.1, 0.5, 9)[:-1], np.linspace(0.5, 1.0, 51)])
        errors = [score(histogram, low * s, high * s, 2**bits) for s in shrink]
        best = float(shrink[int(np.argmin(errors))])
        low, high = low * best, high * best
    return affine(low, high, bits)


def affine(low: float, high: float, bits: int = 8) -> QuantParams:
    """The unsigned grid that covers [low, high] and zero."""
    low, high = min(low, 0.0), max(high, 0.0)
    levels = 2**bits - 1
    scale = max((high - low) / levels, 1e-8)
    return QuantParams(scale, int(np.clip(round(-low / scale), 0, levels)), 0, levels)


def _quantized(x: FloatArray, low: float, high: float, levels: int) -> FloatArray:
    scale = max((high - low) / (levels - 1), 1e-12)
    zero = np.round(-low / scale)
    return np.asarray((np.clip(np.round(x / scale) + zero, 0, levels - 1) - zero) * scale)


def _mse(histogram: Histogram, low: float, high: float, levels: int) -> float:
    x = histogram.centres
    return float((histogram.counts * (x - _quantized(x, low, high, levels)) ** 2).sum())


def _entropy(histogram: Histogram, low: float, high: float, levels: int) -> float:
    x, p = histogram.centres, histogram.counts / max(histogram.counts.sum(), 1.0)
    q_value = _quantized(x, low, high, levels)
    clipped = np.where((x < low) | (x > high), 0.0, p)
    p = np.where(x < low, 0.0, np.where(x > high, 0.0, p))
    # outliers join the end bins of P, as a clipping quantizer sees them; Q spreads each level over its non-empty bins
    inside = np.flatnonzero((x >= low) & (x <= high))
    if len(inside) == 0:
        return np.inf
    total = histogram.counts.sum() or 1.0
    p[inside[0]] += histogram.counts[x < low].sum() / total
    p[inside[-1]] += histogram.counts[x > high].sum() / total
    _, level = np.unique(q_value, return_inverse=True)
    used = clipped > 0
    mass = np.bincount(level, clipped)
    bins = np.maximum(np.bincount(level, used.astype(float)), 1)
    q = np.where(used, mass[level] / bins[level], 0.0)
    q /= max(q.sum(), 1e-12)
    return float((p[p > 0] * np.log(p[p > 0] / np.maximum(q[p > 0], 1e-9))).sum())
