"""Designs evaluated after a short training each, as HAQ does in every episode (Wang et al., CVPR 2019, section 3.4)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np
import torch

from netsmith.accuracy.candidates import Candidates
from netsmith.accuracy.incremental import IncrementalEvaluator
from netsmith.accuracy.scores import Evaluation, evaluation
from netsmith.compression.qat import prepare
from netsmith.decisions.kind import Designs
from netsmith.search.strategy import Proposals
from netsmith.study.evaluator import Outcome
from netsmith.study.measured import outcome_of
from netsmith.tasks.task import Task


class Scorer:
    """Scores networks on examples of the search split, against the outputs of the network as given.

    Args:
        evaluator: has the examples, and the task.
        given: the network as given.
    """

    def __init__(self, evaluator: IncrementalEvaluator, given: torch.nn.Module) -> None:
        self.evaluator = evaluator
        given.eval()
        with torch.inference_mode():
            self._reference = [batch(given) for batch in evaluator.batches]

    def __call__(self, model: torch.nn.Module) -> Evaluation:
        """Score, loss and divergence of a network, which is set to eval mode."""
        task, scales, sums, rows = self.evaluator.task, self.evaluator.scales, np.zeros(4), []
        model.eval()
        with torch.inference_mode():
            for batch, given in zip(self.evaluator.batches, self._reference, strict=True):
                outputs = batch(model)
                values, counts = task.divergence(outputs, given, batch, scales)
                sums += (*task.total(outputs, batch), float((values * counts).sum()), float(counts.sum()))
                rows.append(task.partial(outputs, batch))
        score = task.metric.of(np.concatenate(rows))
        return evaluation(score, sums[0] / sums[1], sums[2] / sums[3], task.metric)


class Tuned:
    """Trains each design on the same examples before it is scored on the search split; nothing is kept of the training.

    Args:
        candidates: what designs do to the traced network; of widths alone, nothing pruned.
        evaluator: has the examples of the search split.
        model: the network as given, which also teaches.
        task: with a train split.
        count: examples of the train split, one pass over them.
        lr: peak learning rate.
        seed: of order and augmentation, the same for every design.
    """

    inherits: ClassVar[bool] = False

    def __init__(
        self, candidates: Candidates, evaluator: IncrementalEvaluator, model: torch.nn.Module, task: Task, count: int,
        lr: float, seed: int = 0,
    ) -> None:  # fmt: skip
        self.candidates, self.model, self.lr, self.seed = candidates, model, lr, seed
        self.task = task.with_splits(train=task.need_train().take(slice(0, count)))
        self.score = Scorer(evaluator, model)

    def evaluate(self, proposals: Proposals) -> Iterator[Outcome]:
        return (outcome_of(self._one(self.candidates.space.canonical(d))) for d in proposals.designs)

    def _one(self, design: Designs) -> Evaluation:
        from netsmith.training import Training, fit

        quantizer = self.candidates.tools.quantizer
        assert quantizer is not None  # widths are chosen
        student = prepare(self.model, self.candidates.space.bits(design), quantizer)
        fit(student, self.task, Training(epochs=1, lr=self.lr, seed=self.seed, bf16=False), teacher=self.model)
        return self.score(student)
