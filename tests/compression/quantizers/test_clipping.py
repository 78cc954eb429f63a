"""Clipping rules: the divergence against a plain loop, percentiles against sorting, HAQ's choice between rules."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from netsmith.compression.calibrate import BINS
from netsmith.compression.quantizers import fit_scale
from netsmith.compression.quantizers.clipping import kl_threshold, percentile_threshold


def by_loops(w: np.ndarray, bits: int, stride: int = 1) -> float:
    """HAQ's threshold, bin by bin."""
    top, levels = float(w.max()), 2 ** (bits - 1)
    counts = np.bincount(np.minimum((w.astype(float) / top * BINS).astype(int), BINS - 1), minlength=BINS).astype(float)
    best, threshold = np.inf, top
    for i in range(BINS, levels, -stride):
        p, q = counts[:i].copy(), np.zeros(i)
        p[-1] += counts[i:].sum()
        if counts[:i].sum() * 2 < counts.sum():
            continue
        for level in range(levels):
            part = slice(level * i // levels, (level + 1) * i // levels)
            filled = p[part] > 0
            q[part][filled] = counts[:i][part].sum() / max(filled.sum(), 1)
        p, q = p / p.sum(), np.maximum(q / q.sum(), 1e-12)
        divergence = float((p[p > 0] * np.log(p[p > 0] / q[p > 0])).sum())
        if divergence <= best:
            best, threshold = divergence, min((i + 0.5) * top / BINS, top)
    return threshold


@pytest.mark.parametrize("bits", [2, 4, 6])
@pytest.mark.parametrize("kind", ["laplace", "student", "uniform"])
def test_divergence_agrees_with_a_plain_loop(bits: int, kind: str) -> None:
    rng = np.random.default_rng(bits)
    draw = {"laplace": rng.laplace, "student": lambda size: rng.standard_t(3, size), "uniform": rng.random}[kind]
    w = np.abs(draw(size=5000)).astype(np.float32)
    want = by_loops(w, bits, stride=max(1, 2 ** (bits - 1) // 8))
    assert float(kl_threshold(torch.from_numpy(w)[None], bits)) == pytest.approx(want, rel=1e-6)


@pytest.mark.parametrize("bits", range(2, 9))
def test_divergence_never_clips_above_the_largest_weight(bits: int) -> None:
    rows = torch.randn(20, 9, generator=torch.Generator().manual_seed(bits)).abs()
    rows[0], rows[1] = 0.0, 1.0
    threshold = kl_threshold(rows, bits)
    assert bool((threshold <= rows.amax(dim=1)).all())
    assert bool((threshold[1:] > 0).all())
    # at least half of a row lies within
    assert bool(((rows <= threshold[:, None] + 1e-12).double().mean(dim=1) >= 0.5).all())


def test_divergence_clips_an_outlier() -> None:
    w = torch.cat([torch.randn(20_000, generator=torch.Generator().manual_seed(0)).abs(), torch.tensor([30.0])])
    assert float(kl_threshold(w[None], 4)) < 8.0


def test_percentile_is_an_order_statistic() -> None:
    rows = torch.stack([torch.randperm(1000) + 1.0, torch.zeros(1000)])
    rows[1, 3] = 7.0
    assert percentile_threshold(rows, 99.0).tolist() == [990.0, 7.0]  # a sparse row is not clipped to nothing
    assert percentile_threshold(rows, 100.0).tolist() == [1000.0, 7.0]
    assert percentile_threshold(rows[:, :5], 99.99).tolist() == rows[:, :5].amax(dim=1).tolist()


def test_haq_is_max_from_five_bits_on_and_divergence_below() -> None:
    weight = torch.distributions.Laplace(0.0, 1.0).sample((8, 500))
    for bits in range(2, 9):
        want = fit_scale(weight, bits, per_channel=False, clip="max" if bits >= 5 else "kl")
        assert torch.equal(fit_scale(weight, bits, clip="haq"), want)
    assert float(fit_scale(weight, 4, clip="haq")) < float(fit_scale(weight, 4, per_channel=False, clip="max"))
