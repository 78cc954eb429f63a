"""Linear weight grids against closed forms, searches by brute force and torch's own operators."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from netsmith.compression.quantizers import fit_scale, integers, quantize
from netsmith.compression.quantizers.linear import CLIPS, qmax
from netsmith.errors import InputError

ALL_BITS = range(1, 9)


def error(weight: torch.Tensor, bits: int, clip: str = "mse", per_channel: bool = True) -> float:
    scale = fit_scale(weight, bits, per_channel=per_channel, clip=clip)
    return float((quantize(weight, scale, bits) - weight).double().square().mean())


def normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("bits", range(2, 9))
def test_uniform_weights_have_the_step_of_the_closed_form(bits: int) -> None:
    """On [-1, 1] the best grid of 2Q+1 levels divides the interval evenly: step 2 / (2Q+1), error step^2 / 12."""
    weight = torch.linspace(-1, 1, 40_001)[None]
    step = 2 / (2 * qmax(bits) + 1)
    assert float(fit_scale(weight, bits)) == pytest.approx(step, rel=2e-3)
    assert error(weight, bits) == pytest.approx(step**2 / 12, rel=2e-3)


def test_normal_weights_in_two_bits_have_the_step_of_max() -> None:
    """Three levels for a unit normal: step 1.224, error 0.190 (Max 1960, table II)."""
    quantiles = torch.special.ndtri((torch.arange(100_000, dtype=torch.float64) + 0.5) / 100_000).float()[None]
    assert float(fit_scale(quantiles, 2)) == pytest.approx(1.224, rel=5e-3)
    assert error(quantiles, 2) == pytest.approx(0.1902, rel=2e-3)


def test_binary_scale_is_the_mean_magnitude_and_optimal() -> None:
    weight = normal(0, 5, 40)
    scale = fit_scale(weight, 1)
    torch.testing.assert_close(scale, weight.abs().mean(dim=1))
    best = (quantize(weight, scale, 1) - weight).square().sum(dim=1)
    for factor in (0.97, 1.03):
        assert bool(((quantize(weight, scale * factor, 1) - weight).square().sum(dim=1) > best).all())
    assert integers(torch.tensor([[0.0, -0.0, -1.0, 2.0]]), torch.ones(1), 1).tolist() == [[1, 1, -1, 1]]


@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("n", [9, 300])
def test_mse_search_is_close_to_brute_force(bits: int, n: int) -> None:
    weight = normal(bits, 16, n)
    ratios = torch.linspace(0.02, 1.0, 2000)
    steps = ratios[:, None] * weight.abs().amax(dim=1) / qmax(bits)  # (2000, 16)
    q = torch.clamp(torch.round(weight / steps[..., None]), -qmax(bits), qmax(bits)) * steps[..., None]
    brute = (q - weight).double().square().sum(dim=-1).amin(dim=0)
    scale = fit_scale(weight, bits)
    found = (quantize(weight, scale, bits) - weight).double().square().sum(dim=1)
    assert float(found.sum() / brute.sum()) < 1.005


@pytest.mark.parametrize("bits", range(2, 9))
def test_mse_is_never_worse_than_max(bits: int) -> None:
    weight = normal(bits, 64, 9) * torch.logspace(-6, 3, 64)[:, None]
    errors = {}
    for clip in ("max", "mse"):
        scale = fit_scale(weight, bits, clip=clip)
        errors[clip] = (quantize(weight, scale, bits) - weight).double().square().sum(dim=1)
    assert bool((errors["mse"] <= errors["max"] * (1 + 1e-6)).all())
    assert float((errors["mse"] / errors["max"]).mean()) < 0.9


@pytest.mark.parametrize("clip", ["max", "mse"])
def test_error_shrinks_with_bits(clip: str) -> None:
    errors = torch.tensor([[error(normal(seed, 16, 200), b, clip) for b in ALL_BITS] for seed in range(3)]).mean(dim=0)
    if clip == "max":
        errors = errors[1:]  # ternary to the largest weight is worse than binary, which is not clipped there
    assert bool((errors.diff() < 0).all())
    assert float(errors[-1]) < 1e-4


@given(
    st.integers(1, 8), st.sampled_from(CLIPS), st.booleans(), st.integers(0, 10**6),
    st.sampled_from([1e-20, 1e-3, 1.0, 1e6]), st.sampled_from([(1, 1), (3, 1, 3, 3), (4, 7), (5,)]),
)  # fmt: skip
@settings(max_examples=120)
def test_grids_are_symmetric_idempotent_and_in_range(bits, clip, per_channel, seed, size, shape) -> None:
    weight = normal(seed, *shape) * size
    weight[0] = 0.0
    scale = fit_scale(weight, bits, per_channel=per_channel, clip=clip)
    assert scale.dtype == torch.float32 and scale.shape == ((len(weight),) if per_channel and clip != "haq" else (1,))
    assert bool((scale > 0).all() and torch.isfinite(scale).all())
    once, numbers = quantize(weight, scale, bits), integers(weight, scale, bits)
    assert numbers.dtype == torch.int8 and int(numbers.abs().max()) <= qmax(bits)
    shaped = scale.reshape(-1, *[1] * (weight.dim() - 1))
    assert torch.equal(once, numbers * shaped)
    assert torch.equal(quantize(once, scale, bits), once)
    assert torch.allclose(fit_scale(-weight, bits, per_channel=per_channel, clip=clip), scale)
    nonzero = weight != 0
    assert torch.equal(quantize(-weight, scale, bits)[nonzero], -once[nonzero])
    if bits > 1:
        assert not bool(once[0].any())
        assert float((scale * qmax(bits)).max()) <= float(weight.abs().max()) * (1.0001 if clip != "mse" else 2) or (
            not bool(weight.any())
        )


@pytest.mark.parametrize("bits", range(2, 9))
def test_rounding_agrees_with_torch(bits: int) -> None:
    weight, top = normal(1, 6, 4, 3, 3), qmax(bits)
    scale = fit_scale(weight, bits, clip="mse")
    want = torch.fake_quantize_per_channel_affine(weight, scale, torch.zeros(6, dtype=torch.int32), 0, -top, top)
    torch.testing.assert_close(quantize(weight, scale, bits), want)
    one = fit_scale(weight, bits, per_channel=False)
    want = torch.fake_quantize_per_tensor_affine(weight, float(one), 0, -top, top)
    torch.testing.assert_close(quantize(weight, one, bits), want)


def test_each_channel_is_fitted_by_itself() -> None:
    weight = normal(2, 8, 30) * torch.logspace(-3, 2, 8)[:, None]
    for clip in ("max", "mse", "percentile", "kl"):
        for bits in (1, 2, 4, 8):
            alone = torch.cat([fit_scale(row[None], bits, clip=clip) for row in weight])
            torch.testing.assert_close(fit_scale(weight, bits, clip=clip), alone)


def test_a_channel_of_zeros_takes_the_mean_scale_and_stays_zero() -> None:
    weight = torch.tensor([[1.27, 0.0], [0.0, 0.0], [-3.81, 0.5]])
    torch.testing.assert_close(fit_scale(weight, 8, clip="max"), torch.tensor([0.01, 0.02, 0.03]))
    assert float(quantize(weight, fit_scale(weight, 1), 1)[1].abs().max()) < 1e-7
    assert torch.equal(fit_scale(torch.zeros(3, 4), 4), torch.ones(3))


def test_bad_input_is_one_sentence() -> None:
    weight = torch.ones(2, 3)
    with pytest.raises(InputError, match="1 to 8 bits, not 9"):
        fit_scale(weight, 9)
    with pytest.raises(InputError, match="did you mean 'percentile'"):
        fit_scale(weight, 4, clip="percentil")
    with pytest.raises(InputError, match="NaN"):
        fit_scale(weight * torch.nan, 4)
    with pytest.raises(InputError, match="cannot be quantized"):
        fit_scale(torch.ones(0, 3), 4)
    with pytest.raises(InputError, match="3 scales do not fit"):
        quantize(weight, torch.ones(3), 4)
