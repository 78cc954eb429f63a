"""ProxylessNAS's checklist: whole searches, on networks whose accuracy is known, on digits, killed and resumed."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from block_paths import CLASSES, GradedNet, graded_data, random_table, steep, tiny_space
from labelled import Labelled
from netsmith.data import load_data
from netsmith.errors import InfeasibleError, InputError
from netsmith.space import CostTable
from netsmith.supernets import BlockSpace, SuperNet
from netsmith.supernets.objective import Objective
from netsmith.supernets.space import Stage
from netsmith.systems.proxylessnas import ProxylessConfig, most_probable_within, path_lr, proxylessnas

DEPTH = 5
QUICK = ProxylessConfig(warmup=0, epochs=15, every=1, batch=32)
TRAINING = {"augment": None, "bf16": False}
COSTS = CostTable(1.0, np.tile([0.0, 1.0, 2.0], (DEPTH, 1)))


def graded_net(seed: int = 0, skip: bool = True) -> GradedNet:
    """Five blocks, each of which may be skipped, small or large; what a choice costs it is worth."""
    stages = (Stage(8, 1, kernels=(3,), expansions=(1,), skip=False), Stage(8, DEPTH, kernels=(3,), expansions=(1, 2)))
    worth = np.random.default_rng(seed).uniform(0.5, 1.5, (DEPTH, 1))
    quality = np.array([[0.0, 0.1, 0.16]]) * worth
    if not skip:
        stages, quality = (stages[0], replace(stages[1], skip=False)), quality[:, 1:]
    return GradedNet(BlockSpace("graded", 8, 8, 1, 0, stages), quality, seed=seed)


def search(network: SuperNet, objective: Objective, config: ProxylessConfig = QUICK):
    seen: list[dict] = []
    design = proxylessnas(network, Labelled(graded_data()), objective, config, record=seen.append, **TRAINING)
    return design, seen


@pytest.mark.parametrize("mode", ["recompute", "two"])
def test_a_constrained_search_uses_its_budget_and_keeps_it(mode):
    """From above where it starts above, and without going needlessly below: accuracy grows with cost."""
    for limit, seed in ((3.0, 0), (8.0, 1)):
        network = graded_net(seed)
        objective = Objective({"latency": COSTS}, {"latency": limit})
        config = replace(QUICK, mode=mode, seed=seed, epochs=15 if mode == "recompute" else 40)
        design, seen = search(network, objective, config)
        expected = np.array([s["expected"]["latency"] for s in seen])
        designs = np.array(list(itertools.product(range(3), repeat=DEPTH)))
        worth = network.quality.numpy()[np.arange(DEPTH), designs].sum(axis=1)
        best = worth[COSTS.price(designs) <= limit].max()
        assert COSTS.price(design)[0] <= limit
        assert network.quality.numpy()[np.arange(DEPTH), design].sum() >= 0.95 * best
        assert expected[-1] == pytest.approx(limit, rel=0.08 if mode == "recompute" else 0.15)
        if limit < expected[0]:
            assert expected[:20].min() > limit and expected.min() > (0.85 if mode == "recompute" else 0.7) * limit
        assert seen[-1]["entropy"] < seen[0]["entropy"] and seen[-1]["multipliers"]["latency"] > 0


def test_without_a_budget_in_the_way_the_best_network_is_found():
    network = graded_net()
    design, seen = search(network, Objective({"latency": COSTS}, {"latency": 100.0}))
    assert design.tolist() == [2] * DEPTH and seen[-1]["multipliers"]["latency"] == 0.0
    network = graded_net()
    design, _ = search(network, Objective({"latency": COSTS}, {}))  # no budget at all
    assert design.tolist() == [2] * DEPTH


def test_a_rising_weight_lowers_the_cost_and_weight_0_ignores_the_table():
    costs = []
    for weight in (0.0, 0.4, 1.0, 4.0):
        found = []
        for seed in range(2):
            objective = Objective({"latency": COSTS}, {"latency": 4.0}, "additive", weight=weight)
            network = graded_net(seed)
            search(network, objective, replace(QUICK, seed=seed, epochs=7))
            found.append(COSTS.price(network.most_probable())[0])
        costs.append(float(np.mean(found)))
    assert costs == sorted(costs, reverse=True) and costs[0] == 11.0 and costs[-1] == 1.0 and len(set(costs)) >= 3
    other = CostTable(7.0, np.random.default_rng(0).uniform(0, 9, (DEPTH, 3)))
    ends = []
    for table in (COSTS, other):
        network = graded_net()
        search(network, Objective({"latency": table}, {"latency": 100.0}, "additive", weight=0.0), QUICK)
        ends.append(network.logits)
    assert torch.equal(*ends)


@pytest.mark.parametrize("form", ["constrained", "additive", "multiplicative"])
def test_the_unit_of_a_cost_changes_nothing(form):
    ends = []
    for unit in (1.0, 1e-6):  # microseconds and seconds
        table = CostTable(COSTS.fixed * unit, COSTS.unary * unit)
        network = graded_net(1)
        design, _ = search(
            network, Objective({"latency": table}, {"latency": 4.0 * unit}, form), replace(QUICK, epochs=4)
        )
        ends.append((design.tolist(), network.logits, network.multipliers))
    assert ends[0][0] == ends[1][0]
    for a, b in zip(ends[0][1:], ends[1][1:], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def test_depth_is_searched_only_where_blocks_may_be_skipped():
    design, _ = search(graded_net(), Objective({"latency": COSTS}, {"latency": 3.0}))
    assert (design == 0).sum() >= 3  # a block is at least 1, and 1 is fixed
    full = CostTable(1.0, COSTS.unary[:, 1:])
    network = graded_net(skip=False)
    design, _ = search(network, Objective({"latency": full}, {"latency": 7.0}))
    assert "skip" not in network.space.chosen(design) and len(network.space.describe(design, 10).blocks) == 1 + DEPTH
    assert full.price(design)[0] <= 7.0


def test_reinforce_finds_a_network_within_a_cost_that_is_no_sum():
    def costs(designs):
        return {"latency": 1.0 + np.atleast_2d(designs).max(axis=1) ** 2.0}

    network = graded_net(2)
    config = replace(QUICK, update="reinforce", samples=12, epochs=25, reward_exponent=0.8, batch=64)
    proxylessnas(
        network, Labelled(graded_data()), Objective({"latency": COSTS}, {"latency": 2.0}),
        replace(config, path_lr=0.05), costs=costs, **TRAINING,
    )  # fmt: skip
    assert network.most_probable().tolist() == [1] * DEPTH  # any 2 costs 5 instead of 2, and all 0 gets nothing right


def test_infeasible_budgets_are_found_before_anything_is_trained(tmp_path: Path):
    network = graded_net()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    with pytest.raises(InfeasibleError) as caught:
        proxylessnas(
            network,
            Labelled(graded_data()),
            Objective({"latency": COSTS}, {"latency": 0.9}),
            QUICK,
            folder=tmp_path,
            **TRAINING,
        )
    assert caught.value.reachable["latency"] == pytest.approx(1.0)
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items()) and not list(tmp_path.iterdir())


def test_settling_is_the_most_probable_network_within_the_budgets():
    network = SuperNet(tiny_space(), CLASSES, 1)
    designs = np.array(list(itertools.product(range(4), range(3), range(3))))
    for seed in range(8):
        steep(network, seed, 2.0)
        tables = {"latency": random_table(network, seed), "energy": random_table(network, seed + 50)}
        costs = {n: t.price(designs) for n, t in tables.items()}
        limits = {"latency": float(np.quantile(costs["latency"], 0.3)), "energy": float(np.median(costs["energy"]))}
        p = network.probabilities().numpy()[np.arange(3), designs].prod(axis=1)
        ok = np.all([costs[n] <= limits[n] for n in limits], axis=0)
        if not ok.any():
            continue
        found, loss = most_probable_within(network.shares(), tables, limits)
        assert found.tolist() == designs[np.where(ok, p, 0).argmax()].tolist()
        assert loss == pytest.approx(-np.log(np.where(ok, p, 0).max()))
        assert most_probable_within(network.shares(), tables, {})[0].tolist() == network.most_probable().tolist()


# ---- interruptions --------------------------------------------------------------------------------------------------


class Killed(BaseException):
    pass


@pytest.mark.parametrize("mode", ["recompute", "two", "reinforce"])
def test_a_killed_and_resumed_search_ends_with_the_same_bits(tmp_path: Path, mode):
    """Killed in the warm-up, between the two trainings and within the search, each time by a new process."""
    data = load_data("digits")
    data = replace(data, train=data.need_train().take(slice(0, 384)), search=data.search.take(slice(0, 64)))
    space = tiny_space(dropout=0.2)
    update = {"update": "reinforce", "samples": 2} if mode == "reinforce" else {"mode": mode}
    config = ProxylessConfig(warmup=2, epochs=4, every=2, batch=32, **update)

    def run(folder: Path, kill: int | None) -> tuple[SuperNet, np.ndarray]:
        network = SuperNet(space, 10, 1)
        objective = Objective({"latency": random_table(network)}, {"latency": 12.0})
        count = [0]

        def record(where: dict) -> None:
            count[0] += 1
            if kill is not None and count[0] == kill:
                raise Killed

        design = proxylessnas(
            network, Labelled(data), objective, config, folder=folder, record=record, bf16=False, checkpoint_steps=5
        )
        return network, design

    whole, design = run(tmp_path / "whole", None)
    for kill in (3, 14, 7, 12, 25, 20):
        with pytest.raises(Killed):
            run(tmp_path / "parts", kill)
    parts, again = run(tmp_path / "parts", None)
    assert design.tolist() == again.tolist() and int(whole.updates) > 15
    for (name, a), b in zip(whole.state_dict().items(), parts.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


def test_a_folder_of_another_search_is_refused(tmp_path: Path):
    def run(limit: float, config: ProxylessConfig) -> None:
        objective = Objective({"latency": COSTS}, {"latency": limit})
        proxylessnas(graded_net(), Labelled(graded_data(64, 32)), objective, config, folder=tmp_path, **TRAINING)

    run(4.0, replace(QUICK, epochs=1))
    for limit, config in ((5.0, replace(QUICK, epochs=1)), (4.0, replace(QUICK, epochs=1, path_lr=0.3))):
        with pytest.raises(InputError, match="was made with"):
            run(limit, config)
    run(4.0, replace(QUICK, epochs=1))


def test_a_search_that_fails_in_its_warm_up_leaves_the_network_drawing_by_its_probabilities():
    network = graded_net()

    def record(where: dict) -> None:
        raise Killed

    with pytest.raises(Killed):
        proxylessnas(
            network,
            Labelled(graded_data()),
            Objective({"latency": COSTS}, {}),
            replace(QUICK, warmup=1),
            record=record,
            **TRAINING,
        )
    assert not network.uniform


def test_what_is_recorded():
    network, seen = graded_net(), []
    config = replace(QUICK, warmup=1, epochs=2, every=3)
    objective = Objective({"latency": COSTS, "macs": COSTS}, {"latency": 4.0})
    proxylessnas(network, Labelled(graded_data()), objective, config, record=seen.append, **TRAINING)
    steps = 16
    assert [s["epoch"] for s in seen] == pytest.approx([(i + 1) / steps for i in range(3 * steps)])
    assert [s["warmup"] for s in seen] == [True] * steps + [False] * 2 * steps
    quiet = [s["probabilities"] for s in seen[: 2 * steps]]
    assert all(p == quiet[0] for p in quiet), "probabilities moved in the warm-up or in the epoch after it"
    assert seen[-1]["probabilities"] != quiet[0] and int(network.updates) == sum(s % 3 == 0 for s in range(16, 32))
    assert seen[-1]["expected"] == {n: pytest.approx(COSTS.expected(np.array(seen[-1]["probabilities"])))
                                    for n in ("latency", "macs")}  # fmt: skip


def test_rates_with_which_probabilities_can_decide():
    assert path_lr(ProxylessConfig(), 100) == pytest.approx(0.1) and path_lr(ProxylessConfig(), 10**6) == 1e-3
    assert path_lr(ProxylessConfig(path_lr=0.5), 100) == 0.5


@pytest.mark.parametrize("mode", ["recompute", "two"])
def test_a_real_search_on_digits_learns_and_keeps_its_budget(mode):
    data = load_data("digits")
    network = SuperNet(tiny_space(), 10, 1)
    table = random_table(network)
    low, high = table.fixed + np.where(np.isfinite(table.unary), table.unary, 99).min(1).sum(), table.fixed + 12
    limit, seen = (low + high) / 2, []
    design = proxylessnas(
        network, Labelled(data), Objective({"latency": table}, {"latency": limit}),
        ProxylessConfig(warmup=2, epochs=5, every=2, batch=32, mode=mode, warmup_lr=0.3, lr=0.3),
        record=seen.append, bf16=False,
    )  # fmt: skip
    assert table.price(design)[0] <= limit and seen[-1]["entropy"] < 0.9 * seen[0]["entropy"]
    assert seen[-1]["expected"]["latency"] < 1.1 * limit and seen[-1]["loss"] < 1.5
