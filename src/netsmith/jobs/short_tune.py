"""Candidates of a trimming cut out of the winner's weights and trained for a short time (Yang et al., ECCV 2018)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from hashlib import sha256

import numpy as np
from torch import nn

from netsmith.accuracy.designs import Evaluation
from netsmith.accuracy.incremental import IncrementalEvaluator
from netsmith.compression.recipe import Recipe, apply_recipe
from netsmith.compression.widen import widened
from netsmith.decisions.kind import Designs
from netsmith.decisions.slim import Slimmed, slim
from netsmith.decisions.tools import AtHand, Importance
from netsmith.jobs.config import CompressConfig
from netsmith.jobs.episodes import Scorer
from netsmith.jobs.proposals import loss_of
from netsmith.jobs.subject import Subject
from netsmith.jobs.tools import scores_of
from netsmith.network.copying import copy_network
from netsmith.network.weights import load_weights, save_weights
from netsmith.runs.folder import Run

TUNE_LR = 0.01  #: peak learning rate where the user gave none
FOLDER = "family"


@dataclasses.dataclass(eq=False)
class Cut:
    """A network of a trimming: its design, what it was cut from, and its weights where they are at hand.

    Attributes:
        design: choice indices, canonical.
        origin: the winner that it was cut from; None for the network as given.
        slimmed: the smaller network after its training.
        weights, recipe: files of the run folder, once it has won.
    """

    design: tuple[int, ...]
    origin: Cut | None = None
    slimmed: Slimmed | None = None
    weights: str | None = None
    recipe: str | None = None

    @property
    def key(self) -> str:
        """A word for the design and all that it was cut from."""
        origin = self.origin.key if self.origin else ""
        return sha256(f"{origin}{list(self.design)}".encode()).hexdigest()[:12]


class ShortTuner:
    """Trains and scores the candidates of an iteration; what was trained before a kill is not trained again.

    Every candidate of an iteration sees the same images in the same order, and learns from the network as given beside
    the labels. Only winners' weights are kept, in the run folder with the recipes that make their networks.

    Args:
        run: logs losses; has the winners' files.
        subject: the network as given, its data and decisions.
        evaluator: has the images of the search split that candidates are scored on.
        images: of the train split, one pass over them.
        config: of the run.
        cuts: told the design and the weights file of every winner.
    """

    def __init__(
        self, run: Run, subject: Subject, evaluator: IncrementalEvaluator, images: int, config: CompressConfig,
        cuts: dict[tuple[int, ...], str],
    ) -> None:  # fmt: skip
        self.run, self.subject, self.evaluator = run, subject, evaluator
        self.config, self.cuts = config, cuts
        self.images, self.trained = images, 0  #: candidates that were trained, not remembered
        self.known = {(row["kind"], tuple(row["design"])): Evaluation(**row["losses"]) for row in run.trials()
                      if row["kind"].startswith(FOLDER)}  # fmt: skip
        self._score = Scorer(evaluator, subject.model)

    def __call__(self, origin: Cut, designs: Designs) -> Iterator[tuple[Cut, float]]:
        """Each candidate, trained from the weights of ``origin``, and its loss on the search split."""
        choices, full, scores = self.subject.choices, None, None
        for row in designs:
            design = tuple(int(k) for k in choices.canonical(row))
            if design == origin.design and origin.origin is None:  # the network as given
                yield origin, loss_of(self._score(self.subject.model))
                continue
            cut, kind = Cut(design, origin), f"{FOLDER} {origin.key}"
            if (kind, design) not in self.known:
                if full is None or scores is None:
                    full = self._full(origin)
                    scores = scores_of(full, self.subject, self.config.prune.importance)
                cut.slimmed = self._train(full, scores, design)
                self.known[kind, design] = found = self._score(cut.slimmed.model)
                self.run.log_trial(list(design), vars(found), {}, kind=kind)
            yield cut, loss_of(self.known[kind, design])

    def keep(self, cut: Cut) -> None:
        """Write a winner's weights and recipe, unless they are there; trained again if a kill lost them."""
        if cut.origin is None:
            return
        cut.weights, cut.recipe = f"{FOLDER}/{cut.key}.safetensors", f"{FOLDER}/{cut.key}.recipe.json"
        weights, recipe = self.run.place(cut.weights), self.run.place(cut.recipe)
        if not (weights.exists() and recipe.exists()):
            if cut.slimmed is None:
                full = self._full(cut.origin)
                cut.slimmed = self._train(full, scores_of(full, self.subject, self.config.prune.importance), cut.design)
            self.run.write_text(cut.recipe, cut.slimmed.recipe.to_json())
            save_weights(weights, cut.slimmed.model.state_dict())
        cut.slimmed = None
        self.cuts[cut.design] = cut.weights

    def _full(self, cut: Cut) -> nn.Module:
        """A winner's network at the full size."""
        if cut.weights is None:
            return self.subject.model
        slimmed = load_cut(self.run, self.subject, np.array(cut.design), cut.weights)
        return widened(self.subject.model, slimmed.model, slimmed.recipe)

    def _train(self, full: nn.Module, scores: Importance, design: tuple[int, ...]) -> Slimmed:
        from netsmith.training import Training, fit

        self.trained += 1
        slimmed = slim(full, self.subject.choices, np.array(design), AtHand(scores))
        data, n = self.subject.data, len(self.evaluator.labels)
        data = dataclasses.replace(
            data, train=data.need_train().take(slice(0, self.images)), search=data.search.take(slice(0, n))
        )
        how = Training(epochs=1, lr=self.config.fine_tune.lr or TUNE_LR, seed=self.config.seed, bf16=False)
        fit(slimmed.model, data, how, teacher=self.subject.model)
        return slimmed


def load_cut(run: Run, subject: Subject, design: Designs, weights: str) -> Slimmed:
    """The network of a winner's files, tuned as it was when it won."""
    recipe = Recipe.from_json(run.path(weights.replace(".safetensors", ".recipe.json")).read_text())
    model = apply_recipe(copy_network(subject.model), recipe)
    load_weights(model, run.path(weights))
    return Slimmed(model, recipe, subject.choices.bits(design))
