"""Ternary weights by a threshold."""

from __future__ import annotations

import pytest
import torch

from netsmith.compression.quantizers import fit_scale, quantize, ternarize


def test_threshold_and_scale_by_hand() -> None:
    weight = torch.tensor([[1.0, -2.0, 0.5, 0.0, -0.1], [0.0, 0.0, 0.0, 0.0, 0.0]])
    numbers, scale = ternarize(weight)  # mean 0.72, threshold 0.504
    assert numbers.tolist() == [[1, -1, 0, 0, 0], [0, 0, 0, 0, 0]]
    assert scale.tolist() == [1.5, 1.5]  # a channel of zeros takes the mean scale


def test_scale_is_the_best_for_its_threshold_and_deploys_on_two_bits() -> None:
    weight = torch.randn(6, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    numbers, scale = ternarize(weight)
    value = numbers * scale[:, None, None, None]
    error = (value - weight).square().sum()
    for factor in (0.98, 1.02):
        assert (value * factor - weight).square().sum() > error
    assert torch.equal(quantize(value, scale, 2), value)


def test_normal_weights_are_nearly_as_good_as_the_best_grid() -> None:
    """0.7 mean|w| = 0.559 sigma; the best threshold of a ternary normal is 0.612 sigma, a little above."""
    weight = torch.randn(1, 50_000, generator=torch.Generator().manual_seed(0))
    numbers, scale = ternarize(weight, per_channel=False)
    assert float(numbers.abs().double().mean()) == pytest.approx(0.576, abs=0.01)  # P(|z| > 0.5585)
    got = float((numbers * scale - weight).square().mean())
    best = float((quantize(weight, fit_scale(weight, 2), 2) - weight).square().mean())
    assert best <= got < 1.02 * best
