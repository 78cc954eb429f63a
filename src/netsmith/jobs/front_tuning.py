"""How the networks of a front share their training: each is cut out of one that is trained already, and goes on."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from netsmith.compression.recipe import Recipe, apply_recipe
from netsmith.compression.widen import widened
from netsmith.decisions.kind import Designs
from netsmith.decisions.slim import slim
from netsmith.decisions.tools import AtHand
from netsmith.jobs.config import FineTune
from netsmith.jobs.recover import epochs_of
from netsmith.jobs.stages import Stages
from netsmith.jobs.tools import scores_of
from netsmith.network.copying import copy_network
from netsmith.network.weights import load_weights, save_weights
from netsmith.runs.folder import Run
from netsmith.tasks.task import Task

SHARE = 0.4  #: of the epochs of fine-tuning, for a network that is cut out of one that had them all
_START = "family/start"  #: files of the network that training starts from


def shares_training(job: Stages) -> bool:
    """Whether networks of a job can go on from each other: where their floats are trained and rounded after it."""
    return job.epochs > 0 and job.graph.folded and not job.space.is_mixed and bool(_structure(job).any())


def is_cut_from(job: Stages, design: Designs, other: Designs) -> bool:
    """Whether a design ``(D,)`` has nothing that another lacks."""
    structure = _structure(job)
    cut = job.space.canonical(np.where(structure, np.minimum(design, other), design))  # what is gone has no width
    return bool((cut == design)[structure].all())


def is_smaller(job: Stages, design: Designs) -> bool:
    """Whether a design ``(D,)`` takes anything away, which is what training makes up for."""
    return bool((design != job.space.reference)[_structure(job)].any())


def _structure(job: Stages) -> Any:
    return job.space.of_stage("topology", "structure") & (job.space.decisions.sizes > 1)


def shorter(job: Stages, seed: int) -> tuple[FineTune, Task]:
    """The training of a network that goes on from another: fewer epochs, or one of fewer examples."""
    task, tune = job.task, job.config.fine_tune
    train, wanted = task.need_train(), SHARE * epochs_of(tune, task)
    epochs = max(1, math.ceil(wanted))
    count = max(1, round(len(train) * wanted / epochs))
    if count < len(train):
        rows = np.sort(np.random.default_rng(seed).choice(len(train), count, replace=False))
        task = task.with_splits(train=train.take(rows))
    return replace(tune, epochs=epochs), task


def cut_out(job: Stages, design: Designs, trained: Run) -> None:
    """Let a network begin with the trained weights of another that it can be cut out of.

    Its channels are chosen anew among those that the other has, by the same criterion on the weights of now.

    Args:
        job: in the network's own run.
        trained: the run of the other network.
    """

    def make() -> None:
        subject, criterion = job.subject, job.config.prune.importance
        recipe = Recipe.from_json(trained.path("recipe.json").read_text())
        small = apply_recipe(copy_network(subject.model), recipe)
        load_weights(small, trained.path("model.safetensors"))
        full = widened(subject.model, small, recipe)
        ranked = "l2" if job.config.prune.reads_moments else criterion  # moments are of the network as given
        made = slim(full, subject.space, design, AtHand(scores_of(full, subject, ranked)))
        job.run.write_text(f"{_START}.recipe.json", made.recipe.to_json())
        save_weights(job.run.place(f"{_START}.safetensors"), made.model.state_dict())

    job.run.stage("start", make)
    job.cuts[tuple(int(k) for k in design)] = f"{_START}.safetensors"
