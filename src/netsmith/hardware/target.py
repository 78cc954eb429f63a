"""The target contract: a pure function from a layer table to costs, and the registry of targets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePath
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from netsmith.errors import InputError, did_you_mean, shown
from netsmith.network.layers import LayerTable
from netsmith.progress import Progress

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Cost:
    """Costs of a table for the whole batch, each of shape ``(..., L)`` in SI units; ``None`` where there is no model.

    Attributes:
        traffic_bytes: to and from main memory.
        bound: what limits a row: "compute", "memory" or "overhead".
        fixed_s: latency of a run that belongs to no row.
        cycles: of the target's clock.
        energy_parts: "compute", "buffers", "dram", "static", as far as the target tells them apart; they sum to
            ``energy_j``.
    """

    latency_s: FloatArray
    energy_j: FloatArray | None = None
    traffic_bytes: FloatArray | None = None
    bound: NDArray[np.str_] | None = None
    fixed_s: float = 0.0
    cycles: FloatArray | None = None
    energy_parts: Mapping[str, FloatArray] = field(default_factory=dict)

    def times(self, calls: NDArray[np.int64]) -> Cost:
        """Costs of rows that run ``calls`` times, ``(..., L)``; what belongs to no row stays."""

        def all_runs(values: FloatArray | None) -> FloatArray | None:
            return None if values is None else values * calls

        return replace(
            self, latency_s=self.latency_s * calls, energy_j=all_runs(self.energy_j),
            traffic_bytes=all_runs(self.traffic_bytes), cycles=all_runs(self.cycles),
            energy_parts={name: values * calls for name, values in self.energy_parts.items()},
        )  # fmt: skip


@dataclass(frozen=True)
class Roof:
    """The two roofs of a target at one pair of bit-widths.

    Rows that take less than ``least_s`` have no rate to hold against them: their time is mostly that of the clock.
    """

    macs_per_s: float
    bytes_per_s: float
    least_s: float = 0.0

    @property
    def ridge(self) -> float:
        """Multiply-accumulates a byte from which a layer can be bound by compute."""
        return self.macs_per_s / self.bytes_per_s


@dataclass(frozen=True)
class Capabilities:
    """What a target executes.

    Attributes:
        bits: widths with a kernel of their own, as (weight, activation) pairs; others are *simulated*. The first is
            what a network as given runs at.
        channel_multiple: preferred granularity of channel counts.
        measured: True if costs were measured on the device, False if they come from a model.
        runs_here: whole networks can be timed on it from here; otherwise they are predicted only.
        monotone: more channels or a larger batch never cost less.
        by_row: rows are priced independently of each other, as a search needs it.
    """

    bits: tuple[tuple[int, int], ...] = ((32, 32), (8, 8))
    channel_multiple: int = 1
    measured: bool = False
    runs_here: bool = False
    monotone: bool = True
    by_row: bool = True


class Target(Protocol):
    """A piece of hardware with a cost model. ``cost`` has no state that a caller can see: equal tables, equal costs.

    A target may also have ``prepare(table, progress)`` (it measures what it lacks), ``settings``, ``roof`` and
    ``limits``; see :func:`prepare_target`, :func:`settings_of`, :func:`roof_of` and :func:`limits_of`; and
    ``integer_input``, where networks whose first layers are integer layers are handed integers.
    """

    name: str
    capabilities: Capabilities

    def cost(self, table: LayerTable, batch: int = 1) -> Cost:
        """Price one run of every row of ``table`` (``(..., L)``), whatever its ``calls``, which :func:`price` sees to.

        Glue that the target does not model costs 0.
        """
        ...


def price(target: Target, table: LayerTable, batch: int = 1) -> Cost:
    """What all runs of every row of ``table`` (``(..., L)``) cost on ``target``; rows that never run cost nothing.

    Raises:
        InputError: the target cannot run a row, or not that batch.
    """
    if (table.calls == 1).all():
        return target.cost(table, batch)
    return target.cost(table.replace(calls=1), batch).times(table.calls)


def target_of(spec: str, threads: int = 1) -> Target:
    """The target that an option names; this machine runs on that many threads.

    Raises:
        InputError: see :func:`get_target`.
    """
    return get_target(spec, threads=threads) if spec == "cpu" else get_target(spec)


def has_energy(target: Target) -> bool:
    """Whether a target has a model of energy."""
    return target.cost(LayerTable.from_rows([])).energy_j is not None


def unknown_costs(table: LayerTable) -> list[str]:
    """A sentence on the operators whose cost nobody knows, if there are any; figures of a network lack them."""
    if not table.unknown:
        return []
    return [f"nobody here knows what {_shown(table)} costs: MACs and predicted figures lack it"]


def _shown(table: LayerTable) -> str:
    return ", ".join(table.unknown[:3]) + (", ..." if len(table.unknown) > 3 else "")


def need_known(costs: Iterable[str], target: Target, table: LayerTable) -> None:
    """Refuse budgets on costs that would leave out what nobody knows the cost of.

    Latency as it is measured on whole networks has everything in it, and so have bytes.

    Args:
        costs: names of the costs that have a budget.

    Raises:
        InputError: names the operators.
    """
    measured = {"size", "latency"} if target.capabilities.runs_here else {"size"}
    lacking = [cost for cost in costs if cost not in measured]
    if table.unknown and lacking:
        raise InputError(
            f"nobody here knows what {_shown(table)} costs, so a budget on {' or '.join(lacking)} would be kept "
            f"without it: drop --{lacking[0]}; --size, and --latency as measured with --target cpu, hold for all of it"
        )


def settings_of(target: Target) -> Mapping[str, Any]:
    """``target.settings``: configuration and rules that its results are to be read with, as JSON values."""
    return getattr(target, "settings", {})


def limits_of(target: Target) -> Mapping[str, float]:
    """``target.limits``: the most that it has room for, in bytes of ``memory`` (activations) and ``size`` (the packed
    network); nothing where it has no such limits."""
    return dict(getattr(target, "limits", {}))


def roof_of(target: Target, w_bits: int, a_bits: int) -> Roof | None:
    """``target.roof(w_bits, a_bits)``: peak rate and memory bandwidth; None where the target does not know them."""
    roof = getattr(target, "roof", None)
    return None if roof is None else roof(w_bits, a_bits)


def prepare_target(target: Target, table: LayerTable | Callable[[], LayerTable], progress: Progress) -> None:
    """``target.prepare(table, progress)``, for a target that measures what it lacks; others need nothing.

    Args:
        table: rows that will be priced, or a function that makes them, for there may be many.
        progress: shows the stage "latency table", if there is one.
    """
    prepare = getattr(target, "prepare", None)
    if prepare is not None:
        progress.stage("latency table")
        prepare(table() if callable(table) else table, progress=progress.update)


def as_run(table: LayerTable, capabilities: Capabilities) -> LayerTable:
    """The table as a target runs it.

    Rows that read floats compute in floating point: shared weights, of whatever width, are decoded when a network is
    loaded. On a machine without floating point such rows take its first bit-widths.
    """
    given = (32, 32) if (32, 32) in capabilities.bits else capabilities.bits[0]
    return table.replace(
        w_bits=np.where(np.maximum(table.w_bits, table.a_bits) >= 32, given[0], table.w_bits),
        a_bits=np.where(table.a_bits >= 32, given[1], table.a_bits),
    )


_REGISTRY: dict[str, Callable[..., Target]] = {}
_FILES: dict[str, Callable[..., Target]] = {}
#: Files that are named after the target that opens them.
_OPENED = {".safetensors": "predictor"} | dict.fromkeys((".csv", ".tsv", ".parquet", ".json", ".yaml", ".yml"), "table")


def register_target(name: str) -> Callable[[Callable[..., Target]], Callable[..., Target]]:
    """Register a factory under ``name``; ``name:ARGUMENT`` passes the argument on."""

    def add(factory: Callable[..., Target]) -> Callable[..., Target]:
        _REGISTRY[name] = factory
        return factory

    return add


def register_target_file(suffix: str, opened: Callable[..., Target]) -> None:
    """Let a file whose name ends with ``suffix`` be a target; ``opened`` takes its path."""
    _FILES[suffix] = opened


def target_names() -> list[str]:
    """Names of all registered targets."""
    return sorted(_REGISTRY)


def get_target(spec: str, **options: Any) -> Target:
    """Return the target ``NAME``, ``NAME:ARGUMENT``, or that of a hardware file, ``FILE.toml``.

    Raises:
        InputError: unknown name; the nearest known one is proposed. Or the file cannot be used.
    """
    for suffix, opened in _FILES.items():
        if spec.endswith(suffix):
            return opened(spec, **options)
    name, _, argument = spec.partition(":")
    if name not in _REGISTRY:
        kind = _OPENED.get(PurePath(spec).suffix.lower())
        hint = f" (did you mean '{kind}:{spec}'?)" if kind else did_you_mean(name, target_names())
        raise InputError(f"unknown target {shown(spec)}{hint}; known targets: {', '.join(target_names())}")
    return _REGISTRY[name](argument, **options) if argument else _REGISTRY[name](**options)
