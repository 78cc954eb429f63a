"""Microcontrollers: cycles by hand, and limits of their own."""

from __future__ import annotations

from typing import Any

import pytest

from netsmith.errors import InputError
from netsmith.hardware import load_config
from netsmith.hardware.simulated.families import packaged_names
from netsmith.hardware.target import get_target, limits_of
from netsmith.jobs.config import Budgets
from netsmith.network.layers import KIND, LayerTable
from netsmith.testing import check_target

SMALL: dict[str, Any] = {
    "family": "microcontroller", "sram_bytes": 3000, "sram_reserve_bytes": 1000, "flash_bytes": 8000,
    "frequency_hz": 1e6, "cycles_per_mac": {"8x8": 2.0, "32x32": 8.0}, "flash_bytes_per_cycle": 0.5,
    "depthwise_factor": 3.0, "glue_cycles_per_byte": 1.5, "overhead_cycles": 100.0,
}  # fmt: skip


def test_cycles_by_hand():
    rows = [
        {"name": "conv", "kind": KIND["conv"], "c_in": 4, "c_out": 8, "kernel_h": 3, "kernel_w": 3, "h_in": 5,
         "w_in": 5, "h_out": 5, "w_out": 5, "w_bits": 8, "a_bits": 8},
        {"name": "depthwise", "kind": KIND["conv"], "c_in": 8, "c_out": 8, "groups": 8, "kernel_h": 3, "kernel_w": 3,
         "h_in": 5, "w_in": 5, "h_out": 5, "w_out": 5},
        {"name": "add", "kind": KIND["add"], "c_in": 8, "c_out": 8, "h_in": 5, "w_in": 5, "h_out": 5, "w_out": 5,
         "a_bits": 8, "w_bits": 8},
        {"name": "view", "kind": KIND["reshape"], "c_in": 8, "c_out": 8},
    ]  # fmt: skip
    target = load_config(SMALL)
    cost = target.cost(LayerTable.from_rows(rows))
    conv = 4 * 8 * 9 * 25 * 2 + 4 * 8 * 9 / 0.5 + 100
    depthwise = 8 * 9 * 25 * 8 * 3 + 8 * 9 * 4 / 0.5 + 100
    assert cost.cycles == pytest.approx([conv, depthwise, 3 * 8 * 25 * 1.5 + 100, 0])
    assert cost.latency_s == pytest.approx(cost.cycles / 1e6) and cost.energy_j is None
    check_target(target)


def test_limits_are_what_the_reserve_leaves():
    assert limits_of(load_config(SMALL)) == {"memory": 2000.0, "size": 8000.0}
    assert limits_of(get_target("roofline-edge")) == {}
    assert limits_of(get_target("mcu-256k"))["memory"] == 262144 - 32768
    assert {n for n in packaged_names() if limits_of(get_target(n))} == {"mcu-256k", "mcu-512k"}
    with pytest.raises(InputError, match="'sram_reserve_bytes' leaves nothing of 'sram_bytes'"):
        load_config(SMALL | {"sram_reserve_bytes": 3000})


def test_a_budget_is_needed_where_the_target_has_no_limits():
    Budgets().need("mcu-256k")
    for target in ("cpu", "roofline-edge"):
        with pytest.raises(InputError, match="there is no budget"):
            Budgets().need(target)
