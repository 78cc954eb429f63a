"""Columns of a flat table: what they are by the names that they go by, and their units."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from netsmith.errors import InputError, shown
from netsmith.hardware.devices.readers.assemble import Time
from netsmith.hardware.devices.readers.raw import Line, Raw
from netsmith.hardware.devices.readers.units import JOULES, SECONDS, seconds_per, split_unit
from netsmith.hardware.table.numbers import number, whole

#: What a column is, by the names that it goes by.
_ALIASES = {
    "name": ("name", "layer", "layer_name", "module"),
    "kind": ("kind", "type", "op", "op_type", "operator", "layer_type"),
    "c_in": ("c_in", "cin", "in_channels", "input_channels", "channels_in", "in_ch", "ic", "in_c", "in_features"),
    "c_out": ("c_out", "cout", "out_channels", "output_channels", "channels_out", "out_ch", "oc", "out_c", "filters",
              "out_features"),
    "kernel": ("kernel", "kernel_size", "ksize", "k", "ks"),
    "kernel_h": ("kernel_h", "kh"), "kernel_w": ("kernel_w", "kw"),
    "stride": ("stride", "strides"),
    "groups": ("groups", "group", "g"),
    "in": ("size", "in_size", "input_size", "resolution", "feature_size", "hw_in", "hw"),
    "out": ("out_size", "output_size", "hw_out"),
    "h_in": ("h", "h_in", "in_h", "hin", "height", "input_height"),
    "w_in": ("w", "w_in", "in_w", "win", "width", "input_width"),
    "h_out": ("h_out", "out_h", "hout", "output_height", "tokens"), "w_out": ("w_out", "out_w", "wout", "output_width"),
    "activation": ("activation", "act"),
    "bits": ("bits", "bit_width", "precision_bits"),
    "w_bits": ("w_bits", "weight_bits", "wbits", "w_bit"),
    "a_bits": ("a_bits", "activation_bits", "act_bits", "abits", "a_bit"),
    "runs": ("runs", "n", "count", "repeats", "samples"),
}  # fmt: skip
_NAMES = {alias: column for column, aliases in _ALIASES.items() for alias in aliases}
_TIMES = ("latency", "time", "mean", "median", "median_latency", "mean_latency", "runtime", "duration", "elapsed",
          "avg", "latency_mean", "latency_median", "cycles", "")  # fmt: skip
_SPREADS = {"iqr": 1.0, "spread": 1.0, "std": 1.349, "stdev": 1.349, "latency_std": 1.349}  # of a normal distribution


@dataclass(frozen=True)
class Columns:
    """Names of the file's columns by what they are, and the factors of those with units."""

    shape: dict[str, str]
    time: tuple[str, float]
    energy: tuple[str, float] | None
    spread: tuple[str, float] | None


def columns_of(raw: Raw, head: list[str]) -> Columns:
    """What the columns named ``head`` are; names that mean nothing here are passed over."""
    shape: dict[str, str] = {}
    times: list[tuple[str, float | None]] = []
    energy = spread = None
    for column in head:
        plain = column.strip().lower().replace(" ", "_").replace("-", "_")
        word, factor = split_unit(plain, SECONDS)
        joule, per_joule = split_unit(plain, JOULES)
        if plain in _NAMES:
            if _NAMES[plain] in shape:
                raise InputError(
                    f"{raw.path}: columns {shown(shape[_NAMES[plain]])} and {shown(column)} are both "
                    f"{_NAMES[plain]}; keep one"
                )
            shape[_NAMES[plain]] = column
        elif word in _SPREADS:
            spread = (column, _SPREADS[word] * (factor if factor is not None else _default_unit(raw, column)))
        elif joule == "energy":
            factor = per_joule if per_joule is not None else _energy_unit(raw, column)
            energy = (column, factor)
        elif word in _TIMES:
            times.append((column, factor))
    if len(times) != 1:
        what = (
            "no column of times" if not times else f"more than one column of times ({', '.join(c for c, _ in times)})"
        )
        raise InputError(
            f"{raw.path} has {what}; its columns are {', '.join(head)}: name exactly one latency_ms, latency_us or "
            "latency_s"
        )
    column, scale = times[0]
    if scale is not None and "unit" in raw.meta and _default_unit(raw, column) != scale:
        raise InputError(
            f"{raw.path}: the column {shown(column)} and unit={raw.meta['unit']} contradict each other; drop one"
        )
    return Columns(shape, (column, scale if scale is not None else _default_unit(raw, column)), energy, spread)


def _default_unit(raw: Raw, column: str) -> float:
    unit = raw.meta.get("unit")
    if not unit:
        raise InputError(
            f"{raw.path} does not say the unit of its column {shown(column)}; name it latency_ms, latency_us or "
            "latency_s, "
            "or give unit=ms (cycles: unit=cycles@200MHz)"
        )
    return seconds_per(str(unit), str(raw.path))


def _energy_unit(raw: Raw, column: str) -> float:
    unit = str(raw.meta.get("energy_unit", "")).lower()
    if unit not in JOULES:
        raise InputError(
            f"{raw.path} does not say the unit of its column {shown(column)}; name it energy_mj or energy_j"
        )
    return JOULES[unit]


def time_of(raw: Raw, line: Line, found: Columns) -> Time:
    """Seconds, spread, runs and energy of a line."""

    def given(column: str, read: Callable[[Any, str], float] = number) -> float | None:
        value = line.cells.get(column)
        return None if value is None else read(value, f"{raw.path}, {line.where}, column {shown(column)}")

    for column, _ in filter(None, (found.time, found.energy)):  # NaN is no price; of a spread, it is not stated
        if column in line.void:
            number(line.void[column], f"{raw.path}, {line.where}, column {shown(column)}")
    seconds = given(found.time[0])
    if seconds is None:
        raise InputError(
            f"{raw.path}, {line.where}: column {shown(found.time[0])} is empty; give a time or drop the line"
        )
    energy = given(found.energy[0]) if found.energy else None
    spread = given(found.spread[0]) if found.spread else None
    runs = given(found.shape["runs"], whole) if "runs" in found.shape else None
    return Time(
        line.where, seconds * found.time[1], None if spread is None or not found.spread else spread * found.spread[1],
        0 if runs is None else int(runs), None if energy is None or not found.energy else energy * found.energy[1],
    )  # fmt: skip
