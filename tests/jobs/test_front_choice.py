from __future__ import annotations

import numpy as np
import pytest

from netsmith.jobs.front_choice import choose, would_hold
from netsmith.metrics import Metric

N = 2000
BEFORE = np.arange(N) < 1800


def losing(count: int) -> np.ndarray:
    """Which examples a network gets right that gets so many of those wrong that were right."""
    return BEFORE & (np.arange(N) >= count)


def test_the_cheapest_certified_network_is_chosen_and_none_behind_the_first_failure_is_tested() -> None:
    found = choose(BEFORE, [losing(n) for n in (0, 10, 200, 5, 300)], [0.9] * 5, 0.95, max_drop=0.02)
    assert found.certified == (True, True, False, None, None)  # the fourth would pass by itself
    assert found.chosen == 1 and found.rule == (
        "the cheapest network that is certified to lose no more than 2 points at 95 % confidence"
    )
    assert found.certificates[3].met and found.certificates[2].met is False


def test_where_the_first_claim_fails_no_later_one_counts() -> None:
    after = [losing(n) for n in (300, 0)]
    found = choose(BEFORE, after, [0.8, 0.9], 0.95, max_drop=0.01)
    assert found.certified == (False, None) and found.certificates[1].met  # by itself, too late
    assert found.chosen == 0 and found.certificates[found.chosen].met is False
    assert found.rule.startswith(
        "the most expensive network, as there is none that is certified to lose no more than 1"
    )
    free = choose(BEFORE, after, [0.8, 0.9], 0.95)
    assert free.chosen == 1 and free.rule.startswith("the most accurate network on the search split")


def test_a_point_may_be_lost_where_nothing_is_asked_and_nothing_is_met() -> None:
    found = choose(BEFORE, [losing(n) for n in (0, 4, 300)], [0.9] * 3, 0.95)
    assert found.certified == (True, True, False) and found.chosen == 1
    assert [one.met for one in found.certificates] == [None] * 3


@pytest.mark.parametrize(("score", "flags"), [(0.85, (True, True)), (0.8999, (False, None))])
def test_a_score_needs_no_network_as_given(score: float, flags: tuple[bool | None, ...]) -> None:
    found = choose(None, [losing(n) for n in (0, 20)], [0.9, 0.8], 0.95, min_score=score)
    assert found.certified == flags and found.chosen == (1 if flags[0] else 0)
    free = choose(None, [losing(n) for n in (0, 20)], [0.8, 0.9], 0.95)
    assert free.certified == (None, None) and free.chosen == 1


MSE = Metric("mse", "MSE", "", higher_is_better=False)


def test_errors_are_kept_small_by_the_same_rules() -> None:
    """The cheapest is chosen whose error is certified to be small enough, and the best has the least on search."""
    rng = np.random.default_rng(0)
    before = rng.gamma(2.0, 0.01, (N, 1))
    noise = rng.normal(0, 0.001, (N, 1))
    after = [before + more + noise for more in (0.0005, 0.001, 0.01)]
    held_out = [float(rows.mean()) for rows in after]
    asked = choose(before, after, held_out, 0.95, max_drop=0.002, metric=MSE)
    assert asked.certified == (True, True, False) and asked.chosen == 1
    assert asked.rule.startswith("the cheapest network that is certified to lose no more than 0.002 in MSE")
    score = choose(None, after, held_out, 0.95, min_score=float(before.mean()) + 0.003, metric=MSE)
    assert score.certified == (True, True, False) and "or less at 95 %" in score.rule
    free = choose(None, after, held_out, 0.95, metric=MSE)
    assert free.chosen == 0 and free.rule == "the best network on the search split"
    assert [would_hold(before, rows, N, 0.95, MSE, max_drop=0.002) for rows in after] == [True, True, False]
    few, far = before[:20], after[1][:20]
    assert would_hold(few, far, 100_000, 0.95, MSE, max_drop=float(far.mean() - few.mean()) + 1e-5)
    assert not would_hold(few, far, 20, 0.95, MSE, max_drop=float(far.mean() - few.mean()) + 1e-5)
