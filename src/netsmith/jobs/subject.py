"""The network, data and target of a job, loaded and checked once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from netsmith.compression.reorder import best_order
from netsmith.data import Feeding
from netsmith.data.examples import Examples
from netsmith.decisions.given import GivenSpace
from netsmith.decisions.registry import Given, kinds_of
from netsmith.errors import InputError
from netsmith.hardware.target import Target, has_energy, target_of
from netsmith.jobs.config import CompressConfig, Images, Method, Prune, Quantize, SpecializeConfig
from netsmith.metrics import Metric
from netsmith.network.behaviour import check_network
from netsmith.network.graph import Graph, trace
from netsmith.network.load import LoadedModel, load_model
from netsmith.network.signature import positional
from netsmith.network.weights import read_metadata
from netsmith.tasks.registry import load_task
from netsmith.tasks.task import Task

CALIBRATION_EXAMPLES = 256


@dataclass(frozen=True)
class Subject:
    """What a job works on.

    Attributes:
        loaded: the network as given.
        task: what the network is for, its examples as it expects them.
        feeding: how the network is fed, and what its outputs stand for.
        graph: the network traced; batch norm folded, unless a method needs the weights as the module has them.
        space: the decisions.
    """

    loaded: LoadedModel
    task: Task
    feeding: Feeding
    graph: Graph
    space: GivenSpace

    @property
    def model(self) -> nn.Module:
        return self.loaded.model

    @property
    def metric(self) -> Metric:
        """The score that ranks networks."""
        return self.task.metric

    def searched(self, n: int) -> Examples:
        """The first ``n`` examples of the search split."""
        return self.task.search.take(slice(0, n))

    def kept(self) -> Any:
        """The examples of the search split that ranges are calibrated on, apart from the rest of it."""
        return self.task.kept(CALIBRATION_EXAMPLES)


def device_of(config: CompressConfig | SpecializeConfig) -> Target:
    """The target of a search, which must be able to price layers, and whatever there is a budget of.

    Raises:
        InputError: it cannot.
    """
    spec = config.target
    device = target_of(spec, config.threads)
    if not device.capabilities.by_row:
        raise InputError(
            f"{spec} has times of whole blocks, which a search cannot take apart: price finished networks with it "
            "(profile, compare --targets), and search with times of single layers, whose files "
            "`netsmith targets measure MODEL --space --write FOLDER` writes"
        )
    if config.budgets.energy is not None and not has_energy(device):
        raise InputError(f"target {spec!r} has no energy model; drop --energy or choose a target that has one")
    if config.several.wanted and config.several.minimize == "energy" and not has_energy(device):
        raise InputError(f"target {spec!r} has no energy model; minimize another cost or choose a target that has one")
    if config.budgets.memory is not None and isinstance(config, SpecializeConfig):
        raise InputError(
            "--memory is counted on the traced graph of a network that is given, and the networks of a space have none "
            "before they are built: drop --memory, and see what was found with `netsmith profile`"
        )
    return device


def load_subject(
    model: Any, data: Any, target: Target, *, weights: str | None = None,
    methods: Sequence[Method] = (Prune(), Quantize()), images: Images | None = None, seed: int = 0,
    reorder: bool = False, task: Any = "classification", **reading: Any,
) -> Subject:  # fmt: skip
    """Load and check everything that a compression needs; arguments are those of ``CompressConfig``.

    Args:
        reorder: designs run in the order of least peak memory.
        task: what the network is for: a name, ``FILE.py:function``, or in Python a task.
        reading: ``record`` and ``report`` of ``netsmith.data.load_data``.

    Raises:
        InputError: anything that cannot be used, in one sentence.
    """
    wanted = images or Images()
    found = load_task(
        task, data, read_metadata(weights) if weights else {}, seed=seed, options=wanted.for_task(), **reading
    )
    loaded = load_model(model, weights=weights, **found.built_with)
    found = found.for_weights(loaded.metadata, given=wanted.mean is not None).for_network(loaded.model)
    outputs = checked(loaded, found)
    example = found.example(2)
    graph = trace(loaded.model, example, axes=found.axes(), fold=not any(m.keeps_norms for m in methods))
    given = Given(loaded.model, positional(loaded.model, example), graph, target.capabilities)
    space = GivenSpace(graph, kinds_of(given, methods), best_order(graph)[0] if reorder else None)
    return Subject(loaded, found, found.feeding(graph, outputs), graph, space)


def checked(loaded: LoadedModel, task: Task) -> Any:
    """What a network returns for one example, if its outputs can be promised and are what its task reads.

    Raises:
        InputError: they are not; says so in one sentence.
    """
    few = task.example(4).map(torch.Tensor.contiguous, inputs_only=True)
    outputs = check_network(loaded.model, few, task.misfit, task.read, task.each)
    task.fits(outputs, loaded.metadata)
    return outputs
