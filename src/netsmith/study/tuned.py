"""Designs evaluated after a short training each, as HAQ does in every episode (Wang et al., CVPR 2019, section 3.4)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import ClassVar

import torch
import torch.nn.functional as F

from netsmith.accuracy.candidates import Candidates
from netsmith.accuracy.incremental import IncrementalEvaluator, divergence
from netsmith.accuracy.scores import Evaluation, evaluation
from netsmith.compression.qat import prepare
from netsmith.data import Data
from netsmith.decisions.kind import Designs
from netsmith.search.strategy import Proposals
from netsmith.study.evaluator import Outcome
from netsmith.study.measured import outcome_of


class Scorer:
    """Scores networks on images of the search split, against the outputs of the network as given.

    Args:
        evaluator: has the images.
        given: the network as given.
    """

    def __init__(self, evaluator: IncrementalEvaluator, given: torch.nn.Module) -> None:
        self.evaluator = evaluator
        with torch.inference_mode():
            self._reference = F.log_softmax(self._logits(given), dim=1)

    def __call__(self, model: torch.nn.Module) -> Evaluation:
        """Accuracy, cross-entropy and divergence of a network, which is set to eval mode."""
        with torch.inference_mode():
            log_p, labels = F.log_softmax(self._logits(model), dim=1), self.evaluator.labels
            kl = divergence(self._reference, log_p).mean()
            right = (log_p.argmax(dim=1) == labels).float().mean()
            return evaluation(float(right), float(F.nll_loss(log_p, labels)), float(kl))

    def _logits(self, model: torch.nn.Module) -> torch.Tensor:
        model.eval()
        return torch.cat([model(x) for x in self.evaluator.images.split(self.evaluator.batch_size)]).float()


class Tuned:
    """Trains each design on the same images before it is scored on the search split; nothing is kept of the training.

    Args:
        candidates: what designs do to the traced network; of widths alone, nothing pruned.
        evaluator: has the images of the search split.
        model: the network as given, which also teaches.
        data: with a train split.
        images: of the train split, one pass over them.
        lr: peak learning rate.
        seed: of order and augmentation, the same for every design.
    """

    inherits: ClassVar[bool] = False

    def __init__(
        self, candidates: Candidates, evaluator: IncrementalEvaluator, model: torch.nn.Module, data: Data, images: int,
        lr: float, seed: int = 0,
    ) -> None:  # fmt: skip
        self.candidates, self.model, self.lr, self.seed = candidates, model, lr, seed
        self.data = dataclasses.replace(data, train=data.need_train().take(slice(0, images)))
        self.score = Scorer(evaluator, model)

    def evaluate(self, proposals: Proposals) -> Iterator[Outcome]:
        return (outcome_of(self._one(self.candidates.space.canonical(d))) for d in proposals.designs)

    def _one(self, design: Designs) -> Evaluation:
        from netsmith.training import Training, fit

        quantizer = self.candidates.tools.quantizer
        assert quantizer is not None  # widths are chosen
        student = prepare(self.model, self.candidates.space.bits(design), quantizer)
        fit(student, self.data, Training(epochs=1, lr=self.lr, seed=self.seed, bf16=False), teacher=self.model)
        return self.score(student)
