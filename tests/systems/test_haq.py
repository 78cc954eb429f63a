"""The checklist of HAQ, as far as it is the search's: bits in range, budgets kept, costs as in the table, learning."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from quantization import accelerator, bits_space, example, network, table_problem

from netsmith.errors import InfeasibleError, InputError
from netsmith.network.layers import KIND, LayerTable
from netsmith.search import Results, get_strategy, solve
from netsmith.search.agents.ddpg import DdpgConfig
from netsmith.space import Decision, Space
from netsmith.study.study import minimize
from netsmith.systems.haq import CONFIG, bits_of, features, haq, strategy

DATA = Path(os.environ.get("NETSMITH_DATA", Path(__file__).parents[2].parent / "shared" / "data"))
RELEASED = DATA / "haq" / "qmobilenetv2_imagenet100_batch16_latency_table.npy"
QUICK = replace(CONFIG, hidden=(32, 32), decay=0.97, updates=1.0)


def test_the_agent_has_the_published_figures():
    assert DdpgConfig(warmup=20, decay=0.99, replay=128) == CONFIG
    assert (CONFIG.hidden, CONFIG.tau, CONFIG.discount, CONFIG.batch, CONFIG.sigma) == ((300, 300), 0.01, 1.0, 64, 0.5)
    assert (CONFIG.actor_rate, CONFIG.critic_rate, CONFIG.baseline) == (1e-4, 1e-3, 0.5)


def test_features_of_a_table_made_by_hand():
    rows = [
        {"name": "conv", "kind": KIND["conv"], "c_in": 3, "c_out": 16, "kernel_h": 3, "kernel_w": 3, "stride": 2,
         "h_in": 32, "w_in": 30, "h_out": 16, "w_out": 15},
        {"name": "relu", "kind": KIND["activation"]},
        {"name": "dw", "kind": KIND["conv"], "c_in": 16, "c_out": 16, "groups": 16, "kernel_h": 5, "kernel_w": 5,
         "h_in": 16, "w_in": 15, "h_out": 16, "w_out": 15},
        {"name": "fc", "kind": KIND["linear"], "c_in": 64, "c_out": 10},
    ]  # fmt: skip
    table = LayerTable.from_rows(rows)
    got = features(table, [0, 0, 2, 2, 3, 3], ["w_bits", "a_bits"] * 3)
    expected = [
        [0, 3, 16, 3, 2, 960, 432, 0, 1],
        [0, 3, 16, 3, 2, 960, 432, 0, 0],
        [1, 16, 16, 5, 1, 240, 400, 1, 1],
        [1, 16, 16, 5, 1, 240, 400, 1, 0],
        [2, 64, 10, 1, 0, 1, 640, 0, 1],
        [2, 64, 10, 1, 0, 1, 640, 0, 0],
    ]
    assert got.tolist() == expected
    assert features(table, [0, 2, 3], ["w_bits"] * 3).tolist() == [expected[i][:8] for i in (0, 2, 4)]
    with pytest.raises(InputError, match="'relu' is neither a convolution nor a linear layer"):
        features(table, [1], ["w_bits"])
    with pytest.raises(InputError, match="'w_bits' or 'a_bits'"):
        features(table, [0], ["bits"])


def test_bits_lie_in_range_and_have_equal_shares():
    actions = np.linspace(0.0, 1.0, 80_001)
    for low, high in ((2, 8), (1, 8), (8, 8)):
        bits = bits_of(actions, low, high)
        values, counts = np.unique(bits, return_counts=True)
        assert values.tolist() == list(range(low, high + 1))
        assert np.ptp(counts) <= 2
        assert (np.diff(bits) >= 0).all()
        # Away from the edges of the shares this is the paper's rounding.
        inner = np.abs((actions * (high - low + 1)) % 1.0 - 0.5) < 0.49
        paper = np.round(low - 0.5 + actions * (high - low + 1))
        assert (bits[inner] == paper[inner]).all()


@pytest.mark.parametrize("share", [0.35, 0.6])
def test_every_policy_keeps_the_budget_the_range_and_the_pins(share):
    problem, space, known, evaluate = example(share)
    seen = []

    def watched(designs):
        seen.extend(designs)
        return evaluate(designs)

    history = haq(problem, space, known, watched, episodes=60, config=QUICK)
    assert history.designs.shape == (60, len(space)) and len(seen) == 60
    assert problem.feasible(history.designs).all() and space.valid(history.designs).all()
    for design in history.designs:
        bits = list(space.describe(design).values())
        assert min(bits) >= 2 and max(bits) <= 8 and bits[:2] == bits[-2:] == [8, 8]


def test_an_infeasible_budget_is_reported():
    problem, space, known, evaluate = example(0.6)
    tight = replace(problem, budgets={"latency": 1.0})
    with pytest.raises(InfeasibleError, match="the smallest reachable is") as caught:
        haq(tight, space, known, evaluate, episodes=3)
    least = problem.costs["latency"].price(np.zeros(len(space), dtype=int))[0]
    assert caught.value.reachable["latency"] == pytest.approx(least)


def test_the_cost_of_a_policy_is_the_sum_of_its_entries():
    table = network()
    cycles, space = accelerator(table), bits_space(table.names, ("fc",))
    problem = table_problem(cycles, space, 0.5)
    for design in space.sample(np.random.default_rng(0), 20):
        bits = np.array(list(space.describe(design).values())).reshape(-1, 2)
        expected = sum(cycles[i, w - 1, a - 1] for i, (w, a) in enumerate(bits))
        assert problem.costs["latency"].price(design)[0] == pytest.approx(expected, rel=1e-12)


@pytest.mark.skipif(not RELEASED.is_file(), reason="HAQ's released latency table is not here: set NETSMITH_DATA")
def test_uniform_bits_cost_the_totals_of_the_released_table():
    cycles = np.load(RELEASED)
    names = [str(i) for i in range(len(cycles))]
    free, ends = bits_space(names, ()), bits_space(names, ("0", str(len(cycles) - 1)))
    price = table_problem(cycles, free, 1.0).costs["latency"].price
    totals = {2: 7_063_425, 4: 15_716_150, 6: 26_653_434, 8: 39_624_933}
    assert {b: int(price(np.full(len(free), b - 2))[0]) for b in totals} == totals
    price = table_problem(cycles, ends, 1.0).costs["latency"].price
    pinned = {b: price(np.minimum(b - 2, ends.sizes - 1))[0] / totals[8] for b in range(2, 8)}
    published = {2: 0.2098, 3: 0.3065, 4: 0.4177, 5: 0.5438, 6: 0.6833, 7: 0.8353}
    assert pinned == pytest.approx(published, abs=5e-5)


def test_it_learns_better_bits_than_chance_and_no_better_than_the_optimum():
    for seed in range(3):
        problem, space, known, evaluate = example(0.45, seed)
        learnt = haq(problem, space, known, evaluate, episodes=140, seed=seed, config=QUICK)
        chance = haq(problem, space, known, evaluate, 140, seed, replace(QUICK, warmup=10**6))
        assert (learnt.designs[:20] == chance.designs[:20]).all(), "the warm-up is not the same random episodes"
        assert learnt.loss[-40:].mean() < 0.6 * chance.loss[-40:].mean()
        assert learnt.loss.min() < chance.loss.min()
        # Additive in the logarithm: the exact optimum of the estimates is the optimum.
        single = np.where(np.isfinite(problem.loss), 0.0, np.inf)
        top = space.sizes - 1
        for d, k in np.argwhere(np.isfinite(single)):
            design = top.copy()
            design[d] = k
            single[d, k] = -70.0 * np.log1p(-evaluate(design[None])[0] / 70.0)
        best = solve(replace(problem, loss=single)).choice
        assert evaluate(best[None])[0] <= learnt.loss.min() + 1e-9


def test_it_is_the_strategy_ddpg_with_the_published_schedule_and_reports_progress():
    problem, space, known, evaluate = example()
    shown = []

    class Watch:
        def update(self, done, total, text=""):
            shown.append((done, total, text))

    history = haq(problem, space, known, evaluate, episodes=25, seed=5, progress=Watch())
    strategy = get_strategy("ddpg", problem, space, 5, features=known, config=CONFIG, reward_scale=0.1)
    again = minimize(problem, strategy, evaluate, 25, batch=1)
    assert (history.designs == again.designs).all() and (history.loss == again.loss).all()
    assert [s[:2] for s in shown] == [(i + 1, 25) for i in range(25)]
    assert shown[-1][2] == f"least loss {history.loss.min():.4g}"


@pytest.mark.parametrize(
    ("decisions", "message"),
    [
        ([("a.bits", "bits", (2, 8))], "is not LAYER.w_bits or LAYER.a_bits"),
        ([("a.w_bits", "a_bits", (2, 8))], "of kind 'a_bits' is not"),
        ([("a.w_bits", "w_bits", (8, 2))], "ascending"),
        ([("a.w_bits", "w_bits", ("2", "8"))], "ascending"),
        ([("a.a_bits", "a_bits", (2, 8)), ("a.w_bits", "w_bits", (2, 8))], "must come right after a.w_bits"),
    ],
)
def test_spaces_of_another_make_are_refused(decisions, message):
    space = Space(tuple(Decision(*d) for d in decisions))
    problem, _, _, evaluate = example()
    with pytest.raises(InputError, match=message):
        haq(problem, space, np.zeros((len(space), 9)), evaluate)


def test_the_accuracy_guaranteed_reward_is_the_error_weighed_by_the_cost_without_a_projection():
    """AMC's second reward with HAQ's cost, which is ours: no budget, absolute figures, equal errors by their cost."""
    table = network()
    names = [n for n in table.names if n]
    space = bits_space(names, (names[0], names[-1]))
    problem = replace(table_problem(accelerator(table), space, 0.5), budgets={})
    cost, needed = problem.costs["latency"], 3  # bits from which nothing is lost

    def evaluate(designs):
        bits = np.where(space.sizes == 1, needed, designs + 2)
        return 0.1 + 0.8 * np.clip(needed - bits, 0, None).mean(axis=1)

    known = features(table, [i for i in range(len(names)) for _ in range(2)], [d.kind for d in space.decisions])
    agent = strategy(problem, space, 0, features=known, reward="guaranteed", config=QUICK)
    low, high = np.zeros(len(space), dtype=np.int64), space.sizes - 1
    designs = np.array([low, high, np.minimum(high, 1)])
    rewards = agent.rewards(designs, Results(evaluate(designs)))
    np.testing.assert_allclose(rewards, -evaluate(designs) * np.log(cost.price(designs)))
    assert rewards[2] > rewards[1], "of equal errors the cheaper one"
    with pytest.raises(InputError, match=r"errors in 0\.\.1"):
        agent.rewards(designs, Results(np.array([3.0, 1.0, 1.0])))
    history = minimize(problem, agent, evaluate, 200, batch=1)
    cost_of = cost.price(history.designs)
    assert (
        cost_of.max() > 0.8 * cost.price(high)[0] and cost_of.min() < 0.5 * cost.price(high)[0]
    )  # nothing is projected
    weighed = evaluate(history.designs) * np.log(cost_of)
    assert weighed[-30:].mean() < weighed[:20].mean()
    with pytest.raises(InputError, match="unknown reward"):
        strategy(problem, space, 0, reward="garanteed")
