"""Correction of a quantized layer's output statistics."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from netsmith.compression.quantizers import fit_scale, match_statistics, quantize
from netsmith.compression.quantizers.linear import integers
from netsmith.errors import InputError


@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("bits", [1, 2, 4])
def test_output_gets_the_float_layers_statistics(bits: int, with_bias: bool) -> None:
    torch.manual_seed(bits)
    x, weight = torch.randn(16, 4, 8, 8).relu(), torch.randn(6, 4, 3, 3)
    bias = torch.randn(6) if with_bias else None
    scale = fit_scale(weight, bits)

    def statistics(w: torch.Tensor, b: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        y = functional.conv2d(x, w, b).transpose(0, 1).flatten(1)
        return y.mean(dim=1), y.std(dim=1)

    want, got = statistics(weight, bias), statistics(quantize(weight, scale, bits), bias)
    gain, corrected = match_statistics(quantize(weight, scale, bits), bias, *want, *got)
    after = statistics(integers(weight, scale, bits) * (scale * gain)[:, None, None, None], corrected)
    torch.testing.assert_close(after[0], want[0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(after[1], want[1], rtol=1e-4, atol=1e-4)
    assert float((got[1] - want[1]).abs().max()) > 1e-2  # there was something to correct


def test_a_dead_channel_is_only_shifted() -> None:
    weight = torch.tensor([[0.0, 0.0], [1.0, 2.0], [1.0, 1.0]])
    gain, bias = match_statistics(
        weight, torch.tensor([0.5, 0.5, 0.5]), torch.tensor([2.0, 3.0, 1.0]), torch.tensor([1.0, 4.0, 0.0]),
        torch.tensor([0.5, 1.0, 1.0]), torch.tensor([0.0, 2.0, 1.0]),
    )  # fmt: skip
    assert gain.tolist() == pytest.approx([1.0, 2.0, 1e-8])  # a scale stays positive
    assert bias.tolist() == pytest.approx([2.0, 2.0, 1.0])


def test_bad_statistics_are_one_sentence() -> None:
    one = torch.ones(2)
    with pytest.raises(InputError, match=r"shape \(2,\)"):
        match_statistics(torch.ones(2, 3), None, torch.ones(3), one, one, one)
    with pytest.raises(InputError, match="more than one image"):
        match_statistics(torch.ones(2, 3), None, one, one, one, one * torch.nan)
