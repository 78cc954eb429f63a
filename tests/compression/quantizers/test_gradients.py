"""Gradients of the trained quantizers against their papers' formulas, autograd and finite differences."""

from __future__ import annotations

import math

import pytest
import torch

from netsmith.compression.quantizers import DorefaActivation, DorefaWeight, LsqActivation, LsqWeight, PactActivation
from netsmith.compression.quantizers.gradients import keep_positive
from netsmith.compression.quantizers.linear import qmax


def lsq_by_autograd(x: torch.Tensor, step: torch.Tensor, low: int, high: int, gain: float) -> torch.Tensor:
    """LSQ composed of differentiable pieces, as the paper's appendix does: scaled gradient, clip, passed rounding."""
    step = (step - step * gain).detach() + step * gain
    ratio = (x / step).clamp(low, high)
    return ((ratio.round() - ratio).detach() + ratio) * step


@pytest.mark.parametrize("bits", [2, 3, 8])
@pytest.mark.parametrize("per_channel", [True, False])
def test_lsq_weight_gradients_are_those_of_its_composition(bits: int, per_channel: bool) -> None:
    torch.manual_seed(bits)
    weight = torch.randn(5, 3, 3, 3, requires_grad=True)
    upstream = torch.randn(5, 3, 3, 3)
    module = LsqWeight(weight, bits, per_channel)
    (module(weight) * upstream).sum().backward()
    got = weight.grad.clone(), module.step.grad.clone()
    weight.grad, step, top = None, module.step.detach().clone().requires_grad_(), qmax(bits)
    gain = 1 / math.sqrt((27 if per_channel else 135) * top)
    (lsq_by_autograd(weight, step.reshape(-1, 1, 1, 1), -top, top, gain) * upstream).sum().backward()
    torch.testing.assert_close(got[0], weight.grad)
    torch.testing.assert_close(got[1], step.grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("signed", [True, False])
def test_lsq_activation_gradients_are_those_of_its_composition(signed: bool) -> None:
    torch.manual_seed(0)
    x = torch.randn(4, 3, 5, 5, requires_grad=True)
    upstream = torch.randn(4, 3, 5, 5)
    module = LsqActivation(4, signed)
    (module(x) * upstream).sum().backward()
    got = x.grad.clone(), module.step.grad.clone()
    x.grad, step = None, module.step.detach().clone().requires_grad_()
    low, high = (-8, 7) if signed else (0, 15)
    (lsq_by_autograd(x, step, low, high, 1 / math.sqrt(75 * high)) * upstream).sum().backward()  # 75 features an image
    torch.testing.assert_close(got[0], x.grad)
    torch.testing.assert_close(got[1], step.grad, rtol=1e-4, atol=1e-5)


def test_lsq_gradients_by_hand() -> None:
    x = torch.tensor([[-1.0, 0.6, 1.3, 2.4, 9.0]], requires_grad=True)
    module = LsqActivation(2)
    module(x)
    with torch.no_grad():
        module.step.fill_(1.0)
    module(x).sum().backward()
    assert x.grad.tolist() == [[0.0, 1.0, 1.0, 1.0, 0.0]]
    # rounding minus value inside, 0 below, 3 above
    assert float(module.step.grad) == pytest.approx((0.4 - 0.3 - 0.4 + 3.0) / math.sqrt(5 * 3), rel=1e-5)


def test_clipped_values_have_the_true_derivative() -> None:
    """Where everything is clipped the functions are smooth in their parameter, and finite differences apply."""
    x = torch.tensor([[5.0, -7.0, 6.0]])
    eps = 1e-3
    for module, parameter, gain in (
        (PactActivation(3, 2.0), "c", 1.0),
        (PactActivation(3, 2.0, signed=True), "c", 1.0),
        (started(LsqActivation(3), 0.1), "step", 1 / math.sqrt(3 * 7)),
        (started(LsqActivation(3, signed=True), 0.1), "step", 1 / math.sqrt(3 * 3)),
        (started(LsqWeight(x, 3, per_channel=False), 0.1), "step", 1 / math.sqrt(3 * 3)),
    ):
        p = getattr(module, parameter)
        module(x).sum().backward()
        outputs = []
        for sign in (1, -1):
            with torch.no_grad():
                p.add_(sign * eps)
                outputs.append(float(module(x).double().sum()))
                p.sub_(sign * eps)
        assert float(p.grad) == pytest.approx(gain * (outputs[0] - outputs[1]) / (2 * eps), rel=1e-3)


def started(module: torch.nn.Module, step: float) -> torch.nn.Module:
    module(torch.ones(1, 3))
    with torch.no_grad():
        module.step.fill_(step)
    return module


@pytest.mark.parametrize("signed", [True, False])
def test_pact_gradients_are_those_of_its_formula(signed: bool) -> None:
    torch.manual_seed(1)
    x = (3 * torch.randn(200)).requires_grad_()
    upstream = torch.randn(200)
    module = PactActivation(4, 2.5, signed)
    (module(x) * upstream).sum().backward()
    got = x.grad.clone(), module.c.grad.clone()
    x.grad, c = None, torch.tensor([2.5], requires_grad=True)
    if signed:
        smooth = 0.5 * ((x + c).abs() - (x - c).abs())
    else:
        smooth = 0.5 * (x.abs() - (x - c).abs() + c)
    (smooth * upstream).sum().backward()
    torch.testing.assert_close(got[0], x.grad)
    torch.testing.assert_close(got[1], c.grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_dorefa_weight_gradient_is_that_of_the_smooth_part(bits: int) -> None:
    torch.manual_seed(0)
    weight = torch.randn(4, 6, dtype=torch.float64, requires_grad=True)
    upstream = torch.randn(4, 6, dtype=torch.float64)
    (DorefaWeight(bits)(weight) * upstream).sum().backward()

    def smooth(w: torch.Tensor) -> torch.Tensor:
        return (w.tanh() / w.tanh().abs().max() * upstream).sum()

    eps, want = 1e-6, torch.zeros_like(weight)
    with torch.no_grad():
        for i in range(weight.numel()):
            bump = torch.zeros(weight.numel(), dtype=torch.float64)
            bump[i] = eps
            bump = bump.reshape(weight.shape)
            want.view(-1)[i] = (smooth(weight + bump) - smooth(weight - bump)) / (2 * eps)
    torch.testing.assert_close(weight.grad, want, rtol=1e-6, atol=1e-7)


def test_dorefa_passes_inside_and_stops_outside() -> None:
    x = torch.tensor([-0.2, -0.01, 0.0, 0.4, 1.0, 1.01, 3.0], requires_grad=True)
    DorefaActivation(1)(x).sum().backward()
    assert x.grad.tolist() == [0, 0, 1, 1, 1, 0, 0]
    weight = torch.tensor([[-3.0, 0.1, 2.0]], requires_grad=True)
    DorefaWeight(1)(weight).sum().backward()
    assert weight.grad.tolist() == [[1.0, 1.0, 1.0]]


def test_binary_lsq_passes_within_one_step() -> None:
    weight = torch.tensor([[-3.0, -0.4, 0.4, 3.0]], requires_grad=True)
    module = LsqWeight(weight, 1)
    with torch.no_grad():
        module.step.fill_(1.0)
    (module(weight) * torch.tensor([[1.0, 2.0, 3.0, 4.0]])).sum().backward()
    assert weight.grad.tolist() == [[0.0, 2.0, 3.0, 0.0]]
    # -1, 2 (-1 + 0.4), 3 (1 - 0.4), 4
    assert float(module.step.grad) == pytest.approx((-1 - 1.2 + 1.8 + 4) / 2)


def test_a_positive_parameter_cannot_die() -> None:
    p = torch.tensor([-2.0, 0.0, 1e-12, torch.nan, 3.0], requires_grad=True)
    value = keep_positive(p, 1e-8)
    assert value.tolist() == pytest.approx([2.0, 1e-8, 1e-8, 1e-8, 3.0])
    value.sum().backward()
    assert p.grad.tolist() == [-1.0, 1.0, 1.0, 1.0, 1.0]
