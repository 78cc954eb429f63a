"""Gradients of binary gates: of every way to compute them against autograd of the weighted sum of all candidates."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from block_paths import CLASSES, steep, tiny_space
from netsmith.supernets import SuperNet
from netsmith.supernets.gates import GatedBlock
from netsmith.supernets.supernet import Gates
from netsmith.training.modes import frozen_statistics

PATHS = list(itertools.product(range(4), range(3), range(3)))
SKIPPED = [p for p in PATHS if 0 in p[1:]]


def example() -> tuple[SuperNet, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return steep(SuperNet(tiny_space(), CLASSES, 1)), torch.randn(12, 1, 8, 8), torch.arange(12) % CLASSES


def weighted(network: SuperNet, x: torch.Tensor, gates: torch.Tensor) -> torch.Tensor:
    """The network with ``sum_k g_k o_k`` in every block, written anew; ``gates (D, K)``."""
    y, d = network.stem(x), 0
    for slot, block in zip(network.space.slots, network.blocks, strict=True):
        if len(slot.choices) == 1:
            total = block.candidates["0"](y)
        else:
            runs = [(k, block.candidates[str(k)](y)) for k, name in enumerate(slot.choices) if name != "skip"]
            total = sum(gates[d, k] * out for k, out in runs)
            d += 1
        y = y + total if slot.stride == 1 and slot.c_in == slot.channels else total
    return network.classifier(F.adaptive_avg_pool2d(network.head(y), 1).flatten(1))


def gradient(network: SuperNet, x: torch.Tensor, labels: torch.Tensor, gates: Gates) -> tuple[torch.Tensor, ...]:
    """Logits, and gradients of the gates, the stem's weight and the input."""
    network.gates = gates
    x = x.clone().requires_grad_()
    try:
        out = network(x)
    finally:
        network.gates = None
    stem = network.stem[0].weight
    return out.detach(), *torch.autograd.grad(F.cross_entropy(out, labels), [gates.values, stem, x])


def reference(network: SuperNet, x: torch.Tensor, labels: torch.Tensor, path: tuple[int, ...]):
    gates, x = network.one_hot(np.array(path)), x.clone().requires_grad_()
    out = weighted(network, x, gates)
    stem = network.stem[0].weight
    return out.detach(), *torch.autograd.grad(F.cross_entropy(out, labels), [gates, stem, x])


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("mode", ["full", "recompute"])
def test_gradients_of_all_gates_are_those_of_the_weighted_sum(mode, training):
    network, x, labels = example()
    with frozen_statistics(network):  # the reference changes statistics as little as the gates do
        network.train(training)
        for path in PATHS:
            wanted = reference(network, x, labels, path)
            found = gradient(network, x, labels, Gates(network.one_hot(np.array(path)), mode))
            for a, b in zip(found, wanted, strict=True):
                torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
            # with a block skipped the gates of its other candidates have gradients, and its own has none
            for d in range(3):
                there = found[1][d, 1 if d else 0 : network.space.decisions.sizes[d]]
                assert (there.abs() > 1e-7).all()
                assert d == 0 or found[1][d, 0] == 0


def test_recompute_is_full_to_rounding():
    network, x, labels = example()
    for path in SKIPPED[::3] + PATHS[::5]:
        with frozen_statistics(network):
            gates = (Gates(network.one_hot(np.array(path)), mode) for mode in ("full", "recompute"))
            (_, a, *_), (_, b, *_) = (gradient(network, x, labels, g) for g in gates)
        assert (a - b).abs().max() <= 1e-5 * a.abs().max()


def test_of_a_pair_both_gates_have_their_gradient_and_no_other_has_one():
    network, x, labels = example()
    rng = np.random.default_rng(0)
    for path in PATHS[::3]:
        other = [(k + rng.integers(1, n)) % n for k, n in zip(path, (4, 3, 3), strict=True)]
        pairs = np.array([path, other]).T[:, :: rng.choice([1, -1])]
        with frozen_statistics(network):
            _, wanted, *rest = reference(network, x, labels, path)
            gates = Gates(network.one_hot(np.array(path)), "two", np.ascontiguousarray(pairs))
            _, found, *passed = gradient(network, x, labels, gates)
        mask = torch.zeros_like(wanted).scatter_(1, torch.from_numpy(pairs.copy()), 1.0)
        torch.testing.assert_close(found, wanted * mask, rtol=1e-4, atol=1e-6)
        for a, b in zip(passed, rest, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("mode", ["full", "recompute"])
def test_a_first_block_whose_input_needs_no_gradient(mode):
    torch.manual_seed(0)
    parts = [nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)) for _ in range(2)]
    block, x, seen = GatedBlock([None, *parts], residual=True), torch.randn(6, 4, 5, 5), torch.randn(6, 4, 5, 5)
    for k in range(3):
        gates = torch.eye(3)[k].requires_grad_()
        with frozen_statistics(block):
            (block(x, k, gates, mode, [j for j in range(3) if j != k]) * seen).sum().backward()
            wanted = [0.0, *(float((part(x) * seen).sum().detach()) for part in parts)]
        assert gates.grad is not None and gates.grad.tolist() == pytest.approx(wanted, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("mode", ["full", "recompute"])
def test_an_architecture_step_leaves_weights_gradients_and_statistics_alone(mode):
    network, x, labels = example()
    network.eval()
    for p in network.parameters():
        p.grad = torch.full_like(p, 7.0)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    with frozen_statistics(network):
        gradient(network, x, labels, Gates(network.one_hot(np.array([2, 0, 1])), mode))
        gradient(network, x, labels, Gates(network.one_hot(np.array([1, 2, 2])), mode))
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
    assert all((p.grad == 7.0).all() for p in network.parameters() if p.grad is not None)
    assert not network.training and all(m.momentum == 0.1 for m in network.modules() if isinstance(m, nn.BatchNorm2d))


def test_under_autocast_the_candidates_that_run_later_have_the_same_precision():
    """What runs in the backward pass must be what would have run in the forward pass, in bfloat16 as well."""
    network, x, labels = example()
    exact = reference(network, x, labels, (1, 2, 1))[1]
    with frozen_statistics(network), torch.autocast("cpu", torch.bfloat16):
        found = {
            m: gradient(network, x, labels, Gates(network.one_hot(np.array([1, 2, 1])), m))[1]
            for m in ("full", "recompute")
        }
    scale = exact.abs().max()
    assert (found["full"] - found["recompute"]).abs().max() < 0.03 * scale
    assert (found["recompute"] - exact).abs().max() > 1e-5 * scale, "nothing ran in bfloat16"


def test_nothing_of_the_other_candidates_is_kept_for_the_backward_pass():
    """The tensors that autograd packs away do not depend on how many candidates a block has."""
    torch.manual_seed(0)

    def kept(n: int, mode: str) -> int:
        parts = [nn.Sequential(nn.Conv2d(4, 8, 1), nn.ReLU(), nn.Conv2d(8, 4, 1)) for _ in range(n)]
        block, sizes = GatedBlock(parts, residual=True), []
        x = torch.randn(2, 4, 6, 6, requires_grad=True)
        with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.numel()) or t, lambda t: t):
            block(x, 0, torch.eye(n)[0].requires_grad_(), mode, range(1, n)).sum()
        return sum(sizes)

    assert kept(7, "recompute") == kept(2, "recompute")
    assert kept(7, "full") > 2 * kept(2, "full")  # the measure sees what it should
