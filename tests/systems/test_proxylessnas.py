"""ProxylessNAS's checklist: one step of the probabilities."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from block_paths import CLASSES, GradedNet, graded_data, random_table, steep, tiny_space
from labelled import Labelled
from netsmith.data import Data
from netsmith.data.batch import Batch
from netsmith.errors import InputError
from netsmith.space import CostTable, Factor
from netsmith.supernets import SuperNet
from netsmith.supernets.expected import expected_cost
from netsmith.supernets.gates import Mode
from netsmith.supernets.objective import FORMS, Objective
from netsmith.supernets.pairs import draw_pairs, of_pairs
from netsmith.supernets.supernet import Gates, draw
from netsmith.systems.proxylessnas import Architect, ProxylessConfig
from netsmith.training.modes import frozen_statistics

CONFIG = ProxylessConfig(batch=16)
DRAWS = 150


def noise_data() -> Data:
    """16 images of noise to search on, the same in every step."""
    data, rng = graded_data(16, 16), np.random.default_rng(1)
    images = torch.from_numpy(rng.integers(0, 256, (16, 1, 8, 8), dtype=np.uint8))
    return replace(data, search=replace(data.search, images=images))


def example(seed: int = 0, **config) -> tuple[Architect, SuperNet]:
    network = steep(SuperNet(tiny_space(), CLASSES, 1), seed)
    architect = Architect(
        network, Labelled(noise_data()), Objective({}, {}), replace(CONFIG, **config), 0.01, bf16=False
    )
    return architect, network


def jacobian(p: torch.Tensor) -> torch.Tensor:
    """``dp_j / dlogit_i`` of every row, ``(D, K, K)``, equation 4 of the paper."""
    eye = torch.eye(p.shape[1], dtype=p.dtype)
    return p[:, :, None] * eye - p[:, :, None] * p[:, None, :]


def by_gates(network: SuperNet, batch: Batch, path: tuple[int, ...]) -> torch.Tensor:
    """Gradient of the cross-entropy by the gates of a path, all candidates in the graph."""
    network.gates = Gates(network.one_hot(np.array(path)), "full")
    gates = network.gates.values
    with frozen_statistics(network):
        loss = F.cross_entropy(batch(network), batch.target)
        network.gates = None
        return torch.autograd.grad(loss, gates)[0].double()


@pytest.mark.parametrize("mode", ["full", "recompute"])
def test_gradients_of_the_logits_are_the_gates_times_the_softmax_jacobian(mode):
    architect, network = example(mode=mode)
    batch, p, seen = architect._batch(0), network.probabilities(), set()
    for seed in range(12):
        with frozen_statistics(network):
            _, found = architect._gradient(batch, np.random.default_rng(seed))
        path = tuple(draw(p.numpy(), np.random.default_rng(seed)).tolist())
        wanted = torch.einsum("dij,dj->di", jacobian(p), by_gates(network, batch, path))
        torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-6)
        seen.add(path)
    assert len(seen) > 4 and any(0 in path[1:] for path in seen)


@pytest.mark.parametrize("mode", ["full", "recompute"])
def test_the_mean_over_draws_is_the_expectation_over_all_paths(mode):
    architect, network = example(2, mode=mode)
    batch, p, expected = architect._batch(0), network.probabilities(), 0.0
    for path in itertools.product(*(range(n) for n in network.space.decisions.sizes)):
        chance = np.prod([float(p[d, k]) for d, k in enumerate(path)])
        expected += chance * torch.einsum("dij,dj->di", jacobian(p), by_gates(network, batch, path))
    with frozen_statistics(network):
        draws = torch.stack([architect._gradient(batch, np.random.default_rng([9, i]))[1] for i in range(DRAWS)])
    error = draws.std(0) / DRAWS**0.5
    assert ((draws.mean(0) - expected).abs() <= 4.5 * error + 1e-9).all()
    assert (expected.abs() > 4.5 * error).any(), "too much noise to see anything"


def test_the_mean_of_pairs_points_where_the_whole_gradient_points():
    """With two choices a block the pair is always both, and mode two is exactly the other modes' expectation."""
    space = tiny_space(3, skip=False)
    space = replace(space, stages=(space.stages[0], replace(space.stages[1], kernels=(3,)), space.stages[2]))
    found = {}
    for mode in ("recompute", "two"):
        network = steep(SuperNet(space, CLASSES, 1), 1)
        architect = Architect(
            network, Labelled(noise_data()), Objective({}, {}), replace(CONFIG, mode=mode), 0.01, bf16=False
        )
        with frozen_statistics(network):
            rngs = (np.random.default_rng([3, i]) for i in range(DRAWS))
            found[mode] = torch.stack([architect._gradient(architect._batch(0), rng)[1] for rng in rngs])
    means = {m: v.mean(0) for m, v in found.items()}
    error = sum(v.var(0) for v in found.values()).div(DRAWS).sqrt()
    assert ((means["two"] - means["recompute"]).abs() < 4.5 * error + 1e-9).all()
    assert (means["two"].abs() > 4.5 * error).any()


# ---- two paths ------------------------------------------------------------------------------------------------------


def test_pairs_are_drawn_without_replacement_by_the_probabilities():
    p = np.array([[0.5, 0.3, 0.2, 0.0], [1.0 - 2e-9, 1e-9, 1e-9, 0.0], [1.0, 0.0, 0.0, 0.0]])
    there = np.array([[True] * 3 + [False]] * 2 + [[True, True, False, False]])
    rng = np.random.default_rng(0)
    pairs = np.array([draw_pairs(p, there, rng) for _ in range(20_000)])
    assert (pairs[..., 0] != pairs[..., 1]).all() and there[np.arange(3)[None, :, None], pairs].all()
    share = lambda d, a, b: ((pairs[:, d, 0] == a) & (pairs[:, d, 1] == b)).mean()  # noqa: E731
    for a, b in itertools.permutations(range(3), 2):
        assert share(0, a, b) == pytest.approx(p[0, a] * p[0, b] / (1 - p[0, a]), abs=0.012)
    assert share(1, 0, 1) == pytest.approx(0.5, abs=0.015) and set(pairs[:, 2].ravel().tolist()) == {0, 1}


@pytest.mark.parametrize("peak", [0.0, 12.0, 60.0, 900.0])
def test_two_paths_leave_all_other_probabilities_and_the_mass_of_the_pair(peak):
    """With logits so far apart that one choice has nearly all of the mass, or all that fits in a number, as well."""
    architect, network = example(mode="two")
    with torch.no_grad():
        network.logits[:, 1] += peak
    architect.objective = Objective({"latency": random_table(network)}, {"latency": 5.0}, "additive", weight=1.0)
    architect.lr = 0.05
    start = network.probabilities()
    for n in range(60):
        before, logits = network.probabilities(), network.logits.clone()
        architect.step()
        after, moved = network.probabilities(), network.logits != logits
        assert (moved.sum(1) <= 2).all()
        assert (after - before)[~moved].abs().max() < 1e-9, n
        kept = torch.where(moved, after - before, 0.0).sum(1)
        assert kept.abs().max() < 1e-9, n
        assert torch.isfinite(network.logits).all()
    if peak == 0.0:
        assert ((network.probabilities() - start).abs().max(1).values > 0.01).all()


def test_a_pair_moves_by_its_own_share_of_the_expected_cost():
    """dE/dlogit with the mass of the pair held: by finite differences along the pair."""
    architect, network = example(3, mode="two")
    table = random_table(network, 3)
    architect.objective = Objective({"latency": table}, {"latency": 2.0}, "additive", weight=1.0)
    p = network.probabilities().numpy()
    pairs = draw_pairs(p, network.there.numpy(), np.random.default_rng(5))
    free, with_cost = (
        (setattr(architect, "objective", replace(architect.objective, weight=w)), _step(architect, 5))[1]
        for w in (0.0, 1.0)
    )
    for d, (i, j) in enumerate(pairs):
        mass, share, h = p[d, i] + p[d, j], p[d, i] / (p[d, i] + p[d, j]), 1e-6
        ends = []
        for sign in (1, -1):
            odds = share / (1 - share) * np.exp(sign * h)  # the first logit moved by h
            q = p.copy()
            q[d, i], q[d, j] = mass * odds / (1 + odds), mass / (1 + odds)
            ends.append(table.expected(q) / 2.0)
        slope = (ends[0] - ends[1]) / (2 * h)
        change = (with_cost - free)[d]
        assert float(change[i]) == pytest.approx(slope, rel=1e-4) and float(change[j]) == pytest.approx(
            -slope, rel=1e-4
        )
        assert change.abs().sum() == pytest.approx(2 * abs(slope), rel=1e-4)


def _step(architect: Architect, seed: int) -> torch.Tensor:
    with frozen_statistics(architect.network):
        return architect._gradient(architect._batch(0), np.random.default_rng(seed))[1]


# ---- costs ----------------------------------------------------------------------------------------------------------


def coupled(network: SuperNet, seed: int = 0) -> CostTable:
    rng = np.random.default_rng(seed)
    factors = (Factor((0, 1), rng.uniform(0, 2, (4, 3))), Factor((0, 1, 2), rng.uniform(0, 2, (4, 3, 3))))
    return replace(random_table(network, seed), factors=factors)


def test_expected_costs_are_those_of_the_table_and_their_gradients_finite_differences():
    network = steep(SuperNet(tiny_space(), CLASSES, 1), 4)
    for table in (random_table(network), coupled(network)):
        logits = network.logits.clone().requires_grad_()
        p = network.probabilities(logits)
        found = expected_cost(table, p)
        assert float(found.detach()) == pytest.approx(table.expected(p.detach().numpy()), rel=1e-12)
        designs = np.array(list(itertools.product(range(4), range(3), range(3))))
        chances = p.detach().numpy()[np.arange(3), designs].prod(axis=1)
        assert float(found.detach()) == pytest.approx(chances @ table.price(designs), rel=1e-12)
        (slope,) = torch.autograd.grad(found, logits)
        for d, k in np.argwhere(network.there.numpy()):
            ends = []
            for sign in (1, -1):
                moved = network.logits.clone()
                moved[d, k] += sign * 1e-5
                ends.append(table.expected(network.probabilities(moved).numpy()))
            assert float(slope[d, k]) == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-5, abs=1e-8)
        assert (slope[~network.there] == 0).all()


def test_the_expected_cost_of_one_hot_logits_is_that_of_the_network():
    network = SuperNet(tiny_space(), CLASSES, 1)
    for table in (random_table(network), coupled(network)):
        for design in network.space.decisions.sample(np.random.default_rng(0), 10):
            logits = torch.zeros_like(network.logits)
            logits[torch.arange(3), torch.from_numpy(design)] = 1000.0
            found = float(expected_cost(table, network.probabilities(logits)))
            assert found == pytest.approx(table.price(design)[0], rel=1e-12)


@pytest.mark.parametrize("mode", get_args(Mode))
@pytest.mark.parametrize("form", FORMS)
def test_with_blocks_skipped_costs_and_gates_keep_their_gradients(form, mode):
    """The path is the one that skips every block that can be; what the cost adds is the derivative of the loss."""
    architect, network = example(5, mode=mode)
    limit, table = 6.0, random_table(network)
    with torch.no_grad():
        network.logits[1:, 0] = 4.0
    seed = next(s for s in range(99) if (drawn(architect, s)[1:] == 0).all())
    network.multipliers.fill_(0.7)
    free = _step(architect, seed)
    assert (free[1:, 1:].abs().sum(1) > 0).all() and (free[1:].sum(1).abs() < 1e-9).all()
    architect.objective = Objective({"latency": table}, {"latency": limit}, form, weight=0.3, exponent=0.4)
    both = _step(architect, seed)
    logits = network.logits.clone().requires_grad_()
    ratio = expected_cost(table, network.probabilities(logits)) / limit
    (slope,) = torch.autograd.grad(ratio, logits)
    r = float(ratio.detach())
    with frozen_statistics(network):
        error, _ = architect._gradient(architect._batch(0), np.random.default_rng(seed))
    factor, rate = {
        "additive": (1.0, 0.3),
        "multiplicative": (r**0.4, error * 0.4 * r ** (0.4 - 1)),
        "constrained": (1.0, max(0.7 + 2.0 * (r - 1), 0.0)),
    }[form]
    cost = both - factor * free
    if mode != "two":
        torch.testing.assert_close(cost, rate * slope, rtol=1e-4, atol=1e-7)
    else:  # of the pair alone
        moved = cost.abs() > 1e-9
        assert (moved.sum(1) == 2).all() and (torch.where(moved, cost, 0.0).sum(1).abs() < 1e-6).all()


def drawn(architect: Architect, seed: int) -> np.ndarray:
    """The path that ``_gradient`` draws with a seed."""
    p, rng = architect.network.probabilities(), np.random.default_rng(seed)
    if architect.config.mode == "two":
        p = of_pairs(architect.network.logits, draw_pairs(p.numpy(), architect.network.there.numpy(), rng))
    return draw(p.numpy(), rng)


# ---- reinforce ------------------------------------------------------------------------------------------------------


def test_reinforce_points_where_the_expected_reward_grows():
    """Against the derivative of the expected reward over all paths, with a cost that is no sum."""
    space = tiny_space()
    quality = np.array([[0.05, 0.1, 0.2, 0.3], [0.0, 0.1, 0.25, 0], [0.05, 0.2, 0.3, 0]])
    network = steep(GradedNet(space, quality), 6, 0.5)
    data = graded_data()

    def costs(designs):
        designs = np.atleast_2d(designs)
        return {"latency": 1.0 + designs.max(axis=1) * (1 + designs[:, 0] * designs[:, 1])}

    objective = Objective({"latency": random_table(network)}, {"latency": 3.0})
    config = ProxylessConfig(batch=256, update="reinforce", samples=40, reward_exponent=0.3)
    architect = Architect(network, Labelled(data), objective, config, 0.1, costs)
    batch = architect._batch(0)
    designs = np.array(list(itertools.product(range(4), range(3), range(3))))
    scores = quality[np.arange(3), designs].sum(axis=1)
    rewards = (scores[:, None] > np.linspace(0, 255, 256).astype(np.uint8) / 255).mean(1)
    rewards = rewards * (3.0 / costs(designs)["latency"]) ** 0.3
    logits = network.logits.clone().requires_grad_()
    p = network.probabilities(logits)
    chance = torch.stack([p[d, designs[:, d]] for d in range(3)]).prod(0)
    (wanted,) = torch.autograd.grad(-(chance * torch.from_numpy(rewards)).sum(), logits)
    network.updates.fill_(1)
    network.baseline.fill_(float((chance.detach() * torch.from_numpy(rewards)).sum()))
    found = []
    for i in range(60):
        found.append(architect._reinforce(batch, np.random.default_rng([1, i]))[1])
    found = torch.stack(found)
    error = found.std(0) / 60**0.5
    # the part of a network in its own baseline shrinks the estimate by a tenth of a fortieth
    assert ((found.mean(0) - wanted).abs() <= 4.5 * error + 0.02 * wanted.abs() + 1e-12).all()
    assert F.cosine_similarity(found.mean(0).flatten(), wanted.flatten(), dim=0) > 0.95
    before = float((chance.detach() * torch.from_numpy(rewards)).sum())
    for _ in range(40):
        architect.step()
    now = network.probabilities()
    assert (
        float(torch.stack([now[d, designs[:, d]] for d in range(3)]).prod(0) @ torch.from_numpy(rewards))
        > before + 0.02
    )


def test_reinforce_runs_every_sampled_network_on_the_same_images_and_leaves_no_path_behind():
    network = steep(SuperNet(tiny_space(), CLASSES, 1), 1)
    config = replace(CONFIG, update="reinforce", samples=4)
    table = random_table(network)
    architect = Architect(
        network, Labelled(noise_data()), Objective({"latency": table}, {"latency": 9.0}), config, 0.01
    )
    ran = []
    network.stem.register_forward_hook(lambda module, inputs, out: ran.append(inputs[0].clone()))
    before = network.logits.clone()
    architect.step()
    assert len(ran) == 4 and all(torch.equal(ran[0], x) for x in ran)
    assert network.path is None and network.gates is None and int(network.passes) == 0
    assert not torch.equal(before, network.logits)


def test_budgets_tighten_from_what_all_paths_alike_cost_to_what_they_are():
    network = steep(SuperNet(tiny_space(), CLASSES, 1, costs=2), 2)
    sizes = network.space.decisions.sizes
    unary = np.where(np.arange(sizes.max()) < sizes[:, None], np.arange(sizes.max()), np.inf).astype(float)
    alike = 1.0 + float(np.mean(unary, axis=1, where=np.isfinite(unary)).sum())
    tables = {"latency": CostTable(1.0, unary), "energy": CostTable(1.0, unary)}
    objective = Objective(tables, {"latency": alike / 3, "energy": 2 * alike})  # the second is no constraint yet
    architect = Architect(network, Labelled(noise_data()), objective, replace(CONFIG, tighten=0.5), 0.01, updates=100)
    for n, left in ((0, 1.0), (20, 0.6), (50, 0.0), (99, 0.0)):
        assert architect._slack(n).tolist() == pytest.approx([2.0 * left, 0.0])
    assert architect.allowed() == {"latency": pytest.approx(alike), "energy": pytest.approx(2 * alike)}
    network.updates.fill_(50)
    assert architect.allowed() == {}
    with pytest.raises(InputError, match=r"tighten is 1\.5; it is a share of the search"):
        Architect(network, Labelled(noise_data()), objective, replace(CONFIG, tighten=1.5), 0.01, updates=100)
    at_once = Architect(network, Labelled(noise_data()), objective, replace(CONFIG, tighten=0.0), 0.01, updates=100)
    assert at_once._slack(0).tolist() == [0.0, 0.0]
