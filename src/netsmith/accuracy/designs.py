"""Whole designs evaluated on the search split, each once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netsmith.accuracy.candidates import Candidates
from netsmith.accuracy.incremental import IncrementalEvaluator
from netsmith.compression.choices import Designs

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
        canonical = [self.candidates.choices.canonical(d) for d in np.atleast_2d(designs)]
        keys = [tuple(int(k) for k in d) for d in canonical]
        new = {key: design for key, design in zip(keys, canonical, strict=True) if key not in self.known}
        if new:
            scores = self.evaluator.evaluate([self.candidates.of_design(d) for d in new.values()])
            self.evaluated += len(new)
            for i, key in enumerate(new):
                # an overflow is the worst that a design can do
                cross, kl = (float(np.nan_to_num(v[i], nan=1e6)) for v in (scores.cross_entropy, scores.divergence))
                self.known[key] = Evaluation(float(scores.accuracy[i]), cross, kl)
                self.store(key, self.known[key])
        return [self.known[key] for key in keys]
