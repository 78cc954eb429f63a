"""Designs evaluated after a short training each, as HAQ does in every episode (Wang et al., CVPR 2019, section 3.4)."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
import torch.nn.functional as F

from netsmith.accuracy.candidates import Candidates
from netsmith.accuracy.designs import DesignEvaluator, Evaluation, evaluation
from netsmith.accuracy.incremental import IncrementalEvaluator, divergence
from netsmith.compression.qat import prepare
from netsmith.data import Data
from netsmith.decisions.given import GivenSpace
from netsmith.decisions.kind import Designs
from netsmith.errors import InputError
from netsmith.jobs.recover import QAT_LR


def check_episodes(choices: GivenSpace) -> None:
    """Raise InputError unless designs are widths of layers and nothing else."""
    if not choices.is_mixed or choices.of_stage("topology", "structure").any():
        raise InputError(
            "--episode-images trains networks with a width for each layer; choose --methods quantize and a target "
            "with several widths"
        )


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


class TunedEvaluator(DesignEvaluator):
    """Trains each design on the same images before it is scored on the search split; nothing is kept of the training.

    Args:
        candidates, evaluator: as for ``DesignEvaluator``; of widths alone, nothing pruned.
        model: the network as given, which also teaches.
        data: with a train split.
        images: of the train split, one pass over them.
        lr: peak learning rate.
        seed: of order and augmentation, the same for every design.
        options: ``known`` and ``store`` of ``DesignEvaluator``.
    """

    def __init__(
        self, candidates: Candidates, evaluator: IncrementalEvaluator, model: torch.nn.Module, data: Data, images: int,
        lr: float | None = None, seed: int = 0, **options: Any,
    ) -> None:  # fmt: skip
        super().__init__(candidates, evaluator, **options)
        check_episodes(candidates.space)
        self.model, self.lr, self.seed = model, lr or QAT_LR, seed
        self.data = dataclasses.replace(data, train=data.need_train().take(slice(0, images)))
        self.score = Scorer(evaluator, model)

    def run(self, designs: Designs) -> list[Evaluation]:
        """Train and score designs ``(N, D)``."""
        return [self._one(design) for design in designs]

    def _one(self, design: Designs) -> Evaluation:
        from netsmith.training import Training, fit

        quantizer = self.candidates.tools.quantizer
        assert quantizer is not None  # check_episodes: widths are chosen
        student = prepare(self.model, self.candidates.space.bits(design), quantizer)
        fit(student, self.data, Training(epochs=1, lr=self.lr, seed=self.seed, bf16=False), teacher=self.model)
        return self.score(student)
