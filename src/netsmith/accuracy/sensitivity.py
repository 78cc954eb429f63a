"""How much each choice hurts when it is taken alone, measured on the search split."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from netsmith.accuracy.candidates import Candidates
from netsmith.accuracy.incremental import IncrementalEvaluator
from netsmith.data.batch import Batch, detached
from netsmith.decisions.bits import W_BITS
from netsmith.decisions.channels import WIDTHS
from netsmith.errors import InputError, did_you_mean
from netsmith.network.edit import GraphEdit

FloatArray = NDArray[np.float64]
_BASELINE = "baseline_"
MEASURES = ("loss", "output", "fisher", "hessian")


@dataclass(frozen=True)
class Sensitivity:
    """Loss of every choice taken alone.

    Attributes:
        loss: ``(D, K)`` mean divergence of the outputs; 0 for what changes nothing, ``inf`` for padding.
        score: ``(D, K)`` by the task's first metric.
        baseline_score: of the unchanged network on the same examples.
        key: of the metric, by which records have the scores.
        candidates, seconds, recomputed: how many were evaluated, how long it took, and the share of the network that a
            candidate had to recompute.
    """

    loss: FloatArray
    score: FloatArray
    baseline_score: float
    candidates: int
    seconds: float
    recomputed: float
    key: str = "accuracy"

    def to_dict(self) -> dict[str, Any]:
        finite = np.where(np.isfinite(self.loss), self.loss, -1.0)
        return {
            "loss": finite.tolist(), self.key: self.score.tolist(), f"baseline_{self.key}": self.baseline_score,
            "candidates": self.candidates, "seconds": self.seconds, "recomputed": self.recomputed,
        }  # fmt: skip

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> Sensitivity:
        loss = np.array(d["loss"], dtype=float).reshape(len(d["loss"]), -1)
        (key,) = (name.removeprefix(_BASELINE) for name in d if name.startswith(_BASELINE))
        score = np.array(d[key], dtype=float).reshape(loss.shape)
        rest = (float(d[_BASELINE + key]), int(d["candidates"]), float(d["seconds"]), float(d["recomputed"]), key)
        return cls(np.where(loss < 0, np.inf, loss), score, *rest)


def measure_sensitivity(
    candidates: Candidates, evaluator: IncrementalEvaluator, progress: Callable[[int, int], None] | None = None,
    measure: str = "loss", widths: int = WIDTHS,
) -> Sensitivity:  # fmt: skip
    """Evaluate every choice of every decision alone, on the evaluator's examples (search split).

    Of a group with more than ``widths`` widths only so many are evaluated, evenly spread; the losses of those between
    are interpolated, as losses rise steadily with what is taken away.

    Args:
        measure: what a choice is taken to lose. ``loss``: divergence of the outputs, measured. ``output``: squared
            error of the outputs, measured. ``fisher`` and ``hessian``: half the curvature times the squared error of
            the weights, for the bits of weights; everything else as ``loss``. All but ``output`` are in units of the
            divergence.
        widths: most widths of a group to evaluate, 2 or more, the full one among them.

    Raises:
        InputError: an unknown measure, or curvature where no decision is about weights alone.
    """
    from time import perf_counter

    if measure not in MEASURES:
        raise InputError(
            f"unknown sensitivity {measure!r}{did_you_mean(measure, list(MEASURES))}; known: {', '.join(MEASURES)}"
        )
    start = perf_counter()
    given = candidates.space
    space, kinds = given.decisions, [given.kind_of(d) for d in range(len(given.decisions))]
    cells = [
        (d, k)
        for d, decision in enumerate(space.decisions)
        for k in range(len(decision.choices))
        if kinds[d][0].changes(kinds[d][1], k)
    ]
    curved = {} if measure in ("loss", "output") else _from_curvature(candidates, evaluator, measure)
    anchors = {d: _anchors(len(x.choices), widths) for d, x in enumerate(space.decisions) if kinds[d][0].graded}
    cells = [(d, k) for d, k in cells if d not in curved and k in anchors.get(d, (k,))]
    scores = evaluator.evaluate([GraphEdit(), *(candidates.of_choice(d, k) for d, k in cells)], progress)
    loss = np.where(np.arange(given.values.shape[1]) < space.sizes[:, None], 0.0, np.inf)
    accuracy = np.full(loss.shape, scores.score[0])
    lost = scores.output_error if measure == "output" else scores.divergence
    for d, losses in curved.items():
        loss[d, : len(losses)] = losses
    for (d, k), value, right in zip(cells, lost[1:], scores.score[1:], strict=True):
        # NaN from an overflow is the worst that a choice can do
        loss[d, k] = max(float(value), 0.0) if np.isfinite(value) else 1e6
        accuracy[d, k] = right
    for d, measured in anchors.items():
        n = len(space.decisions[d].choices)
        if len(measured) < n:
            values = given.values[d, :n]
            others = np.setdiff1d(np.arange(n), measured)
            loss[d, others] = _between(values[measured], loss[d, measured], values[others])
            accuracy[d, :n] = np.interp(values, values[measured], accuracy[d, measured])
    for d, decision in enumerate(space.decisions):
        if kinds[d][0].monotone:  # fewer channels or bits cannot truly be better: what says so is noise
            n = len(decision.choices)
            loss[d, :n] = np.maximum.accumulate(loss[d, :n][::-1])[::-1]
    seconds = perf_counter() - start
    key = evaluator.task.metric.key
    return Sensitivity(loss, accuracy, float(scores.score[0]), len(cells), seconds, scores.recomputed, key)


def _anchors(count: int, most: int) -> list[int]:
    """At most ``most`` of ``count`` choices, the first and the last among them."""
    return [int(k) for k in np.unique(np.rint(np.linspace(0, count - 1, min(most, count))))]


def _between(x: FloatArray, loss: FloatArray, wanted: FloatArray) -> FloatArray:
    """Losses at widths ``wanted`` from those at ``x``, ascending, by monotone cubics (Fritsch and Carlson 1980)."""
    from scipy.interpolate import PchipInterpolator

    falling = np.maximum.accumulate(loss[::-1])[::-1]
    return np.asarray(PchipInterpolator(x, falling)(wanted))


def _from_curvature(candidates: Candidates, evaluator: IncrementalEvaluator, measure: str) -> dict[int, FloatArray]:
    """Loss of each choice ``(K,)`` of the decisions about bits of weights, by decision."""
    from netsmith.accuracy import curvature
    from netsmith.network.passes import get_parameter

    given, quantizer = candidates.space, candidates.tools.quantizer
    decisions = [d for d, decision in enumerate(given.decisions.decisions) if decision.kind == W_BITS]
    if not decisions or quantizer is None:
        raise InputError(
            f"--sensitivity {measure} is about bits of weights, of which there is no choice here; use loss"
        )
    widths = max((given.decisions.decisions[d].choices for d in decisions), key=len)
    names = [quantizer.parameter(given.layer_of(d)) for d in decisions]
    weights = {n: get_parameter(given.graph.module, n).detach() for n in names}
    quantized = {
        n: [quantizer.weight(given.layer_of(d), int(b)) for b in widths] for n, d in zip(names, decisions, strict=True)
    }
    task, scales, examples = evaluator.task, evaluator.scales, evaluator.seen
    if measure == "fisher":
        fisher = curvature.weight_fisher(given.graph, task, examples, names, scales=scales)
        table = curvature.fisher_sensitivity(fisher, weights, quantized)
    else:

        def away(outputs: Any, batch: Batch) -> torch.Tensor:
            """The mean divergence of outputs from the network as given, whose own they are at first."""
            values, counts = task.divergence(outputs, detached(outputs), batch, scales)
            return (values * counts).sum() / counts.sum()

        traces = curvature.hessian_trace(given.graph, examples, away, names, most=16)
        table = curvature.hessian_sensitivity(traces, weights, quantized)
    place = {b: i for i, b in enumerate(widths)}
    return {
        d: np.array([row[place[b]] for b in given.decisions.decisions[d].choices])
        for d, row in zip(decisions, table, strict=True)
    }
