from __future__ import annotations

import numpy as np
import pytest
from quantization import example

from netsmith.errors import InputError
from netsmith.search import Problem
from netsmith.space import Decision, Space

gymnasium = pytest.importorskip("gymnasium", reason="gymnasium is not installed: pip install 'gymnasium>=0.29'")


def environment(share=0.4):
    from netsmith.systems.haq_env import HaqEnv

    problem, space, known, evaluate = example(share)
    return HaqEnv(problem, space, known, evaluate), problem, space, evaluate


def test_gymnasiums_own_checker_passes():
    from gymnasium.utils.env_checker import check_env

    check_env(environment()[0], skip_render_check=True)


def test_an_episode_gives_feasible_bits_and_the_reward_at_its_end():
    env, problem, space, evaluate = environment()
    first, info = env.reset(seed=0)
    assert env.observation_space.shape == (10,) and env.observation_space.contains(first) and info == {}
    free = [d for d in space.decisions if len(d.choices) > 1]
    for i in range(len(free)):
        observed, reward, over, cut, info = env.step(np.array([1.0], dtype=np.float32))
        assert env.observation_space.contains(observed) and not cut
        assert observed[-1] == pytest.approx(6.5 / 7)
        assert over == (i == len(free) - 1)
        assert over or (reward == 0.0 and info == {})
    design = info["design"]
    assert problem.feasible(design)[0] and space.describe(design) == info["bits"]
    assert info["bits"]["stem.w_bits"] == info["bits"]["fc.a_bits"] == 8
    assert min(info["bits"].values()) < 8, "all at the highest bits cannot keep the budget"
    assert info["costs"]["latency"] == pytest.approx(problem.costs["latency"].price(design)[0])
    assert info["loss"] == pytest.approx(evaluate(design[None])[0])
    assert reward == pytest.approx(-0.1 * info["loss"])
    with pytest.raises(InputError, match="call reset"):
        env.step(np.array([1.0], dtype=np.float32))


def test_the_agent_of_the_search_sees_what_the_environment_shows():
    from netsmith.search.agents.ddpg_strategy import DdpgStrategy

    env, problem, space, _ = environment(share=1.0)
    problem, space, known, _ = example(1.0)
    steps = DdpgStrategy(problem, space, features=known).steps
    actions = np.random.default_rng(0).random((len(steps), 1)).astype(np.float32)
    observed = [env.reset()[0]]
    for action in actions:
        observation, _, over, _, info = env.step(action)
        observed.append(observation)
    expected = steps.recall(info["design"][None])[0][0]  # at this budget nothing is projected
    np.testing.assert_allclose(np.array(observed[:-1]), expected, rtol=1e-6)
    assert over


def test_a_space_without_a_choice_is_refused():
    from netsmith.systems.haq_env import HaqEnv

    evaluate = example()[3]
    pinned = Space(tuple(Decision(f"a.{k}", k, (8,)) for k in ("w_bits", "a_bits")))
    with pytest.raises(InputError, match="nothing to learn"):
        HaqEnv(Problem(np.zeros((2, 1)), {}, {}), pinned, np.zeros((2, 9)), evaluate)
