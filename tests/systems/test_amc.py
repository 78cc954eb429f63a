"""AMC as a function and as an environment."""

from __future__ import annotations

import numpy as np
import pytest
from pruning import example, network

from netsmith.errors import InputError
from netsmith.network.layers import KIND, LayerTable
from netsmith.search import Problem, get_strategy
from netsmith.search.agents.amc_strategy import resource_of
from netsmith.search.agents.ddpg import DdpgConfig
from netsmith.space import Decision, Space
from netsmith.study.study import minimize
from netsmith.systems.amc import amc, features

QUICK = DdpgConfig(hidden=(16,), warmup=5, discount=0.0)


def test_features_of_a_table_made_by_hand():
    rows = [
        {"name": "conv", "kind": KIND["conv"], "c_in": 3, "c_out": 16, "kernel_h": 3, "kernel_w": 3, "stride": 2,
         "h_in": 32, "w_in": 30, "h_out": 16, "w_out": 15},
        {"name": "relu", "kind": KIND["activation"], "c_in": 16, "c_out": 16, "h_in": 16, "w_in": 15},
        {"name": "dw", "kind": KIND["conv"], "c_in": 16, "c_out": 16, "groups": 16, "kernel_h": 5, "kernel_w": 5,
         "h_in": 16, "w_in": 15, "h_out": 16, "w_out": 15},
        {"name": "fc", "kind": KIND["linear"], "c_in": 64, "c_out": 10},
    ]  # fmt: skip
    table = LayerTable.from_rows(rows)
    stem, depthwise, linear = 3 * 16 * 9 * 240, 16 * 25 * 240, 640
    touched = np.array([[1, 1, 1, 0], [0, 0, 0, 1]])
    expected = [[0, 16, 3, 32, 30, 2, 3, stem + depthwise], [1, 10, 64, 1, 1, 0, 1, linear]]
    assert features(table, [0, 3], touched).tolist() == expected
    assert features(table, [0, 3], touched, ["channels"] * 2).tolist() == expected
    mixed = features(table, [0, 3], touched, ["channels", "bits"])
    assert mixed[:, :8].tolist() == expected and mixed[:, 8:].tolist() == [[0, 1], [1, 0]]
    with pytest.raises(InputError, match=r"2 rows, 0 kinds and touched rows of shape \(1, 4\)"):
        features(table, [0, 3], touched[:1])


def test_it_is_the_strategy_amc_and_reports_progress():
    problem, space, known, evaluate = example(0.5)
    shown = []

    class Watch:
        def update(self, done, total, text=""):
            shown.append((done, total, text))

    history = amc(problem, space, known, evaluate, 12, 5, config=QUICK, progress=Watch())
    strategy = get_strategy("amc", problem, space, 5, features=known, config=QUICK)
    again = minimize(problem, strategy, evaluate, 12, batch=1)
    assert (history.designs == again.designs).all() and (history.loss == again.loss).all()
    assert [s[:2] for s in shown] == [(i + 1, 12) for i in range(12)]
    assert shown[-1][2] == f"least loss {history.loss.min():.4g}"


def test_the_resource_is_the_one_that_can_be_meant():
    problem, _, _, _ = example(0.5)
    macs = problem.costs["macs"]
    both = {"macs": macs, "latency": macs}
    assert resource_of(problem, None) == "macs"
    assert resource_of(Problem(problem.loss, both, {"latency": 1.0}), None) == "latency"
    assert resource_of(Problem(problem.loss, both, {}), None) == "macs"
    assert resource_of(Problem(problem.loss, {}, {}), None, needed=False) is None
    with pytest.raises(InputError, match=r"one of \['energy', 'latency'\]"):
        resource_of(Problem(problem.loss, {"latency": macs, "energy": macs}, {}), None)
    with pytest.raises(InputError, match="no cost 'flops' to save"):
        resource_of(problem, "flops")


def test_channel_counts_must_be_ascending_numbers():
    problem, _, known, evaluate = example(0.5)
    for choices in (tuple("abcdefgh"), (2, 1, 3, 4, 5, 6, 7, 8), tuple(range(8))):
        space = Space(tuple(Decision(f"conv{i}.channels", "channels", choices) for i in range(4)))
        with pytest.raises(InputError, match=r"'conv0\.channels' has the channel counts .* positive and ascending"):
            amc(problem, space, known, evaluate, 3)


def environment(share=0.4, **options):
    pytest.importorskip("gymnasium", reason="gymnasium is not installed: pip install 'gymnasium>=0.29'")
    from netsmith.systems.amc_env import AmcEnv

    problem, space, known, evaluate = example(share)
    return AmcEnv(problem, space, known, evaluate, **options), problem, space, evaluate


@pytest.mark.parametrize(("share", "reward"), [(0.4, "constrained"), (None, "guaranteed")])
def test_gymnasiums_own_checker_passes(share, reward):
    env = environment(share, reward=reward)[0]
    from gymnasium.utils.env_checker import check_env

    check_env(env, skip_render_check=True)


def test_an_episode_keeps_the_budget_and_gives_the_reward_at_its_end():
    env, problem, space, evaluate = environment()
    first, info = env.reset(seed=0)
    assert env.observation_space.shape == (11,) and env.observation_space.contains(first) and info == {}
    for i in range(len(space)):
        observed, reward, over, cut, info = env.step(np.array([1.0], dtype=np.float32))
        assert env.observation_space.contains(observed) and not cut
        assert over == (i == len(space) - 1)
        assert over or (reward == 0.0 and info == {})
    design = info["design"]
    assert problem.feasible(design)[0] and space.describe(design) == info["kept"]
    assert design[0] == 7 and design[-1] < 7, "everything cannot stay, and the bound is met late"
    assert info["costs"]["macs"] == pytest.approx(problem.costs["macs"].price(design)[0])
    assert reward == -info["loss"] == pytest.approx(-evaluate(design[None])[0])
    with pytest.raises(InputError, match="call reset"):
        env.step(np.array([1.0], dtype=np.float32))


def test_the_agent_of_the_search_sees_what_the_environment_shows():
    env, problem, space, _ = environment(reward="guaranteed")
    strategy = get_strategy("amc", problem, space, features=example(0.4)[2])
    actions = np.random.default_rng(0).random((len(space), 1)).astype(np.float32)
    observed = [env.reset()[0]]
    for action in actions:
        observation, reward, _, _, info = env.step(action)
        observed.append(observation)
    states, executed = strategy.steps.recall(info["design"][None])
    np.testing.assert_allclose(np.array(observed[:-1]), states[0], rtol=1e-6)
    np.testing.assert_allclose(observed[-1][-1], executed[0, -1], rtol=1e-6)
    assert reward == pytest.approx(-info["loss"] * np.log(info["costs"]["macs"]))


def test_the_toy_network_is_priced_as_its_table():
    problem, space, _, _ = example(0.5)
    assert problem.costs["macs"].price(space.sizes - 1)[0] == pytest.approx(network().macs.sum())
