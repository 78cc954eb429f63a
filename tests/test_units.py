from __future__ import annotations

import pytest

from netsmith.errors import InputError
from netsmith.units import (
    Budget,
    check_budgets,
    format_bytes,
    format_count,
    format_joules,
    format_seconds,
    parse_budget,
    parse_input_shape,
)


@pytest.mark.parametrize(
    ("text", "quantity", "value"),
    [
        ("3ms", "latency", 3e-3),
        ("250us", "latency", 250e-6),
        ("250µs", "latency", 250e-6),
        (" 1.5 s ", "latency", 1.5),
        ("3MS", "latency", 3e-3),
        ("2mJ", "energy", 2e-3),
        ("2mj", "energy", 2e-3),
        ("300KB", "size", 300e3),
        ("300kb", "size", 300e3),
        ("1.2MB", "size", 1.2e6),
        ("1MiB", "size", 2.0**20),
        ("30M", "macs", 30e6),
        ("30MMACs", "macs", 30e6),
        ("30MMAC", "macs", 30e6),
        ("1e6MACs", "macs", 1e6),
    ],
)
def test_absolute_budgets(text: str, quantity: str, value: float) -> None:
    budget = parse_budget(text, quantity)  # type: ignore[arg-type]
    assert (budget.cost, budget.relative) == (quantity, False)
    assert budget.value == pytest.approx(value)
    assert budget.limit(99.0) == budget.value


def test_relative_budget() -> None:
    budget = parse_budget("0.5x", "latency")
    assert budget == Budget("latency", 0.5, relative=True)
    assert budget.limit(8e-3) == 4e-3
    assert str(budget) == "0.5x"


@pytest.mark.parametrize(
    ("text", "quantity", "says"),
    [
        ("0.5", "latency", "0.5 has no unit: write 0.5x or 0.5ms"),
        ("30", "macs", "30 has no unit: write 30M"),
        ("", "size", "empty"),
        ("   ", "size", "empty"),
        ("-3ms", "latency", "above 0"),
        ("0ms", "latency", "above 0"),
        ("0x", "latency", "above 0"),
        ("1e999ms", "latency", "finite"),
        ("1e308GB", "size", "out of range"),
        ("nan", "latency", "no number"),
        ("nanms", "latency", "no number"),
        ("inf", "latency", "no number"),
        ("fast", "latency", "no number"),
        ("1.0x", "latency", "no saving"),
        ("2x", "latency", "no saving"),
        ("50%", "latency", "write 0.5x"),
        ("3MB", "latency", "unit of size, not of latency"),
        ("3ms", "energy", "unit of latency, not of energy"),
        ("3lightyears", "latency", "no unit of latency"),
        ("2MJ", "energy", "no unit of energy"),  # not silently two millijoules
        ("3ms 4ms", "latency", "no unit of latency"),
    ],
)
def test_bad_budgets(text: str, quantity: str, says: str) -> None:
    with pytest.raises(InputError) as error:
        parse_budget(text, quantity)  # type: ignore[arg-type]
    message = str(error.value)
    assert says in message
    assert "\n" not in message


def test_contradictory_budgets() -> None:
    one, other = parse_budget("0.5x", "latency"), parse_budget("3ms", "latency")
    size = parse_budget("0.5x", "size")
    assert check_budgets([one, size]) == {"latency": one, "size": size}
    with pytest.raises(InputError, match=r"two budgets of latency, 0\.5x and 3\.00 ms"):
        check_budgets([one, size, other])
    with pytest.raises(InputError, match="no budget"):
        check_budgets([])


@pytest.mark.parametrize(
    ("text", "shape"),
    [("3,224,224", (3, 224, 224)), (" 1, 8, 8 ", (1, 8, 8)), ("3x32x32", (3, 32, 32)), ("(64,)", (64,)), ("16", (16,))],
)
def test_input_shape(text: str, shape: tuple[int, ...]) -> None:
    assert parse_input_shape(text) == shape


@pytest.mark.parametrize("text", ["", "3,-1,2", "3,0,2", "a,b", "3,,2", "3.5,2,2", "1,2,3,4,5", "²,2,2"])
def test_bad_input_shape(text: str) -> None:
    with pytest.raises(InputError, match="input shape"):
        parse_input_shape(text)


def test_formats() -> None:
    assert [format_seconds(v) for v in (0.00312, 250e-6, 1.0, 999.7e-6, 0.0, 12e-3)] == [
        "3.12 ms", "250 us", "1.00 s", "1.00 ms", "0 s", "12.0 ms",
    ]  # fmt: skip
    assert [format_bytes(v) for v in (300e3, 1.2e6, 12, 999, 999.9e3)] == [
        "300 KB",
        "1.20 MB",
        "12 B",
        "999 B",
        "1.00 MB",
    ]
    assert [format_count(v) for v in (30.1e6, 999, 0, 1500, 2.5e12)] == ["30.1 M", "999", "0", "1.50 K", "2.50 T"]
    assert format_joules(2e-3) == "2.00 mJ"
    assert format_seconds(float("inf")) == "inf"
    assert format_seconds(-3e-3) == "-3.00 ms"
