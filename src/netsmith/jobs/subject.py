"""The network, data and target of a job, loaded and checked once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from netsmith.compression.reorder import best_order
from netsmith.data import Data, Feeding, check_classes, data_for, normalisation_from_metadata
from netsmith.decisions.given import GivenSpace
from netsmith.decisions.registry import Given, kinds_of
from netsmith.errors import InputError
from netsmith.hardware.target import Target, has_energy, target_of
from netsmith.jobs.config import CompressConfig, Images, Method, Prune, Quantize, SpecializeConfig
from netsmith.metrics import ACCURACY, Metric
from netsmith.network.behaviour import check_network
from netsmith.network.graph import Graph, trace
from netsmith.network.load import LoadedModel, load_model
from netsmith.network.weights import read_metadata

CALIBRATION_IMAGES = 256


@dataclass(frozen=True)
class Subject:
    """What a job works on.

    Attributes:
        loaded: the network as given.
        data: with the normalisation that the network expects.
        feeding: how the network is fed, with a label for each of its outputs.
        graph: the network traced; batch norm folded, unless a method needs the weights as the module has them.
        space: the decisions.
    """

    loaded: LoadedModel
    data: Data
    feeding: Feeding
    graph: Graph
    space: GivenSpace

    @property
    def model(self) -> nn.Module:
        return self.loaded.model

    @property
    def metric(self) -> Metric:
        """The score that ranks networks."""
        return ACCURACY

    def search_images(self, n: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The first ``n`` images of the search split, normalised, and their labels."""
        split = self.data.search.take(slice(0, n))
        batches = list(split.batches(256, normalise=self.data.normalisation))
        return torch.cat([b[0] for b in batches]), torch.cat([b[1] for b in batches])

    def kept_images(self) -> torch.Tensor:
        """The images of the search split that ranges are calibrated on, as they are, apart from the rest of it."""
        return self.data.search.images[:CALIBRATION_IMAGES].clone()


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
    reorder: bool = False, **reading: Any,
) -> Subject:  # fmt: skip
    """Load and check everything that a compression needs; arguments are those of ``CompressConfig``.

    Args:
        reorder: designs run in the order of least peak memory.
        reading: ``record`` and ``report`` of ``netsmith.data.load_data``.

    Raises:
        InputError: anything that cannot be used, in one sentence.
    """
    found = data_for(
        data, read_metadata(weights) if weights else {}, seed=seed, **(images or Images()).for_data(), **reading
    )
    loaded = load_model(model, weights=weights, num_classes=found.known_classes, input_shape=found.input_shape)
    if images is None or images.mean is None:
        found = found.with_normalisation(normalisation_from_metadata(loaded.metadata))
    else:
        found = found.compared_with(loaded.metadata)
    first, _ = next(found.search.batches(4, normalise=found.normalisation, channels_last=False))
    outputs = check_network(loaded.model, first, "give the size it expects with --image-size")
    check_classes(found, outputs, loaded.metadata)
    graph = trace(loaded.model, tuple(found.input_shape), fold=not any(m.keeps_norms for m in methods))
    given = Given(loaded.model, loaded.example_input(), graph, target.capabilities)
    space = GivenSpace(graph, kinds_of(given, methods), best_order(graph)[0] if reorder else None)
    return Subject(loaded, found, found.feeding.for_outputs(outputs), graph, space)
