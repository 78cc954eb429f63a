"""The network, data and target of a job, loaded and checked once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from netsmith.compression.branches import find_branches
from netsmith.compression.channels import GroupReport
from netsmith.compression.groups import find_groups
from netsmith.compression.placement import quantizable
from netsmith.data import Data, Feeding, check_classes, data_for, normalisation_from_metadata
from netsmith.decisions.choices import Choices
from netsmith.errors import InputError
from netsmith.export.packed.bits import MAX_BITS
from netsmith.hardware.target import Capabilities, Target, has_energy, target_of
from netsmith.jobs.config import CompressConfig, Config, Images, Prune, Quantize, Share, SpecializeConfig, chosen
from netsmith.network.behaviour import check_network
from netsmith.network.graph import Graph, trace
from netsmith.network.layers import FLOAT
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
        graph: the network traced; batch norm folded, unless weights are to be shared.
        report: channel groups and what is frozen.
        choices: the decisions.
        frozen: layer -> why it is left alone.
    """

    loaded: LoadedModel
    data: Data
    feeding: Feeding
    graph: Graph
    report: GroupReport
    choices: Choices
    frozen: dict[str, str]

    @property
    def model(self) -> nn.Module:
        return self.loaded.model

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
    return device


def load_subject(
    model: Any, data: Any, target: Target, *, weights: str | None = None,
    methods: Sequence[Config] = (Prune(), Quantize()), images: Images | None = None, seed: int = 0,
    **reading: Any,
) -> Subject:  # fmt: skip
    """Load and check everything that a compression needs; arguments are those of ``CompressConfig``.

    Args:
        reading: ``record`` and ``report`` of ``netsmith.data.load_data``.

    Raises:
        InputError: anything that cannot be used, in one sentence.
    """
    prune, quantize, share = chosen(methods, Prune), chosen(methods, Quantize), chosen(methods, Share)
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
    example = loaded.example_input()
    graph = trace(loaded.model, tuple(found.input_shape), fold=not share)
    report = find_groups(loaded.model, example) if prune else GroupReport([], {}, {})
    branches = find_branches(loaded.model, example) if prune else []
    least = (quantize or Quantize()).least_bits
    pairs = shared_pairs(share.least_bits) if share else bit_pairs(target.capabilities, least)
    layers = list(quantizable(graph))
    choices = Choices.of(
        graph, report, branches, prune=bool(prune),
        quantize=bool(share) or (bool(quantize) and pairs != ((FLOAT, FLOAT),)),
        multiple=target.capabilities.channel_multiple, bits=pairs, widths=(prune or Prune()).widths,
        scheme="kmeans" if share else "linear",
        # too few weights to save anything, and every published method leaves them alone
        pinned=(layers[0], layers[-1]) if layers and (32, 32) not in pairs and not share else (),
    )  # fmt: skip
    frozen = {n: f"not pruned: {r}" for n, r in report.frozen.items()} if prune else {}
    if share or quantize:
        for layer, reason in graph.layers.frozen.items():  # beside what keeps it from being pruned, not instead
            frozen[layer] = "; ".join(filter(None, (frozen.get(layer), f"not quantized: {reason}")))
    return Subject(loaded, found, found.feeding.for_outputs(outputs), graph, report, choices, frozen)


def bit_pairs(capabilities: Capabilities, least: int = 2) -> tuple[tuple[int, int], ...]:
    """(Weight, activation) widths that a search on a target chooses from.

    With floating point: 8-bit integers or not, if it has kernels for them. Without: every combination of the target's
    widths from ``least`` to those that a network as given runs at, if it has kernels for all of them; otherwise only
    the latter.

    Raises:
        InputError: ``least`` is more than the network as given runs at.
    """
    if (32, 32) in capabilities.bits:
        return tuple(pair for pair in ((8, 8), (FLOAT, FLOAT)) if pair in capabilities.bits)
    given = capabilities.bits[0]
    if not 1 <= least <= min(given):
        raise InputError(f"--least-bits is {least}; this target runs a network as given at {given[0]}, so 1 to that")
    pairs = {(w, a) for w, a in capabilities.bits if least <= min(w, a) and w <= given[0] and a <= given[1]}
    sides = [{pair[i] for pair in pairs} for i in (0, 1)]
    return tuple(sorted(pairs)) if len(pairs) == len(sides[0]) * len(sides[1]) else (given,)


def idle_kernels(capabilities: Capabilities, least: int = 2) -> str | None:
    """What a search leaves unused of the kernels for widths from ``least``, in one sentence; None if nothing."""
    offered = bit_pairs(capabilities, least)
    top = [max(pair[i] for pair in offered) for i in (0, 1)]
    idle = [p for p in capabilities.bits if p not in offered and least <= min(p) and p[0] <= top[0] and p[1] <= top[1]]
    if not idle:
        return None
    which = ", ".join(f"{w}x{a}" for w, a in sorted(idle, reverse=True))
    if (FLOAT, FLOAT) not in capabilities.bits:
        return f"kernels of {which} bits (weights x inputs) are not used, as some combination of these widths has none"
    if len(offered) > 1:
        return f"kernels of {which} bits (weights x inputs) are not used: beside floats, layers have 8-bit integers"
    return f"kernels of {which} bits (weights x inputs) are not used, and no layer has 8-bit integers, as it has no 8x8"


def shared_pairs(least: int = 1) -> tuple[tuple[int, int], ...]:
    """(Weight, activation) widths of shared weights: indices of ``least`` to 8 bits, activations in floating point.

    Raises:
        InputError: ``least`` is none of them.
    """
    if not 1 <= least <= MAX_BITS:
        raise InputError(f"--least-bits is {least}; an index of shared weights has 1 to {MAX_BITS}")
    return tuple((bits, FLOAT) for bits in range(least, MAX_BITS + 1))
