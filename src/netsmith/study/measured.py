"""Designs measured on the search split as changes of the traced network, so that nothing has to be built for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from netsmith.accuracy.candidates import Candidates
from netsmith.accuracy.incremental import IncrementalEvaluator
from netsmith.accuracy.scores import Evaluation, evaluation
from netsmith.search.strategy import Proposals
from netsmith.study.evaluator import Outcome


class Measured:
    """Runs designs as they are, not trained.

    Args:
        candidates: what designs do to the traced network.
        evaluator: on examples of the search split.
    """

    inherits: ClassVar[bool] = False

    def __init__(self, candidates: Candidates, evaluator: IncrementalEvaluator) -> None:
        self.candidates, self.evaluator = candidates, evaluator

    def evaluate(self, proposals: Proposals) -> Iterator[Outcome]:
        canonical = self.candidates.space.canonical(proposals.designs)
        scores = self.evaluator.evaluate([self.candidates.of_design(d) for d in canonical])
        for figures in zip(scores.score, scores.loss, scores.divergence, strict=True):
            yield outcome_of(evaluation(*figures, self.evaluator.task.metric))


def outcome_of(found: Evaluation) -> Outcome:
    """What a search minimises: the mean divergence from the network as given.

    On some hundred examples it tells designs apart that have the same score.
    """
    return Outcome(found.divergence, figures=found.figures)
