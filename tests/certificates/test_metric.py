"""Bounds on scores that are no shares: intersections over unions, decibels, errors that should be small."""

import numpy as np
import pytest

from netsmith.certificates import around, certificate, lost_at_most, mean_bound, resampled_bound, surely_reached
from netsmith.errors import InputError
from netsmith.metrics import ACCURACY, Metric


def iou(rows):
    """The mean over two classes of intersections over unions, ``(N, 4)``."""
    total = rows.sum(axis=0)
    return float((total[:2] / total[2:]).mean())


MIOU, PSNR, MSE = Metric("miou", "mIoU", "%", finish=iou), Metric("psnr", "PSNR", "dB"), Metric("mse", "MSE", "", False)


def masks(n, right, rng):
    """Rows of examples whose masks overlap by about ``right`` of their areas."""
    areas = rng.integers(50, 400, (n, 2)).astype(float)
    hit = np.clip(rng.normal(right, 0.1, (n, 2)), 0, 1) * areas
    return np.concatenate([hit, 2 * areas - hit], axis=1)


def test_bounds_of_a_ratio_of_sums_hold_as_often_as_they_say():
    """Against the loss that a million examples have."""
    rng, held = np.random.default_rng(0), 0
    many = np.random.default_rng(1)
    true = iou(masks(100_000, 0.85, many)) - iou(masks(100_000, 0.82, many))
    for _ in range(40):
        before, after = masks(80, 0.85, rng), masks(80, 0.82, rng)
        held += lost_at_most(MIOU, before, after, 0.9) >= true
    assert held >= 28  # of 40, 36 in the mean, four standard errors


def test_on_means_both_bootstraps_are_near():
    values = np.random.default_rng(2).gamma(2.0, size=400)
    other = resampled_bound(lambda index: float(values[index].mean()), 400, 0.95)
    assert other == pytest.approx(mean_bound(values, 0.95), abs=0.02)
    assert values.mean() < other < values.mean() + 0.2
    with pytest.raises(InputError, match="not defined"):
        resampled_bound(lambda index: float("nan"), 400)


def test_a_certificate_in_decibels_says_so():
    rng = np.random.default_rng(3)
    before = rng.normal(30, 2, (300, 1))
    after = before - 0.2 + rng.normal(0, 0.1, before.shape)
    found = certificate(before, after, 0.95, max_drop=0.3, metric=PSNR)
    assert found.met is True and 0.2 < found.loss_bound < 0.23
    assert found.says == "at 95 % confidence no more than 0.30 dB is lost (300 test examples, paired bootstrap bound)"
    assert found.to_dict()["method"] == "bootstrap" and found.worse is None
    tight = found.asking(max_drop=0.195)
    assert tight.met is False and tight.needed[1] > 300 and "0.195 dB asked for" in tight.says
    assert certificate(None, after, 0.95, min_score=29.9, metric=PSNR).met is False


def test_few_examples_that_differ_are_said_to_be_few():
    """Of 20 an F1 knows little, and the certificate does not keep that to itself."""
    rows = np.repeat([[1.0, 0, 0], [0, 0, 0]], 100, axis=0)
    other = rows.copy()
    other[:5] = [0, 0, 1]
    f1 = Metric("f1", "F1", "%", finish=lambda r: float(2 * r[:, 0].sum() / (2 * r[:, 0] + r[:, 1] + r[:, 2]).sum()))
    found = certificate(rows, other, 0.95, metric=f1)
    assert found.differ == 5 and "only 5 of them differ" in found.says and found.loss_bound > found.loss > 0
    assert certificate(rows, 1 - rows, 0.95, metric=Metric("m", "m")).says.count("differ") == 0


def test_where_less_is_better_a_bound_is_above():
    rng = np.random.default_rng(4)
    before, after = rng.gamma(2.0, 0.01, (300, 1)), rng.gamma(2.0, 0.011, (300, 1))
    found = certificate(before, after, 0.95, metric=MSE)
    assert found.loss == pytest.approx(after.mean() - before.mean()) and found.loss_bound > found.loss
    assert found.score_bound > after.mean() and "the score is at most" not in found.says
    assert found.asking(min_score=0.03).met is True and found.asking(min_score=0.02).met is False
    low, high = around(MSE, after, 0.95)
    assert low < after.mean() < surely_reached(MSE, after, 0.95) < high


def test_a_share_is_exact_however_it_is_given():
    right = np.arange(200) % 7 > 0
    one, other = certificate(right, right, 0.9), certificate(right[:, None].astype(float), right.astype(float), 0.9)
    assert one.to_dict() == other.to_dict() and one.to_dict()["method"] == "exact"
    assert Metric.from_dict(ACCURACY.to_dict()).of(right[:, None]) == right.mean()
