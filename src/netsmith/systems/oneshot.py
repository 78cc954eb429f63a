"""Single path one-shot (Guo et al., ECCV 2020): a network trained on uniformly drawn paths, then evolution over them.

The weights of all paths are trained together, none preferred; what a path loses with these weights on held-out images
ranks it. Evolution looks for the best path within the budgets afterwards, so that one training serves every budget.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from netsmith.data.batch import Batch
from netsmith.data.examples import Examples
from netsmith.search.evolution import Evolution
from netsmith.search.history import History
from netsmith.search.strategy import Designs, FloatArray, Problem
from netsmith.space import CostTable
from netsmith.study.study import minimize
from netsmith.supernets.supernet import SuperNet
from netsmith.tasks.task import Objective, Task
from netsmith.training import Checkpoints, Progress, Training, Workers, fit
from netsmith.training.modes import frozen_statistics

Evaluate = Callable[[Designs], FloatArray]

POPULATION = 32  #: of evolution
UNIFORM_LR = 0.1  #: peak learning rate of the weights of all paths


def train_uniform(
    network: SuperNet, task: Task, training: Training, *, folder: str | Path | None = None,
    contents: Mapping[str, str] | None = None, progress: Progress | None = None, workers: Workers | None = None,
) -> None:  # fmt: skip
    """Train the weights of all paths, every one as likely as any other, by a cosine; the last weights are kept.

    Args:
        folder: for a checkpoint, with which a training that was killed goes on.
        contents, progress, workers: as of ``netsmith.training.fit``.
    """
    network.uniform = True
    path = Path(folder) / "uniform.safetensors" if folder is not None else None
    training = replace(training, schedule="cosine", eval_every=training.epochs, keep="last")
    fit(network, task, training, progress=progress, workers=workers, checkpoints=Checkpoints(path, contents=contents))


def path_losses(network: SuperNet, task: Task, count: int = 1024, batch: int = 256) -> Evaluate:
    """What paths lose with the weights that all share: the loss on examples of the search split, drawn once.

    Batch norm takes the statistics of the batch, as running ones are of all paths together and of none alone.

    Returns:
        A function from designs ``(n, D)`` to losses ``(n,)``.
    """
    # data sets may be sorted by class, and a batch of one class has statistics of its own
    examples = shuffled(task.search).take(slice(0, count))
    device = network.logits.device
    batches = list(examples.batches(batch, drop_last=True))

    def evaluate(designs: Designs) -> FloatArray:
        losses = []
        try:
            with frozen_statistics(network), torch.no_grad():
                for network.path in np.atleast_2d(designs):
                    found = [_loss(network, task, b.to(device)) for b in batches]
                    losses.append(float(torch.stack(found).mean()))
        finally:
            network.path = None
        return np.array(losses)

    return evaluate


def _loss(network: SuperNet, task: Task, batch: Batch) -> torch.Tensor:
    return task.training_loss(batch(network), None, batch, Objective())


def shuffled(examples: Examples) -> Examples:
    """The examples in an order that has nothing to do with their targets, always the same one."""
    return examples.take(np.random.default_rng(0).permutation(len(examples)))


def strategy(problem: Problem, seed: int = 0, population: int = POPULATION, start: Designs | None = None) -> Evolution:
    """Evolution over paths: what chooses among them; arguments as of :func:`evolve`."""
    return Evolution(problem, seed=seed, population=population, start=start)


def evolve(
    evaluate: Evaluate, tables: Mapping[str, CostTable], limits: Mapping[str, float], evaluations: int = 300,
    population: int = POPULATION, seed: int = 0, start: Designs | None = None,
) -> History:  # fmt: skip
    """Evolution over the paths that keep the budgets.

    Args:
        evaluate: designs ``(n, D)`` to losses ``(n,)``.
        tables: at least of the costs that have a limit; they say which choices there are.
        start: designs of the first generation ``(n, D)``, brought inside the budgets and up to them; random ones by
            default.

    Raises:
        InfeasibleError: no path keeps the budgets.
    """
    problem = Problem.over(tables, limits)
    return minimize(problem, strategy(problem, seed, population, start), evaluate, evaluations)
