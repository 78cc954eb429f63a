"""Whatever ``netsmith.allocate`` is given, it answers or says in a sentence what it needs."""

from __future__ import annotations

import warnings
from random import Random
from time import perf_counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import netsmith
from doors import sentence
from netsmith.errors import InputError

_EXTREME = (1e308, -1e308, 1e51, 1e50, -1e50, 1e30, 1e20, 1e9, 0.0, -1.0, 1e-9, 1e-50, 1e-300, 5e-324, np.inf, np.nan)
_NONSENSE: tuple[Any, ...] = (
    None, True, "a", b"x", [], {}, [[]], [[[1]]], object(), 1 + 2j, [[1, 2], [3]], [["a", "b"]], [["1", "2"]],
    [[None, 1]], [[10**400, 1]], [[True, False]], np.array([[1 + 0j, 2]]), np.array([[object()]]), np.zeros((0, 3)),
    np.array([[1, 2]], "M8[s]"), {"a": 1}, range(3), np.float64(2), float("nan"), 10**400, -(10**400), "x" * 10**5,
    {1: 2}, [[0, 0]], [[0, 1], [1, 2]], [[-1]], [[0.5]], [[10**400]], [[float("nan")]], -1, 0, 1e308, [0, 1], [[[0]]],
)  # fmt: skip


def arguments(rng: Random) -> tuple[Any, ...]:
    """Tables of all magnitudes, budgets within them, and something that is none of it in places."""
    rows, options, spread = rng.randint(1, 12), rng.randint(1, 6), rng.choice((0, 3, 25))

    def table() -> Any:
        values = [[rng.random() * 10 ** rng.uniform(-spread, spread) for _ in range(options)] for _ in range(rows)]
        for _ in range(rng.choice((0, 0, 1, 3))):
            values[rng.randrange(rows)][rng.randrange(options)] = rng.choice(_EXTREME)
        return values

    costs = {name: table() for name in ("size", "time")[: rng.randint(0, 2)]}
    budgets = {name: sum(map(min, cost)) * rng.choice((0.5, 1, 1.5, 100)) for name, cost in costs.items()}
    given = [table(), costs, budgets, [[0, rows - 1]] if rows > 1 and rng.random() < 0.3 else (), 5.0]
    if rng.random() < 0.5:
        given[rng.randrange(5)] = rng.choice(_NONSENSE)
    elif costs and rng.random() < 0.3:
        rng.choice((costs, budgets))[rng.choice(list(costs))] = rng.choice(_NONSENSE)
    return tuple(given)


@given(seed=st.integers(0, 2**32))
@settings(max_examples=50)
def test_nonsense_is_refused_in_a_sentence(seed: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sentence(lambda: netsmith.allocate(*arguments(Random(seed))))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"loss": [[1e308, 1e308]]}, r"loss has 1e\+308 at row 0, option 0; write it in a larger unit"),
        ({"loss": [["1", "2"]]}, "loss must be a rectangular table of numbers"),
        ({"costs": None}, r"costs is None; it must be a mapping from names, such as"),
        ({"budgets": {"size": True}}, "the budget 'size' is True; it must be a number"),
        ({"tied": [["a"]]}, r"tied is \[\['a'\]\]; it must be groups of row numbers"),
        ({"time_limit": float("nan")}, "time_limit is nan; it must be a number of seconds above 0"),
        ({"time_limit": 0}, "time_limit is 0; it must be a number of seconds above 0"),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, Any], says: str) -> None:
    fine: dict[str, Any] = {"loss": [[2.0, 1.0]], "costs": {"size": [[1, 2]]}, "budgets": {"size": 5}}
    with pytest.raises(InputError, match=says):
        netsmith.allocate(**(fine | change))


def test_swaps_do_not_come_round_in_a_circle_where_costs_differ_by_a_hundred_powers_of_ten() -> None:
    rng = Random(15)
    extreme = (0, 1e50, 1e-50, 1e-49, 1e49, 1e20, 1e-9, 1, 1e15, -1e50, -1, 1e30)
    for _ in range(4):
        loss = np.array([[rng.random() for _ in range(2)] for _ in range(14)])
        costs = {name: [[rng.choice(extreme) for _ in range(2)] for _ in range(14)] for name in ("size", "energy")}
        sentence(lambda loss=loss, costs=costs: netsmith.allocate(loss, costs, dict.fromkeys(costs, 0.0), time_limit=5))


def _far_apart(seed: int, rows: int, options: int) -> dict[str, Any]:
    """Tables of numbers that are up to a hundred powers of ten apart, with budgets that something keeps."""
    rng = np.random.default_rng(seed)
    shape = rng.integers(2, rows), rng.integers(2, options)
    extreme = (0, 1e50, 1e-50, 1e-49, 1e49, 1e20, 1e-9, 1, 1e15, -1e50, -1, 1e30)

    def table(negative: bool = True) -> np.ndarray:
        kind = rng.integers(4)
        powers = (50, 12)[kind - 1] if kind in (1, 2) else 0
        if powers:
            return 10.0 ** rng.uniform(-powers, powers, shape)
        made = rng.random(shape) if kind else rng.choice(extreme, shape)
        return made if negative else np.abs(made)

    loss, costs = table(), {name: table(rng.random() < 0.3) for name in "ab"}
    budgets = {}
    for name, cost in costs.items():
        low, high = cost.min(1).sum(), cost.max(1).sum()
        budgets[name] = max(0.0, float(low + (high - low) * 10.0 ** rng.uniform(-3, 0) * rng.random()))
    return {"loss": loss, "costs": costs, "budgets": budgets}


@pytest.mark.parametrize(("seed", "rows", "options"), [(8, 25, 6), (1011, 40, 8), (1, 40, 8), (2, 40, 8)])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_limit_of_time_holds_whatever_the_spread(seed: int, rows: int, options: int) -> None:
    given = _far_apart(seed, rows, options)
    start = perf_counter()
    said = sentence(lambda: netsmith.allocate(**given, time_limit=0.3))
    assert perf_counter() - start < 20  # it took minutes
    assert seed != 1011 or "rounding decides which designs keep a budget; leave out options" in said
