"""Modules for training: what they compute, what they hand to deployment, what a state dict restores."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from netsmith.compression.quantizers import (
    DorefaActivation,
    DorefaWeight,
    LsqActivation,
    LsqWeight,
    PactActivation,
    quantize,
)  # fmt: skip
from netsmith.errors import InputError
from netsmith.network.fake_quantize import FAKE_QUANTIZE


def weight_like(seed: int = 0) -> torch.Tensor:
    weight = torch.randn(6, 4, 3, 3, generator=torch.Generator().manual_seed(seed))
    weight[2] = 0.0
    return weight


@pytest.mark.parametrize("bits", range(1, 9))
def test_weights_deploy_bit_for_bit(bits: int) -> None:
    weight = weight_like()
    modules: list[nn.Module] = [LsqWeight(weight, bits, per_channel) for per_channel in (True, False)]
    for module in modules:
        scale, width = module.eval().export(weight)
        assert scale.shape == (6,) and scale.dtype == torch.float32 and not scale.requires_grad and width == bits
        assert torch.equal(module(weight), quantize(weight, scale, bits))


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_activations_deploy_bit_for_bit(bits: int) -> None:
    x = 3 * torch.randn(4, 5, 6, 6, generator=torch.Generator().manual_seed(bits))
    modules = [
        LsqActivation(bits), LsqActivation(bits, signed=True), PactActivation(bits, 2.0),
        PactActivation(bits, 2.0, signed=True), DorefaActivation(bits),
    ]  # fmt: skip
    for module in modules:
        module(x)
        y, grid = module.eval()(x), module.grid()
        assert 0 <= grid.qmin <= grid.zero_point <= grid.qmax < 2**bits
        assert torch.equal(y, FAKE_QUANTIZE(x, grid.scale, grid.zero_point, grid.qmin, grid.qmax))
        if bits < 8 and not isinstance(module, LsqActivation):  # whose first step may reach beyond the data
            assert len(y.unique()) == grid.qmax - grid.qmin + 1
        assert torch.equal(module(y), y)


def test_a_state_dict_restores_everything() -> None:
    weight, x = weight_like(), torch.randn(8, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    lsq = LsqActivation(3)
    lsq(x)
    for trained, fresh, given in (
        (LsqWeight(weight, 3), LsqWeight(torch.ones_like(weight), 3), weight),
        (lsq, LsqActivation(3), x),
        (PactActivation(3, 1.7), PactActivation(3, 6.0), x),
    ):
        want = trained(given)
        fresh.load_state_dict(trained.state_dict())
        assert torch.equal(fresh(given), want)


def test_lsq_starts_at_the_papers_step() -> None:
    weight = weight_like()
    want = 2 * weight.abs().flatten(1).mean(dim=1) / math.sqrt(7)
    got = LsqWeight(weight, 4).step.detach()
    keep = torch.tensor([0, 1, 3, 4, 5])
    torch.testing.assert_close(got[keep], want[keep])
    assert float(got[2]) == pytest.approx(float(want[keep].mean()))
    module, x = LsqActivation(4), torch.rand(2, 3)
    with pytest.raises(InputError, match="first batch"):
        module.grid()
    assert torch.equal(module(torch.zeros(2, 3)), torch.zeros(2, 3)) and not bool(module.ready)
    module(x)
    module(5 * x)  # only the first batch counts
    assert module.grid().scale == pytest.approx(2 * float(x.mean()) / math.sqrt(15))


def test_lsq_survives_bad_batches_and_steps() -> None:
    weight = weight_like().requires_grad_()
    module = LsqWeight(weight, 4)
    upstream = torch.ones_like(weight)
    upstream[0, 0, 0, 0] = torch.nan
    (module(weight) * upstream).sum().backward()
    assert float(module.step.grad[0]) == 0.0 and bool((module.step.grad[[1, 3, 4, 5]] != 0).all())
    for bad in (-0.3, 0.0, math.nan):
        with torch.no_grad():
            module.step.fill_(bad)
        scale, bits = module.export(weight)
        assert bool((scale > 0).all())
        assert torch.equal(module(weight), quantize(weight, scale, bits))
    with pytest.raises(InputError, match="NaN"):
        LsqActivation(4)(torch.full((2, 3), torch.nan))


def test_training_a_step_and_a_level_follows_the_loss() -> None:
    """A layer that must reproduce values up to 4 opens a clip of 1, and closes one of 12 towards its data."""
    x = torch.rand(64, 32, generator=torch.Generator().manual_seed(0)) * 4
    for start in (1.0, 12.0):
        module = PactActivation(4, start)
        optimiser = torch.optim.Adam(module.parameters(), 0.1)
        for _ in range(200):
            optimiser.zero_grad()
            ((module(x) - x).square().mean() + 1e-2 * module.c.square().sum()).backward()
            optimiser.step()
        assert 2.5 < module.grid().scale * 15 < 4.2
    lsq = LsqActivation(4)
    lsq(x)
    with torch.no_grad():
        lsq.step.fill_(0.02)  # reaches 0.3 only
    before = float((lsq(x).detach() - x).square().mean())
    optimiser = torch.optim.Adam(lsq.parameters(), 0.01)
    for _ in range(200):
        optimiser.zero_grad()
        (lsq(x) - x).square().mean().backward()
        optimiser.step()
    assert float((lsq(x).detach() - x).square().mean()) < 0.02 * before


@pytest.mark.parametrize("bits", range(1, 9))
def test_dorefa_weights_are_the_papers(bits: int) -> None:
    weight = weight_like(1)
    module, n = DorefaWeight(bits), 2**bits - 1
    numbers, scale = module.integers(weight)
    assert numbers.dtype == torch.int16 and bool((numbers % 2 != 0).all()) and int(numbers.abs().max()) == n
    torch.testing.assert_close(module(weight), numbers * scale)
    if bits == 1:
        torch.testing.assert_close(module(weight), torch.where(weight >= 0, 1.0, -1.0) * weight.abs().mean())
    else:
        t = weight.tanh() / weight.tanh().abs().max()
        torch.testing.assert_close(module(weight), 2 * torch.round((t / 2 + 0.5) * n) / n - 1)
        wide = quantize(module(weight), scale, bits + 1) if bits < 8 else module(weight)
        torch.testing.assert_close(wide, module(weight))  # a symmetric grid needs one bit more


def test_pact_clips_at_its_level() -> None:
    x = torch.linspace(-5, 5, 101)
    y = PactActivation(8, 2.0)(x)
    torch.testing.assert_close(y, 0.5 * (x.abs() - (x - 2).abs() + 2), rtol=0, atol=2 / 255)
    torch.testing.assert_close(PactActivation(8, 2.0, True)(x), x.clamp(-2, 2), rtol=0, atol=2 / 127)
    assert PactActivation(3, 3.0, True)(x).unique().tolist() == [-3, -2, -1, 0, 1, 2, 3]


def test_bad_settings_are_one_sentence() -> None:
    with pytest.raises(InputError, match="2 to 8 bits, not 1"):
        PactActivation(1, 1.0, signed=True)
    with pytest.raises(InputError, match="positive and finite"):
        PactActivation(4, 0.0)
    with pytest.raises(InputError, match="1 to 8 bits, not 0"):
        LsqWeight(torch.ones(2, 2), 0)
