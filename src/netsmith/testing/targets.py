"""What every target must do."""

from __future__ import annotations

from dataclasses import fields

import numpy as np

from netsmith.hardware.target import Cost, FloatArray, Target, roof_of
from netsmith.network.layers import KIND, LayerTable

#: Slowest and fastest plausible machine, in multiply-accumulates a second: a unit slip is a factor of 1000 or more.
_RATES = (1e2, 1e18)
_LONGEST_S, _MOST_J = 1e4, 1e6
_BOUNDS = ("compute", "memory", "overhead")
_PARTS = ("compute", "buffers", "dram", "static")
#: Sums and quotients of the same numbers in another order.
_ROUNDING = 1e-9


def example_table(bits: tuple[int, int] = (32, 32)) -> LayerTable:
    """A small network with every sort of compute row and some glue, at one pair of bit-widths."""
    conv, linear, matmul = KIND["conv"], KIND["linear"], KIND["matmul"]
    image = {"h_in": 16, "w_in": 16, "h_out": 16, "w_out": 16}
    k3 = {"kernel_h": 3, "kernel_w": 3}
    rows = [
        {"name": "stem", "kind": conv, "c_in": 3, "c_out": 32, "bias": 1} | k3 | image,
        {"name": "depthwise", "kind": conv, "c_in": 32, "c_out": 32, "groups": 32} | k3 | image,
        {"name": "point", "kind": conv, "c_in": 32, "c_out": 64} | image,
        {"name": "wide", "kind": conv, "c_in": 64, "c_out": 64, "stride": 2} | k3 | image | {"h_out": 8, "w_out": 8},
        {"name": "add", "kind": KIND["add"], "c_in": 64, "c_out": 64} | image,
        {"name": "pool", "kind": KIND["avgpool"], "c_in": 64, "c_out": 64, "h_in": 8, "w_in": 8},
        {"name": "attention", "kind": matmul, "c_in": 64, "c_out": 64, "groups": 4, "h_in": 16, "h_out": 16},
        {"name": "head", "kind": linear, "c_in": 64, "c_out": 10, "bias": 1},
    ]
    return LayerTable.from_rows([row | {"w_bits": bits[0], "a_bits": bits[1]} for row in rows])


def check_target(target: Target, table: LayerTable | None = None, *, batch: int = 1) -> None:
    """Prove the contract of a target on a table of shape ``(L,)`` (an example by default).

    Checked: equal costs for equal tables, the input left alone, shapes, finite and non-negative values in a plausible
    SI range, energy that is the sum of its parts, a population priced as its members one by one, rows priced
    independently of each other, costs that do not fall with more channels or a larger batch if
    ``capabilities.monotone``, and, for a target that is modelled and has a ``roof``, that no row beats a roof at any of
    ``capabilities.bits``.

    Args:
        target: what is to be checked.
        table: layers that it can price.
        batch: samples at once, for every check.

    Raises:
        AssertionError: one sentence on what is broken.
    """
    assert target.name, "the target has no name"
    assert target.capabilities.bits, f"{target.name}: capabilities.bits is empty"
    if table is None:
        table = example_table(target.capabilities.bits[0])
    before = {name: column.copy() for name, column in table.columns.items()}
    cost = target.cost(table, batch=batch)
    again = target.cost(table, batch=batch)
    for name, column in table.columns.items():
        assert (column == before[name]).all(), f"{target.name}: cost() changed the column {name!r} of its input"
    for name, values in _arrays(cost).items():
        where = f"{target.name}: {name}"
        assert values.shape == (len(table),), f"{where} has shape {values.shape}, expected {(len(table),)}"
        assert np.isfinite(values).all() and (values >= 0).all(), f"{where} has a value that is negative or not finite"
        assert (values == _arrays(again)[name]).all(), f"{where} differs between two calls on one table"
    assert np.isfinite(cost.fixed_s) and cost.fixed_s >= 0, f"{target.name}: fixed_s is negative or not finite"
    _labels(target, table, cost)
    _energy(target, cost)
    _plausible(target, table, cost, batch)
    _population(target, table, batch)
    _rows(target, table, cost, batch)
    if target.capabilities.monotone:
        _monotone(target, table, cost, batch)
    if not target.capabilities.measured:
        _roofs(target, table, batch)


def _arrays(cost: Cost) -> dict[str, FloatArray]:
    """Every numeric array of a cost by name; parts of the energy as ``energy_parts[NAME]``."""
    numeric = [f.name for f in fields(cost) if f.name not in ("bound", "fixed_s", "energy_parts")]
    arrays = {name: getattr(cost, name) for name in numeric if getattr(cost, name) is not None}
    return arrays | {f"energy_parts[{name!r}]": values for name, values in cost.energy_parts.items()}


def _labels(target: Target, table: LayerTable, cost: Cost) -> None:
    if cost.bound is None:
        return
    assert cost.bound.shape == (len(table),), f"{target.name}: bound has shape {cost.bound.shape}"
    unknown = sorted(set(cost.bound.tolist()) - set(_BOUNDS))
    assert not unknown, f"{target.name}: bound says {unknown[:1]}, which is none of {', '.join(_BOUNDS)}"


def _energy(target: Target, cost: Cost) -> None:
    """The parts of the energy have known names and sum to it."""
    if not cost.energy_parts:
        return
    unknown = sorted(set(cost.energy_parts) - set(_PARTS))
    assert not unknown, f"{target.name}: energy_parts has {unknown[:1]}, which is none of {', '.join(_PARTS)}"
    assert cost.energy_j is not None, f"{target.name}: energy_parts are given, but energy_j is not"
    total = np.sum(list(cost.energy_parts.values()), axis=0)
    same = np.allclose(total, cost.energy_j, rtol=_ROUNDING, atol=0)
    assert same, f"{target.name}: energy_parts do not sum to energy_j"


def _plausible(target: Target, table: LayerTable, cost: Cost, batch: int) -> None:
    macs, seconds = table.macs * batch, cost.latency_s
    work = (macs > 0) & table.is_compute
    assert (seconds[work] > 0).all(), f"{target.name}: a row with multiply-accumulates takes no time"
    rates = macs[work] / seconds[work]
    ok = (rates >= _RATES[0]) & (rates <= _RATES[1])
    assert ok.all(), (
        f"{target.name}: {rates[~ok][:1]} multiply-accumulates a second is no machine; is latency in seconds?"
    )
    assert float(seconds.sum()) < _LONGEST_S, f"{target.name}: {seconds.sum():.3g} s for a small table; is it seconds?"
    if cost.energy_j is not None:
        joules = float(cost.energy_j.sum())
        assert joules < _MOST_J, f"{target.name}: {joules:.3g} J for a small table; is energy in joules?"
        per_mac = cost.energy_j[work] / macs[work]
        assert (per_mac < 1e-3).all(), f"{target.name}: {per_mac.max():.3g} J a multiply-accumulate; is it joules?"


def _scaled(table: LayerTable, factor: int, column: str) -> LayerTable:
    """Multiply channels of every row whose groups allow it; depthwise rows grow as a whole."""
    depthwise = table.is_depthwise
    scaled = {column: getattr(table, column) * factor}
    for other in ("c_in", "c_out", "groups"):
        if other != column:
            value = getattr(table, other)
            scaled[other] = np.where(depthwise, value * factor, value)
    return table.replace(**scaled)


def _population(target: Target, table: LayerTable, batch: int) -> None:
    members = [table, _scaled(table, 2, "c_out"), _scaled(table, 3, "c_in")]
    stacked = {c: np.stack([m.columns[c] for m in members]) for c in ("c_in", "c_out", "groups")}
    whole = _arrays(target.cost(table.replace(**stacked), batch=batch))
    for i, member in enumerate(members):
        for name, values in _arrays(target.cost(member, batch=batch)).items():
            shape = np.shape(whole[name])
            assert shape == (len(members), len(table)), f"{target.name}: {name} of a population has shape {shape}"
            same = np.allclose(whole[name][i], values, rtol=_ROUNDING, atol=0)
            assert same, f"{target.name}: {name} of a population is not that of its members one by one"


def _rows(target: Target, table: LayerTable, cost: Cost, batch: int) -> None:
    order = np.arange(len(table))[::-1]
    for index in (order, np.array([0]), np.array([len(table) - 1]), np.arange(len(table) // 2)):
        part = _arrays(target.cost(table.take(index), batch=batch))
        for name, values in _arrays(cost).items():
            same = np.allclose(part[name], values[index], rtol=_ROUNDING, atol=0)
            assert same, f"{target.name}: {name} of a row depends on the other rows; costs must add up"


def _monotone(target: Target, table: LayerTable, cost: Cost, batch: int) -> None:
    grown = {
        "more output channels": target.cost(_scaled(table, 2, "c_out"), batch=batch),
        "more input channels": target.cost(_scaled(table, 2, "c_in"), batch=batch),
        "a larger batch": target.cost(table, batch=4 * batch),
    }
    for what, more in grown.items():
        for name, values in _arrays(cost).items():
            falls = _arrays(more)[name] < values * (1 - _ROUNDING)
            names = [n for n, f in zip(table.names, falls, strict=True) if f]
            assert not falls.any(), (
                f"{target.name}: {name} of {names[:1]} falls with {what}, but it claims monotone costs"
            )


def _roofs(target: Target, table: LayerTable, batch: int) -> None:
    """At every pair of widths, no row is faster than its work at the peak or its traffic at the bandwidth."""
    for w_bits, a_bits in target.capabilities.bits:
        roof = roof_of(target, w_bits, a_bits)
        if roof is None:
            continue
        where = f"{target.name}: at {w_bits}x{a_bits} bits"
        ends = np.array([roof.macs_per_s, roof.bytes_per_s])
        assert np.isfinite(ends).all() and (ends > 0).all(), f"{where} its roof is not positive and finite"
        cost = target.cost(_at_bits(table, w_bits, a_bits), batch=batch)
        # both operands of a product of activations have the activation bits, so it has the roof of that pair
        here = (table.kind != KIND["matmul"]) | (w_bits == a_bits)
        limits = {"peak": np.where(here, table.macs, 0) * batch / roof.macs_per_s}
        if cost.traffic_bytes is not None:
            limits["bandwidth"] = cost.traffic_bytes / roof.bytes_per_s
        for what, least in limits.items():
            beaten = cost.latency_s < least * (1 - _ROUNDING)
            names = [n for n, b in zip(table.names, beaten, strict=True) if b]
            assert not beaten.any(), f"{where} {names[:1]} is faster than the {what} of its roof allows"


def _at_bits(table: LayerTable, w_bits: int, a_bits: int) -> LayerTable:
    """The table with all compute rows at one pair of widths."""
    return table.replace(
        w_bits=np.where(table.is_compute, w_bits, table.w_bits), a_bits=np.where(table.is_compute, a_bits, table.a_bits)
    )
