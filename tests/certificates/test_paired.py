"""The exact paired bound: its coverage is summed up, not drawn."""

from itertools import product

import numpy as np
import pytest
from scipy.stats import multinomial

from netsmith.certificates import (
    bootstrap_bound,
    certificate,
    fixed_sequence,
    latency_interval,
    needed_examples,
    paired_bound,
    score_bound,
    score_interval,
    sessions_confidence,
)
from netsmith.errors import InputError


@pytest.fixture(scope="module")
def bounds():
    """The bound of every outcome of 18 examples."""
    n = 18
    return n, {(w, b): paired_bound(w, b, n, 0.9) for w in range(n + 1) for b in range(n + 1 - w)}


def test_coverage_is_kept_whatever_the_rates(bounds):
    n, of = bounds
    outcomes = np.array([(w, b, n - w - b) for w, b in of])
    limit = np.array(list(of.values()))
    for p, q in product((0.0, 0.01, 0.05, 0.1, 0.2, 0.35, 0.5, 0.7), repeat=2):
        if p + q > 1:
            continue
        chance = multinomial.pmf(outcomes, n, [p, q, 1 - p - q])
        assert chance[limit >= p - q - 1e-12].sum() >= 0.9 - 1e-9, (p, q)


def test_it_grows_with_what_is_worse_and_falls_with_what_is_better(bounds):
    n, of = bounds
    for (w, b), bound in of.items():
        assert (w - b) / n <= bound <= 1
        if (w + 1, b) in of:
            assert of[w + 1, b] >= bound - 1e-9
        if (w, b + 1) in of:
            assert of[w, b + 1] <= bound + 1e-9


def test_it_is_close_to_what_large_numbers_give():
    worse, better, n = 150, 100, 10_000
    normal = (worse - better) / n + 1.645 * (worse + better) ** 0.5 / n
    assert normal < paired_bound(worse, better, n, 0.95) < normal * 1.06


def test_nothing_differs():
    assert 2.9 / 1000 < paired_bound(0, 0, 1000, 0.95) < 4.5 / 1000
    assert paired_bound(0, 0, 1000, 0.99) > paired_bound(0, 0, 1000, 0.95)


def test_extreme_counts_and_refusals():
    assert paired_bound(5, 0, 5, 0.95) == 1.0
    assert -1 < paired_bound(0, 100, 100, 0.95) < -0.8
    for wrong in ((-1, 0, 5), (3, 3, 5), (0, 0, 0)):
        with pytest.raises(InputError, match="cannot be counted"):
            paired_bound(*wrong)
    with pytest.raises(InputError, match="confidence"):
        paired_bound(1, 1, 5, 1.0)


def test_a_wrong_claim_of_a_fixed_sequence_is_as_rare_as_in_one_test():
    """Claims are tested by means of shared normal errors; all are wrong but the first two."""
    rng = np.random.default_rng(0)
    loss, allowed, error = np.array([0.0, 0.2, 1.0, 1.0, 1.1, 3.0]), 1.0, 0.3
    common, own = rng.normal(size=(20_000, 1)), rng.normal(size=(20_000, len(loss)))
    upper = loss + error * (0.8**0.5 * common + 0.2**0.5 * own) + 1.645 * error
    counts = np.array([fixed_sequence(row <= allowed for row in trial) for trial in upper])
    assert (counts > 2).mean() < 0.056  # four standard errors above 5 %
    assert (np.cumprod(upper <= allowed, axis=1).sum(axis=1) == counts).all()
    assert ((upper <= allowed)[:, 2:].any(axis=1)).mean() > 0.07  # without the order it is not


def test_scores_have_exact_limits():
    assert score_interval(0, 10, 0.95) == pytest.approx((0.0, 0.3085), abs=1e-4)
    assert score_interval(50, 100, 0.95) == pytest.approx((0.3983, 0.6017), abs=1e-4)
    assert score_bound(10, 10, 0.95) == pytest.approx(0.05**0.1)
    with pytest.raises(InputError, match="cannot be counted"):
        score_bound(11, 10)


def test_how_many_examples_are_needed_is_what_then_suffices():
    need = needed_examples(30, 20, 1000, 0.02)
    assert need is not None
    assert paired_bound(round(0.03 * need), round(0.02 * need), need) <= 0.02
    fewer = int(need * 0.8)  # counts are whole numbers, and the search goes by two per cent
    assert paired_bound(round(0.03 * fewer), round(0.02 * fewer), fewer) > 0.02
    assert needed_examples(30, 10, 1000, 0.02) is None


def test_bootstrap_of_values_is_near_the_exact_bound_of_shares():
    before, after = np.zeros(2000), np.zeros(2000)
    before[:60], after[60:100] = 1, 1
    assert bootstrap_bound(before, after, 0.95) == pytest.approx(paired_bound(60, 40, 2000, 0.95), rel=0.08)
    assert bootstrap_bound(before, before, 0.95) == 0.0
    with pytest.raises(InputError, match="at least two"):
        bootstrap_bound(before[:1], after[:1])


def test_latency_lies_between_order_statistics():
    assert latency_interval([3.0, 1.0, 2.0, 4.0, 5.0, 6.0, 7.0], 0.5) == (0.5, 3.5)
    assert sessions_confidence(7) == pytest.approx(1 - 2 / 128)
    assert latency_interval(list(range(1, 16)), 1.0) == (4, 12)
    assert sessions_confidence(15) >= 0.95
    assert sessions_confidence(3) == pytest.approx(0.75)  # fewer sessions cannot say more


def test_a_certificate_holds_only_if_its_bound_does():
    before, after = np.ones(1000, dtype=bool), np.ones(1000, dtype=bool)
    after[:4] = False
    found = certificate(before, after, 0.95, max_drop=0.005)
    assert found.loss == pytest.approx(0.004)
    assert found.met is False  # what was seen is within, its bound is not
    assert found.to_dict()["needed_examples"]["examples"] > 1000
    assert "not certified" in found.says
    assert certificate(before, after, 0.95, max_drop=0.02).met is True
    assert certificate(before, after, 0.95, min_score=0.99).met is True
    assert certificate(before, after, 0.95, min_score=0.995).met is False
    alone = certificate(None, after, 0.95)
    assert (alone.met, alone.loss, alone.loss_bound) == (None, None, None)
