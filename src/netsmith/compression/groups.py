"""Channel groups: which channels of which layers must leave together.

The network runs once, operator by operator, to see which channels depend on which (``following``); what is alike forms
groups (``ties``), and every group is tried: half of its channels are removed from a copy with random weights, whose
output must be that of the masked parent, and numbers that differ from group to group must fit. Where a forward can be
read in several ways (an axis that is laid out as several), what fails is tried in the next; what fails in all is frozen
with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd

from netsmith.compression.channels import ChannelGroup, GroupReport
from netsmith.compression.following import Followed, follow
from netsmith.compression.layers import sides_of
from netsmith.compression.ties import resolve, ways
from netsmith.compression.training_mode import breaks_in_training
from netsmith.compression.trial import Inputs, Limit, faulty, randomized, same, shell, where
from netsmith.network.copying import copy_network

PATIENCE_S = 60.0  #: networks in use take a few seconds for the trials
_ROUNDS = 6  # how often what failed is tried otherwise
_DRAWS = 3  # numbers of channels that each group is tried with, beside half of them


def find_groups(model: nn.Module, example_input: torch.Tensor | Inputs, *, seconds: float = PATIENCE_S) -> GroupReport:
    """Find the channel groups of ``model``, which is not changed; never raises for what it cannot handle.

    Args:
        model: any module.
        example_input: a tensor ``(N, ...)`` or a tuple of arguments.
        seconds: how long the groups may be tried. What is open then is frozen as undecided. Time of the processor, not
            of the clock, so that the result does not depend on other work; the default is far above what networks need.
    """
    layers = {name: m for name, m in model.named_modules() if isinstance(m, (_ConvNd, nn.Linear))}
    counts = {name: sides_of(m) for name, m in layers.items()}
    limit = Limit(seconds)
    try:
        probe, inputs = randomized(model, example_input)
        meta = _on_meta(probe, inputs)
        found = follow(*(meta or (copy_network(probe), inputs)))
    except Exception as e:  # this forward does not run, or insists on what a copy of it is not
        return GroupReport(
            [],
            dict.fromkeys(layers, f"a copy of the network with random weights does not run{where(e)}"),
            counts,
        )
    good, reasons = _accepted(found, probe, inputs, meta, limit)
    free = {m.layer for g in good for m in g.outputs}
    order = {name: i for i, name in enumerate(layers)}
    good.sort(key=lambda g: order.get(g.name, -1))
    frozen = {n: reasons.get(n, "its channels are not followed") for n in layers if n not in free}
    return GroupReport(good, frozen, counts)


def _accepted(
    found: Followed, probe: nn.Module, inputs: Inputs, meta: tuple[nn.Module, Inputs] | None, limit: Limit
) -> tuple[list[ChannelGroup], dict[str, str]]:
    """The groups that pass their trials together, and for each layer without any the reason."""
    options: dict[int, int] = {}
    failed: dict[str, str] = {}
    for _ in range(_ROUNDS):
        resolved = resolve(found, probe, options)
        rng = np.random.default_rng(0)
        bad = _misfits(meta or (probe, inputs), resolved.groups, limit)
        tried = [(g, _half(g, rng)) for g in resolved.groups]
        bad |= _rejected(probe, inputs, meta, {i: t for i, t in enumerate(tried) if i not in bad}, limit)
        bad |= _rejected_in_training(probe, inputs, {i: t for i, t in enumerate(tried) if i not in bad}, limit)
        for i, reason in bad.items():
            for m in resolved.groups[i].outputs:
                failed.setdefault(m.layer, reason)
        again = {k for i in bad for k in resolved.open[i] if options.get(k, 0) + 1 < ways(found, k)}
        if not again or limit.over:
            break
        for k in again:
            options[k] = options.get(k, 0) + 1
    good = [g for i, g in enumerate(resolved.groups) if i not in bad]
    return good, resolved.reasons | failed


# --- the trial ------------------------------------------------------------------------------------------------------


def _half(group: ChannelGroup, rng: np.random.Generator) -> list[int]:
    """About half of a group's units, at random; two or more where it has them, as one channel could broadcast."""
    n = group.channels // group.unit
    units = np.sort(rng.permutation(n)[: max(n // 2, min(2, n - 1))])
    return [int(u) * group.unit + i for u in units for i in range(group.unit)]


def _uneven(group: ChannelGroup, rng: np.random.Generator) -> list[int]:
    """The first of a group's units, in a number of its own: what fits only as long as groups shrink alike does not."""
    n = group.channels // group.unit
    return list(range(int(rng.integers(min(2, n - 1), n)) * group.unit))


Tried = tuple[ChannelGroup, list[int]]


def _misfits(network: tuple[nn.Module, Inputs], groups: Sequence[ChannelGroup], limit: Limit) -> dict[int, str]:
    """Index of each group without some of whose channels the others do not fit, whatever those keep -> the reason."""
    rng, bad = np.random.default_rng(1), dict[int, str]()
    for _ in range(_DRAWS):
        left = [i for i in range(len(groups)) if i not in bad]
        tried = [(groups[i], _uneven(groups[i], rng)) for i in left]
        found = faulty(tried, lambda some: _fits(*network, some), limit)
        bad |= {left[k]: reason for k, reason in found.items()}
    return bad


def _rejected(
    probe: nn.Module, inputs: Inputs, meta: tuple[nn.Module, Inputs] | None, every: dict[int, Tried], limit: Limit
) -> dict[int, str]:
    """Index of each group that fails its trial -> the reason; the others pass together.

    Most failures are shapes that do not fit, which shows without arithmetic, on torch's meta device. If the rest does
    not pass, the search goes on with one sample where the network allows it, and what it accepts is tried on all.
    Nothing passes that was not tried with all that passes, whatever the limit.
    """
    indices, tried = list(every), list(every.values())
    bad: dict[int, str] = {}

    def search(trial: Callable[[list[Tried]], str | None]) -> None:
        left = [i for i in range(len(tried)) if i not in bad]
        found = faulty([tried[i] for i in left], trial, limit)
        bad.update({left[k]: reason for k, reason in found.items()})

    if meta is not None:
        search(lambda some: _fits(*meta, some))
    left = [t for i, t in enumerate(tried) if i not in bad]
    if not left or _trial(probe, inputs, left) is None:
        return {indices[i]: reason for i, reason in bad.items()}
    one = tuple(x[:1] if isinstance(x, torch.Tensor) and x.dim() > 1 and len(inputs) == 1 else x for x in inputs)
    try:
        with torch.no_grad():
            probe(*one)
    except Exception:  # this forward insists on its batch
        one = inputs
    search(lambda some: _trial(probe, one, some))
    if one is not inputs:
        search(lambda some: _trial(probe, inputs, some))
    return {indices[i]: reason for i, reason in bad.items()}


def _rejected_in_training(probe: nn.Module, inputs: Inputs, tried: dict[int, Tried], limit: Limit) -> dict[int, str]:
    """Index of each group without whose channels the network runs in evaluation but not in training -> the reason."""
    from netsmith.compression.prune import prune

    def trial(some: list[Tried]) -> str | None:
        small = shell(probe)
        with torch.no_grad():
            prune(small, GroupReport([g for g, _ in some], {}, {}), {g.name: kept for g, kept in some})
        return breaks_in_training(small, inputs)

    if not tried or breaks_in_training(probe, inputs):  # as given it does not train either
        return {}
    found = faulty(list(tried.values()), trial, limit)
    return {list(tried)[k]: reason for k, reason in found.items()}


def _on_meta(probe: nn.Module, inputs: Inputs) -> tuple[nn.Module, Inputs] | None:
    """The network and its inputs without values, or None if its forward needs values."""
    try:
        with torch.no_grad():
            # not .to("meta"), after which layers that share a parameter have one each
            tensors = {id(p): nn.Parameter(p.to("meta"), p.requires_grad) for p in probe.parameters()}
            model = copy_network(probe, tensors | {id(b): b.to("meta") for b in probe.buffers()}).to("meta")
            args = tuple(x.to("meta") if isinstance(x, torch.Tensor) else x for x in inputs)
            model(*args)
        return model, args
    except Exception:
        return None


def _fits(probe: nn.Module, inputs: Inputs, tried: list[Tried]) -> str | None:
    from netsmith.compression.prune import prune

    small = shell(probe)
    with torch.no_grad():
        try:
            prune(small, GroupReport([g for g, _ in tried], {}, {}), {g.name: kept for g, kept in tried})
            small(*inputs)
        except Exception as e:
            return f"with fewer of its channels the forward fails{where(e)}"
    return None


def _trial(probe: nn.Module, inputs: Inputs, tried: list[Tried]) -> str | None:
    from netsmith.compression.prune import masked, prune

    report = GroupReport([g for g, _ in tried], {}, {})
    keep = {g.name: kept for g, kept in tried}
    with torch.no_grad():
        try:
            small = shell(probe)
            prune(small, report, keep)
            got = small(*inputs)
        except Exception as e:
            return f"with fewer of its channels the forward fails{where(e)}"
        if same(masked(probe, report, keep)(*inputs), got):
            return None
    return "without some of its channels the others compute something else"
