"""Designs cut out of the weights of another and trained for a short time (Yang et al., ECCV 2018)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar

import numpy as np
from torch import nn

from netsmith.compression.recipe import Recipe, apply_recipe
from netsmith.compression.widen import widened
from netsmith.decisions.kind import Designs
from netsmith.decisions.slim import Slimmed
from netsmith.network.copying import copy_network
from netsmith.network.weights import load_weights, save_weights
from netsmith.runs.folder import Run
from netsmith.search.strategy import Path, Proposals
from netsmith.study.evaluator import Outcome, way_name
from netsmith.study.measured import outcome_of
from netsmith.study.tuned import Scorer
from netsmith.tasks.task import Task

TUNE_LR = 0.01  #: peak learning rate where the user gave none
FOLDER = "family"

#: A network at the full size to what cuts a design ``(D,)`` out of it.
Cutter = Callable[[nn.Module], Callable[[Designs], Slimmed]]


def weights_file(path: Path) -> str:
    """Where a run keeps the weights of a network that others are made from."""
    return f"{FOLDER}/{way_name(path)}.safetensors"


def recipe_file(path: Path) -> str:
    """Where a run keeps the recipe of a network on the way to another."""
    return f"{FOLDER}/{way_name(path)}.recipe.json"


class Inherited:
    """Cuts each design out of the network that it is made from, trains it and scores it.

    All see the same examples in the same order, and learn from the network as given beside the targets. Of those that
    others are made from, the weights are kept in the run folder with the recipes that make their networks.

    Args:
        run: has the files.
        model: the network as given.
        given: its design, canonical.
        canonical: a design to the one that stands for all that are the same network.
        cutter: cuts designs out of a network of the full size.
        task: with a train split of which each design sees every example once.
        score: scores networks on the search split.
        lr: peak learning rate.
        seed: of order and augmentation.
    """

    inherits: ClassVar[bool] = True

    def __init__(
        self, run: Run, model: nn.Module, given: Designs, canonical: Callable[[Designs], Designs], cutter: Cutter,
        task: Task, score: Scorer, lr: float | None = None, seed: int = 0,
    ) -> None:  # fmt: skip
        self.run, self.model, self.canonical, self.cutter = run, model, canonical, cutter
        self.task, self.score, self.lr, self.seed = task, score, lr or TUNE_LR, seed
        self.trained = 0  #: designs that were trained
        self.kept: dict[tuple[int, ...], str] = {}  #: designs whose weights are in the run folder -> the file
        self._given: Path = (tuple(int(k) for k in given),)
        self._held: dict[Path, Slimmed] = {}
        self._cut: tuple[Path, Callable[[Designs], Slimmed]] | None = None  #: for the designs of one parent

    def evaluate(self, proposals: Proposals) -> Iterator[Outcome]:
        for row, parent in zip(proposals.designs, proposals.parents, strict=True):
            path: Path = (*self._canonical(parent), tuple(int(k) for k in self.canonical(row)))
            if path == self._given:
                yield outcome_of(self.score(self.model))
                continue
            self._held[path] = made = self._train(path)
            yield outcome_of(self.score(made.model))

    def hold(self, alive: Sequence[Path]) -> None:
        self._held = {path: made for path, made in self._held.items() if path in alive}

    def keep(self, alive: Sequence[Path]) -> None:
        for path in alive:
            if path in ((), self._given):
                continue
            weights, recipe = self.run.place(weights_file(path)), self.run.place(recipe_file(path))
            if not (weights.exists() and recipe.exists()):
                made = self._held.get(path) or self._train(path)  # once more if a kill lost it
                self.run.write_text(recipe_file(path), made.recipe.to_json())
                save_weights(weights, made.model.state_dict())
            self._held.pop(path, None)
            self.kept[path[-1]] = weights_file(path)

    def _canonical(self, path: Path) -> Path:
        return tuple(tuple(int(k) for k in self.canonical(np.array(design))) for design in path)

    def _full(self, path: Path) -> nn.Module:
        """The network at the end of a way, at the full size."""
        if path in ((), self._given):
            return self.model
        model, recipe = load_kept(self.run, self.model, weights_file(path))
        return widened(self.model, model, recipe)

    def _train(self, path: Path) -> Slimmed:
        from netsmith.training import Training, fit

        *before, design = path
        if self._cut is None or self._cut[0] != tuple(before):
            self._cut = tuple(before), self.cutter(self._full(tuple(before)))
        self.trained += 1
        slimmed = self._cut[1](np.array(design))
        how = Training(epochs=1, lr=self.lr, seed=self.seed, bf16=False)
        fit(slimmed.model, self.task, how, teacher=self.model)
        return slimmed


def load_kept(run: Run, model: nn.Module, weights: str) -> tuple[nn.Module, Recipe]:
    """The network of kept weights, trained as it was, and the recipe that makes it from ``model``."""
    recipe = Recipe.from_json(run.path(weights.replace(".safetensors", ".recipe.json")).read_text())
    made = apply_recipe(copy_network(model), recipe)
    load_weights(made, run.path(weights))
    return made, recipe
