"""Grids of configurations: what they are, and what is refused by name."""

from __future__ import annotations

import pytest

from netsmith.errors import InputError
from netsmith.hardware.simulated.families import packaged_of
from netsmith.hardware.simulated.vary import field_names, grid, read_vary, varied
from netsmith.hardware.target import get_target


def test_ranges_double_or_step_and_values_stand_between_strokes() -> None:
    assert read_vary("rows=8..32,columns=8..32:8, bandwidth=64/128/256..1024") == {
        "rows": (8, 16, 32), "columns": (8, 16, 24, 32), "bandwidth": (64, 128, 256, 512, 1024),
    }  # fmt: skip
    assert read_vary("dataflow=ws/os,clock=0.5e9..2e9,extensions=true") == {
        "dataflow": ("ws", "os"), "clock": (0.5e9, 1e9, 2e9), "extensions": (True,),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "--vary is empty"), ("rows", "is no assignment"), ("rows=8..24", "does not end at one of the doublings"),
        ("rows=8..32:5", "does not end at one of the steps of 5 from 8"), ("rows=a..b", "no range of numbers above 0"),
        ("rows=0..8", "no range"), ("rows=8,rows=9", "has 'rows' twice"), ("rows=8//9", "lacks a value"),
        ("rows=1..1000000:1", "more than 400 values"), ("rows=true..8", "no range"), ("rows=32..8", "does not end"),
    ],
)  # fmt: skip
def test_what_is_no_list_of_values_is_refused(text: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        read_vary(text)


def test_fields_are_named_or_short_and_others_refused_with_the_nearest() -> None:
    bitfusion, roofline = (type(get_target(name).config) for name in ("bitfusion", "roofline-edge"))  # type: ignore[attr-defined]
    assert field_names(bitfusion, ["rows", "bandwidth"], "--vary") == {
        "rows": "rows", "bandwidth": "dram_bits_per_cycle",
    }  # fmt: skip
    assert field_names(roofline, ["bandwidth"], "--vary") == {"bandwidth": "bandwidth_bytes_per_s"}
    for words, says in (
        (["row"], r"no field 'row' \(did you mean 'rows'"), (["bandwith"], "did you mean 'bandwidth'"),
        (["name"], "no field 'name'"), (["bandwidth", "dram_bits_per_cycle"], "dram_bits_per_cycle twice"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=says):
            field_names(bitfusion, words, "--vary")
    with pytest.raises(InputError, match="peak_macs_per_s is a table of numbers, which cannot be varied"):
        field_names(roofline, ["peak_macs_per_s"], "--vary")


def test_a_grid_has_every_pair_and_a_larger_array_takes_more_energy_a_cycle() -> None:
    base = get_target("bitfusion").config  # type: ignore[attr-defined]
    found = grid(base, {"rows": (8, 16, 32), "wbuf_bytes": (32768, 65536)})
    assert [changes["rows"] for changes, _ in found] == [8, 8, 16, 16, 32, 32]
    for changes, config in found:
        assert (config.rows, config.wbuf_bytes) == (changes["rows"], changes["wbuf_bytes"])
        assert config.core_pj_per_cycle / config.units == pytest.approx(base.core_pj_per_cycle / base.units)
        assert config.depthwise_lanes * 64 == config.units
    assert varied(base, {"rows": 32, "core_pj_per_cycle": 1}).core_pj_per_cycle == 1.0
    assert varied(base, {}) == base
    for values, says in (
        ({"rows": (0,)}, "'rows' must be at least 1, not 0"), ({"rows": ("x",)}, "must be a whole number, not 'x'"),
        ({"rows": tuple(range(1, 300)), "columns": (1, 2)}, "makes 598 configurations; at most 400"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=says):
            grid(base, values)


def test_packaged_configurations_are_known_by_family() -> None:
    assert packaged_of("bitfusion") == ["bitfusion", "bitfusion-cloud", "bitfusion-small"]
    assert packaged_of("nothing") == []
