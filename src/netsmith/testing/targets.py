"""What every target must do."""

from __future__ import annotations

from dataclasses import fields

import numpy as np

from netsmith.hardware.target import Cost, FloatArray, Target
from netsmith.network.layers import KIND, LayerTable

#: Slowest and fastest plausible machine, in multiply-accumulates a second: a unit slip is a factor of 1000 or more.
_RATES = (1e2, 1e18)
_LONGEST_S, _MOST_J = 1e4, 1e6


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


def check_target(target: Target, table: LayerTable | None = None) -> None:
    """Prove the contract of a target on a table of shape ``(L,)`` (an example by default).

    Checked: equal costs for equal tables, the input left alone, shapes, finite and non-negative values in a plausible
    SI range, a population priced as its members one by one, rows priced independently of each other, and costs that
    do not fall with more channels or a larger batch if ``capabilities.monotone``.

    Raises:
        AssertionError: one sentence on what is broken.
    """
    assert target.name, "the target has no name"
    assert target.capabilities.bits, f"{target.name}: capabilities.bits is empty"
    if table is None:
        table = example_table(target.capabilities.bits[0])
    before = {name: column.copy() for name, column in table.columns.items()}
    cost = target.cost(table)
    again = target.cost(table)
    for name, column in table.columns.items():
        assert (column == before[name]).all(), f"{target.name}: cost() changed the column {name!r} of its input"
    for name, values in _arrays(cost).items():
        where = f"{target.name}: {name}"
        assert values.shape == (len(table),), f"{where} has shape {values.shape}, expected {(len(table),)}"
        assert np.isfinite(values).all() and (values >= 0).all(), f"{where} has a value that is negative or not finite"
        assert (values == _arrays(again)[name]).all(), f"{where} differs between two calls on one table"
    assert np.isfinite(cost.fixed_s) and cost.fixed_s >= 0, f"{target.name}: fixed_s is negative or not finite"
    _plausible(target, table, cost)
    _population(target, table)
    _rows(target, table, cost)
    if target.capabilities.monotone:
        _monotone(target, table, cost)


def _arrays(cost: Cost) -> dict[str, FloatArray]:
    numeric = [f.name for f in fields(cost) if f.name not in ("bound", "fixed_s", "energy_parts")]
    arrays = {name: getattr(cost, name) for name in numeric if getattr(cost, name) is not None}
    return arrays | {f"energy_parts[{name!r}]": values for name, values in cost.energy_parts.items()}


def _plausible(target: Target, table: LayerTable, cost: Cost) -> None:
    macs, seconds = table.macs, cost.latency_s
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


def _population(target: Target, table: LayerTable) -> None:
    members = [table, _scaled(table, 2, "c_out"), _scaled(table, 3, "c_in")]
    stacked = {c: np.stack([m.columns[c] for m in members]) for c in ("c_in", "c_out", "groups")}
    whole = _arrays(target.cost(table.replace(**stacked)))
    for i, member in enumerate(members):
        for name, values in _arrays(target.cost(member)).items():
            shape = np.shape(whole[name])
            assert shape == (len(members), len(table)), f"{target.name}: {name} of a population has shape {shape}"
            same = np.allclose(whole[name][i], values, rtol=1e-9, atol=0)
            assert same, f"{target.name}: {name} of a population is not that of its members one by one"


def _rows(target: Target, table: LayerTable, cost: Cost) -> None:
    order = np.arange(len(table))[::-1]
    for index in (order, np.array([0]), np.array([len(table) - 1]), np.arange(len(table) // 2)):
        part = _arrays(target.cost(table.take(index)))
        for name, values in _arrays(cost).items():
            same = np.allclose(part[name], values[index], rtol=1e-9, atol=0)
            assert same, f"{target.name}: {name} of a row depends on the other rows; costs must add up"


def _monotone(target: Target, table: LayerTable, cost: Cost) -> None:
    grown = {
        "more output channels": target.cost(_scaled(table, 2, "c_out")),
        "more input channels": target.cost(_scaled(table, 2, "c_in")),
        "a larger batch": target.cost(table, batch=4),
    }
    for what, more in grown.items():
        for name, values in _arrays(cost).items():
            falls = _arrays(more)[name] < values * (1 - 1e-9)
            names = [n for n, f in zip(table.names, falls, strict=True) if f]
            assert not falls.any(), (
                f"{target.name}: {name} of {names[:1]} falls with {what}, but it claims monotone costs"
            )
