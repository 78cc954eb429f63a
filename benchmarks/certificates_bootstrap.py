"""How often the bounds of scores that are no shares are wrong, on made-up examples of which the truth is known.

    python benchmarks/certificates_bootstrap.py             two minutes on one core

Each line has a score, how many test examples, the true loss, and in how many of the draws it was larger than the
certified one, or the true score worse than the certified one; 5 % is what is promised.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np

from netsmith.certificates import lost_at_most, surely_reached
from netsmith.metrics import FloatArray, Metric

_MANY = 400_000  #: examples that the truth is taken of
Pair = Callable[[np.random.Generator, int], tuple[FloatArray, FloatArray]]


def iou(rows: FloatArray) -> float:
    """The mean over classes, of rows of intersections and then unions."""
    total, classes = rows.sum(axis=0), rows.shape[1] // 2
    return float((total[:classes] / np.maximum(total[classes:], 1)).mean())


def f1(rows: FloatArray) -> float:
    """Of rows of true positives, false positives and false negatives."""
    hit, false, missed = rows.sum(axis=0)
    return float(2 * hit / (2 * hit + false + missed)) if hit + false + missed else float("nan")


def auc(rows: FloatArray) -> float:
    """The area under the receiver's curve, of rows of a score and a label."""
    scores, labels = rows.T
    ranks = np.empty(len(rows))
    ranks[np.argsort(scores)] = np.arange(1, len(rows) + 1)
    good = labels.sum()
    bad = len(rows) - good
    return float((ranks[labels > 0].sum() - good * (good + 1) / 2) / (good * bad)) if good and bad else float("nan")


def masks(rng: np.random.Generator, n: int) -> tuple[FloatArray, FloatArray]:
    """Five classes, each in half of the pictures; pictures are of unequal difficulty."""
    areas = rng.gamma(1.5, 200, (n, 5)) * (rng.random((n, 5)) < 0.5)
    ease = rng.normal(0.9, 0.08, (n, 1))
    shares = [np.clip(ease - less + rng.normal(0, spread, (n, 5)), 0, 1) for less, spread in ((0, 0.05), (0.02, 0.06))]
    before, after = (np.concatenate([s * areas, 2 * areas - s * areas], axis=1) for s in shares)
    return before, after


def rare(rng: np.random.Generator, n: int) -> tuple[FloatArray, FloatArray]:
    """One example in ten is positive; one answer in twenty is drawn anew."""
    true = rng.random(n) < 0.1
    before = np.where(rng.random(n) < 0.9, true, ~true & (rng.random(n) < 0.2))
    after = np.where(rng.random(n) < 0.95, before, rng.random(n) < 0.1)
    first, second = (np.stack([s & true, s & ~true, ~s & true], axis=1).astype(float) for s in (before, after))
    return first, second


def ranked(rng: np.random.Generator, n: int) -> tuple[FloatArray, FloatArray]:
    """Three examples in ten are positive; the second network's scores have more noise."""
    labels = (rng.random(n) < 0.3).astype(float)
    before = 1.5 * labels + rng.normal(size=n)
    after = before + rng.normal(0, 0.5, n)
    return np.stack([before, labels], axis=1), np.stack([after, labels], axis=1)


CASES: tuple[tuple[Metric, Pair, tuple[int, ...]], ...] = (
    (Metric("miou", "mIoU", "%", finish=iou), masks, (100, 400)),
    (Metric("f1", "F1", "%", finish=f1), rare, (200, 1000)),
    (Metric("auc", "AUC", "%", finish=auc), ranked, (100, 400)),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=250)
    parser.add_argument("--confidence", type=float, default=0.95)
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    print("| score | test examples | true loss | wrong about the loss | wrong about the score | seconds each |")
    print("| --- | --- | --- | --- | --- | --- |")
    for metric, pair, counts in CASES:
        before, after = pair(rng, _MANY)
        loss, score = metric.lost(metric.of(before), metric.of(after)), metric.of(after)
        for n in counts:
            start, wrong = time.perf_counter(), np.zeros(2)
            for _ in range(args.draws):
                given, result = pair(rng, n)
                wrong[0] += lost_at_most(metric, given, result, args.confidence) < loss
                wrong[1] += surely_reached(metric, result, args.confidence) > score
            each = (time.perf_counter() - start) / args.draws
            shares = " | ".join(f"{share:.1%}" for share in wrong / args.draws)
            print(f"| {metric.name} | {n} | {metric.difference(loss)} | {shares} | {each:.2f} |", flush=True)


if __name__ == "__main__":
    main()
