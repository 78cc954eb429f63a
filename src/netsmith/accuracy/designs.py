"""Whole designs evaluated on the search split, each once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netsmith.accuracy.candidates import Candidates
from netsmith.accuracy.incremental import IncrementalEvaluator
from netsmith.decisions.kind import Designs

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Evaluation:
    """One design on the search split: share of images right, mean cross-entropy, mean KL from the given network."""

    accuracy: float
    cross_entropy: float
    divergence: float


class DesignEvaluator:
    """Evaluates designs without building them; equal networks are evaluated once.

    Args:
        candidates: what designs do to the traced network.
        evaluator: on images of the search split.
        known: evaluations of an earlier run, by design.
        store: called with each new evaluation, so that a killed search does not lose it.
    """

    def __init__(
        self, candidates: Candidates, evaluator: IncrementalEvaluator,
        known: dict[tuple[int, ...], Evaluation] | None = None,
        store: Callable[[tuple[int, ...], Evaluation], None] = lambda design, evaluation: None,
    ) -> None:  # fmt: skip
        self.candidates, self.evaluator, self.store = candidates, evaluator, store
        self.known = dict(known or {})
        self.evaluated = 0  #: designs that were run, not remembered

    def evaluate(self, designs: Designs) -> list[Evaluation]:
        """Evaluate designs ``(N, D)``."""
        canonical = self.candidates.space.canonical(np.atleast_2d(designs))
        keys = [tuple(int(k) for k in d) for d in canonical]
        new = {key: design for key, design in zip(keys, canonical, strict=True) if key not in self.known}
        if new:
            for key, evaluation in zip(new, self.run(np.array(list(new.values()))), strict=True):
                self.known[key] = evaluation
                self.store(key, evaluation)
            self.evaluated += len(new)
        return [self.known[key] for key in keys]

    def run(self, designs: Designs) -> list[Evaluation]:
        """Run designs ``(N, D)`` that nothing is known of."""
        scores = self.evaluator.evaluate([self.candidates.of_design(d) for d in designs])
        return [
            evaluation(*values) for values in zip(scores.accuracy, scores.cross_entropy, scores.divergence, strict=True)
        ]


def evaluation(accuracy: float, cross_entropy: float, divergence: float) -> Evaluation:
    """An evaluation in which an overflow is the worst that a design can do."""
    return Evaluation(float(accuracy), *(float(np.nan_to_num(v, nan=1e6)) for v in (cross_entropy, divergence)))
