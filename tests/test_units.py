from __future__ import annotations

import random

import pytest

from netsmith.errors import InputError
from netsmith.units import (
    Budget,
    check_budgets,
    format_apart,
    format_bytes,
    format_count,
    format_joules,
    format_least,
    format_seconds,
    over,
    parse_budget,
    parse_input_shape,
    within,
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
        ("256KB", "memory", 256e3),
        ("256KiB", "memory", 2.0**18),
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
        ("150%", "latency", "write a share below 1, for instance 0.5x"),
        ("300000", "size", "write 300000B (300 KB)"),
        ("2.5", "size", "write 2.5MB"),
        ("12", "size", "write 12MB"),
        ("256", "memory", "write 256KB"),
        ("3ms", "memory", "a unit of latency, not of memory"),
        ("250000", "latency", "write 250000us (250 ms)"),
        ("9e9", "latency", "write 9e9ns (9.00 s)"),
        ("0.0031", "latency", "write 0.0031x or 0.0031s (3.10 ms)"),
        ("30000000", "macs", "write 30000000MACs (30.0 M)"),
        ("4100000", "energy", "write 4100000uJ (4.10 J)"),
        ("1e30", "size", "write for instance 0.5x or 3MB"),
        ("1,5ms", "latency", "no number"),
        ("300_000B", "size", "no number"),
        ("3e", "latency", "no unit of latency"),
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


@pytest.mark.parametrize("quantity", ["latency", "energy", "size", "macs"])
@pytest.mark.parametrize("number", ["0.004", "0.7", "3", "512", "65536", "1000000", "123456789", "5e11"])
def test_what_a_number_without_a_unit_is_told_to_be_can_be_written(number: str, quantity: str) -> None:
    """The proposal is read as a budget, and as one that a network may have: never 300 GB for a size of 300000."""
    with pytest.raises(InputError) as error:
        parse_budget(number, quantity)  # type: ignore[arg-type]
    for proposal in str(error.value).partition(": write ")[2].split(" or "):
        budget = parse_budget(proposal.removeprefix("for instance ").split(" (")[0], quantity)  # type: ignore[arg-type]
        most = {"latency": 100.0, "energy": 1000.0, "size": 1e10, "macs": 1e13}[quantity]
        assert budget.relative or budget.value <= most


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
    assert [format_seconds(v) for v in (1e-30, 5e-13)] == ["1e-21 ns", "0.0005 ns"]  # below every unit, and not 0


def test_a_limit_and_what_is_just_over_it_do_not_read_the_same() -> None:
    assert format_apart("latency", 3e-3, 4e-3) == ("3.00 ms", "4.00 ms")
    assert format_apart("latency", 3.0e-3, 3.0004e-3) == ("3.0000 ms", "3.0004 ms")
    assert format_apart("macs", 9_420_000, 9_420_001) == ("9.420000 M", "9.420001 M")
    assert format_apart("size", 500.0, 500.0) == ("500 B", "500 B")
    assert over("macs", 9.418e6, 9.4195e6) == "MACs within 9.418 M (the smallest reachable is 9.420 M)"
    assert over("energy", 2e-3, 4.1234e-3) == "energy within 2.00 mJ (the smallest reachable is 4.13 mJ)"
    assert within({"latency": 3e-3, "size": 3e5}) == "latency within 3.00 ms and size within 300 KB"
    assert over("cells", 7.0, 9.0) == "cells within 7 (the smallest reachable is 9)"


@pytest.mark.parametrize("quantity", ["latency", "energy", "size", "macs"])
def test_the_least_that_is_reported_can_be_asked_for(quantity: str) -> None:
    rng = random.Random(0)
    for value in (10 ** rng.uniform(-5, 3) for _ in range(200)):
        value *= {"latency": 1e-2, "energy": 1e-2, "size": 1e6, "macs": 1e9}[quantity]
        text = format_least(quantity, value)
        budget = parse_budget(text if text[-1].isalpha() else f"{text}MACs", quantity)  # type: ignore[arg-type]
        assert value * (1 - 1e-8) <= budget.value <= value * 1.011 + (1 if quantity == "size" else 0)


@pytest.mark.parametrize(
    "text", ["\uff13ms", "\u00b2ms", "1_000ms", "1e5000x", "1e-400x", "nanx", "9" * 5000 + "x", "3 m\ns"]
)
def test_numbers_that_are_none_are_refused_in_a_short_line(text: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_budget(text, "latency")
    assert len(str(caught.value)) < 200 and str(caught.value).isprintable()


@pytest.mark.parametrize("text", ["3,\u00b2,8", "3,8,\uff11", "9" * 5000, "3,9999999999,8", "1," * 10_000, "1_0"])
def test_shapes_that_are_none_are_refused_in_a_short_line(text: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_input_shape(text)
    assert len(str(caught.value)) < 200 and str(caught.value).isprintable()
