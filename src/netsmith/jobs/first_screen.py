"""What a compression says of its network before it begins."""

from __future__ import annotations

from collections.abc import Iterator

from netsmith.decisions.widths import idle_kernels
from netsmith.hardware.target import Target, limits_of, unknown_costs
from netsmith.jobs.config import CompressConfig, Quantize, chosen
from netsmith.jobs.subject import Subject
from netsmith.network.graph import count_parameters
from netsmith.units import format_count, room_of

_FROZEN = 6  #: layers whose reason is said; the report has them all


def first_screen(subject: Subject, target: Target, config: CompressConfig) -> Iterator[str]:
    """Sentences on the network and its data, on what may change, and on what the target or nobody can do."""
    table, space, bits = subject.graph.layers, subject.space, target.capabilities.bits
    yield from subject.loaded.notes
    yield (
        f"{subject.loaded.spec}: {int(table.is_compute.sum())} layers, {format_count(float(table.macs.sum()))} MACs, "
        f"{format_count(float(count_parameters(subject.model)))} parameters; {subject.task.note}"
    )
    yield from subject.task.sentences
    frozen = space.frozen
    yield f"can change: {', '.join(kind.says() for kind in space.kinds)}; frozen: {len(frozen)}"
    if (32, 32) not in bits and space.scheme == "linear":
        w, a = bits[0]
        yield (
            f"{config.target} has no floating point: every layer becomes an integer layer, and the network "
            f"as given is priced at {w}-bit weights and {a}-bit activations"
        )
    if limits := limits_of(target):
        yield f"{config.target} has room for {room_of(limits)}: these are budgets as well"
    quantize = chosen(config.methods, Quantize)
    if quantize and (idle := idle_kernels(target.capabilities, quantize.least_bits)):
        yield f"{config.target}: {idle}"
    yield from (*unknown_costs(table), *subject.graph.warnings)
    yield from (f"  {layer}: {reason}" for layer, reason in list(frozen.items())[:_FROZEN])
