from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from cases import random_problem

from netsmith.errors import InfeasibleError, InputError
from netsmith.search import Problem, Results, get_strategy, strategy_names
from netsmith.search.agents.ddpg import Agent, DdpgConfig, Replay
from netsmith.search.agents.ddpg.agent import truncated_normal
from netsmith.search.agents.ddpg.network import Adam, Mlp
from netsmith.search.agents.steps import Steps, choice_of
from netsmith.space import CostTable, Decision, Space
from netsmith.study.study import minimize
from netsmith.testing import check_strategy, example_problem

SMALL = DdpgConfig(hidden=(24, 24), warmup=2, batch=16, updates=1.0)


def torch_copy(net):
    """The same network as torch sees it."""
    import torch

    layers = [torch.nn.Linear(i, o) for i, o in zip(net.sizes, net.sizes[1:])]
    for layer, (w, b) in zip(layers, net.layers):
        layer.weight.data, layer.bias.data = torch.tensor(w.T.copy()), torch.tensor(b.copy())
    parts = [part for layer in layers for part in (layer, torch.nn.ReLU())]
    return torch.nn.Sequential(*parts[:-1])


def flat(copy, what):
    return np.concatenate([what(p).numpy().T.ravel() for p in copy.parameters()])


def test_gradients_and_adam_agree_with_torch():
    import torch

    rng = np.random.default_rng(0)
    net = Mlp(5, (16, 12), rng)
    copy, adam = torch_copy(net), Adam(net.values, 1e-2)
    optimiser = torch.optim.Adam(copy.parameters(), 1e-2)
    for _ in range(6):
        x, slope = rng.normal(size=(8, 5)).astype(np.float32), rng.normal(size=(8, 1)).astype(np.float32)
        seen = net.forward(x)
        inputs = torch.tensor(x, requires_grad=True)
        out = copy(inputs)
        np.testing.assert_allclose(seen[-1], out.detach().numpy(), atol=1e-5)
        optimiser.zero_grad()
        out.backward(torch.tensor(slope))
        np.testing.assert_allclose(net.input_slope(seen, slope), inputs.grad.numpy(), atol=1e-5)
        gradient = net.gradient(seen, slope)
        np.testing.assert_allclose(gradient, flat(copy, lambda p: p.grad), atol=1e-5)
        adam.step(gradient)
        optimiser.step()
        np.testing.assert_allclose(net.values, flat(copy, lambda p: p.detach()), atol=1e-4)


def test_an_update_is_that_of_the_published_code():
    """One gradient step, rewritten with autograd: baseline, bootstrap, both losses and the moving targets."""
    import torch

    config = replace(SMALL, warmup=0, discount=0.9)
    agent, rng = Agent(3, 4, config, seed=1), np.random.default_rng(1)
    agent.replay.add(rng.random((4, 3)), rng.random(4), rng.random(4))
    actor, critic = torch_copy(agent.actor.net), torch_copy(agent.critic.net)
    twin = np.random.default_rng()
    twin.bit_generator.state = agent.rng.bit_generator.state
    states, actions, rewards, following, alive = map(torch.tensor, agent.replay.sample(twin, config.batch))
    with torch.no_grad():
        value = critic(torch.cat([following, actor(following).sigmoid()], dim=1))[:, 0]
        wanted = rewards - rewards.mean() + 0.9 * alive * value
    critic_adam = torch.optim.Adam(critic.parameters(), config.critic_rate)
    actor_adam = torch.optim.Adam(actor.parameters(), config.actor_rate)
    torch.nn.functional.mse_loss(critic(torch.cat([states, actions[:, None]], dim=1))[:, 0], wanted).backward()
    critic_adam.step()
    (-critic(torch.cat([states, actor(states).sigmoid()], dim=1)).mean()).backward()
    actor_adam.step()

    before = agent.actor.target.values.copy()
    agent._update()
    np.testing.assert_allclose(agent.critic.net.values, flat(critic, lambda p: p.detach()), atol=2e-5)
    np.testing.assert_allclose(agent.actor.net.values, flat(actor, lambda p: p.detach()), atol=2e-5)
    moved = before + config.tau * (agent.actor.net.values - before)
    np.testing.assert_allclose(agent.actor.target.values, moved, atol=1e-7)
    assert (agent.actor.target.values != before).any()


def test_replay_keeps_the_last_transitions_and_ends_episodes():
    replay = Replay(5, 2)
    for episode in range(3):
        states = 10.0 * episode + np.arange(6).reshape(3, 2)
        replay.add(states, [0.1, 0.2, 0.3], np.full(3, float(episode)))
    assert len(replay) == 5
    states, actions, rewards, following, alive = replay.sample(np.random.default_rng(0), 400)
    assert {(float(r), round(float(a), 1)) for r, a in zip(rewards, actions)} == {
        (1.0, 0.2), (1.0, 0.3), (2.0, 0.1), (2.0, 0.2), (2.0, 0.3),
    }  # fmt: skip
    assert ((alive == 0) == (actions > 0.25)).all()
    assert (following[alive == 1] == states[alive == 1] + 2).all() and (following[alive == 0] == 0).all()


@pytest.mark.parametrize(("mean", "sigma"), [(0.0, 0.5), (0.3, 0.2), (1.0, 0.01), (0.5, 3.0)])
def test_exploration_is_a_truncated_normal(mean, sigma):
    from scipy.stats import kstest, truncnorm

    drawn = truncated_normal(np.random.default_rng(0), np.full(4000, mean), np.full(4000, sigma))
    expected = truncnorm(-mean / sigma, (1 - mean) / sigma, mean, sigma)
    assert kstest(drawn, expected.cdf).pvalue > 1e-3


def test_warm_up_is_uniform_and_noise_decays_after_it():
    agent = Agent(2, 3, replace(SMALL, warmup=3, sigma=0.4, decay=0.5), seed=0)
    start = agent.actor.net.values.copy()
    for episode in range(3):
        assert (agent.actor.net.values == start).all(), "trained before the warm-up was over"
        spread = np.std([agent.act(np.zeros((1, 2)))[0] for _ in range(300)])
        assert abs(spread - 12**-0.5) < 0.03
        agent.observe(np.zeros((3, 2)), np.full(3, 0.5), [0.0, float(episode), 1.0])
    assert (agent.actor.net.values != start).any()
    agent.episodes = 10
    mean = agent.policy(np.zeros((1, 2)))[0]
    rows = np.array([agent.act(np.zeros((4, 2))) for _ in range(600)])  # row i: the i-th episode from now
    np.testing.assert_allclose(np.sqrt(((rows - mean) ** 2).mean(axis=0)), 0.4 * 0.5 ** np.arange(7, 11), rtol=0.15)


def test_an_agent_restored_from_json_goes_on_bit_for_bit():
    rng = np.random.default_rng(3)
    agent = Agent(4, 5, SMALL, seed=7)

    def episode(a, draws):
        states = draws.random((5, 4))
        actions = np.array([a.act(s[None])[0] for s in states])
        a.observe(states, actions, -np.abs(actions - 0.5))
        return actions

    for _ in range(6):
        episode(agent, rng)
    twin = Agent(4, 5, SMALL, seed=99)
    twin.load_state_dict(json.loads(json.dumps(agent.state_dict())))
    for number in range(4):
        a, b = (episode(x, np.random.default_rng(number)) for x in (agent, twin))
        assert (a == b).all()
    assert (agent.actor.net.values == twin.actor.net.values).all()
    assert (agent.critic.target.values == twin.critic.target.values).all()
    assert json.dumps(agent.state_dict()) == json.dumps(twin.state_dict())


def test_without_a_discount_targets_stay():
    for discount, moved in ((0.0, False), (1.0, True)):
        agent = Agent(2, 3, replace(SMALL, warmup=0, discount=discount))
        before = agent.critic.target.values.copy()
        agent.observe(np.zeros((3, 2)), np.full(3, 0.5), np.array([0.0, 1.0, 2.0]))
        assert (agent.critic.target.values != before).any() == moved


@pytest.mark.parametrize(
    ("field", "value"),
    [("batch", 0), ("tau", 1.5), ("warmup", -1), ("hidden", (300, 0)), ("sigma", float("nan")), ("updates", 0.0)],
)
def test_bad_figures_are_named(field, value):
    with pytest.raises(InputError, match=field):
        DdpgConfig(**{field: value})


def separable(seed, decisions=10, choices=7):
    """Every choice costs alike; a hidden best choice for each decision, which its features tell, apart from noise."""
    rng = np.random.default_rng(seed)
    best = rng.integers(0, choices, decisions)
    unary = np.tile(np.arange(choices, dtype=float), (decisions, 1))
    problem = Problem(np.zeros((decisions, choices)), {"c": CostTable(0.0, unary)}, {"c": 0.9 * unary.max(1).sum()})
    space = Space(tuple(Decision(f"d{i}", "x", tuple(range(choices))) for i in range(decisions)))
    return problem, space, best, lambda designs: ((designs - best) ** 2).mean(axis=1)


@pytest.mark.parametrize(("discount", "share"), [(0.0, 0.4), (1.0, 0.75)])
def test_the_agent_learns_a_separable_toy(discount, share):
    config = DdpgConfig(hidden=(32, 32), warmup=20, decay=0.97, updates=1.0, discount=discount)
    for seed in range(3):
        problem, space, best, evaluate = separable(seed)
        features = np.column_stack([best, np.arange(10)])
        options = {"features": features, "reward_scale": 1.0}
        learnt = minimize(
            problem, get_strategy("ddpg", problem, space, seed, config=config, **options), evaluate, 150, 1
        )
        chance = replace(config, warmup=10**6)
        blind = minimize(
            problem, get_strategy("ddpg", problem, space, seed, config=chance, **options), evaluate, 150, 1
        )
        assert learnt.loss[-50:].mean() < share * blind.loss[-50:].mean()


@pytest.mark.parametrize("rule", ["sweep", "cheapest"])
@pytest.mark.parametrize("reward_on", ["every", "last"])
def test_conformance(rule, reward_on):
    check_strategy(
        lambda p, s, seed: get_strategy("ddpg", p, s, seed, config=SMALL, rule=rule, reward_on=reward_on), rounds=4
    )


@pytest.mark.parametrize("seed", range(3))
def test_conformance_on_random_problems(seed):
    problem = random_problem(seed + 20, 7, 3, 2, True, 6)
    space = Space(tuple(Decision(f"d{i}", "x", (0, 1, 2)) for i in range(7)), tuple(map(tuple, problem.tied)))
    check_strategy(lambda p, s, seed: get_strategy("ddpg", p, s, seed, config=SMALL), problem, space)


def test_conformance_with_the_published_figures():
    assert "ddpg" in strategy_names()
    check_strategy(lambda p, s, seed: get_strategy("ddpg", p, s, seed, warmup=4), rounds=2)


def test_what_is_remembered_is_what_was_executed():
    problem, space, _, _ = separable(0, decisions=4)
    problem = replace(problem, budgets={"c": 3.0})
    for reward_on, expected in (("every", [-0.5] * 4), ("last", [0.0, 0.0, 0.0, -0.5])):
        strategy = get_strategy("ddpg", problem, space, reward_on=reward_on, reward_scale=0.25)
        designs = strategy.ask(1)
        assert designs.sum() <= 3
        strategy.tell(designs, Results(np.array([2.0])))
        rows = strategy.agent.replay._rows[:4]
        np.testing.assert_allclose(rows[:, -3], (designs[0] + 0.5) / 7, rtol=1e-6)
        np.testing.assert_allclose(rows[:, -2], expected)
        np.testing.assert_allclose(rows[:, strategy.steps.width - 1], [1.0, *((designs[0, :3] + 0.5) / 7)], rtol=1e-6)


def test_a_failed_evaluation_teaches_nothing_and_foreign_designs_are_checked():
    problem, space = example_problem()
    strategy = get_strategy("ddpg", problem, space, config=SMALL)
    strategy.tell(strategy.ask(2), Results(np.array([np.inf, 1.0])))
    assert strategy.agent.episodes == 1
    with pytest.raises(InputError, match="breaks a tie or takes a choice that the problem forbids"):
        strategy.tell(np.array([[0, 0, 1, 0, 0, 0]]), Results(np.array([1.0])))
    with pytest.raises(InputError, match="2 choices, but the problem has 6 decisions"):
        strategy.tell(np.array([[0, 0]]), Results(np.array([1.0])))


def test_options_reach_the_agent_and_bad_ones_are_named():
    problem, space = example_problem()
    strategy = get_strategy("ddpg", problem, space, warmup=7, discount=0.5, baseline=False)
    assert strategy.agent.config == DdpgConfig(warmup=7, discount=0.5, baseline=0.0)
    with pytest.raises(InputError, match="reward_on is 'first'"):
        get_strategy("ddpg", problem, space, reward_on="first")
    with pytest.raises(InputError, match=r"shape \(2, 3\).*6 decisions"):
        get_strategy("ddpg", problem, space, features=np.zeros((2, 3)))
    with pytest.raises(InputError, match="nan at decision 0, column 0"):
        get_strategy("ddpg", problem, space, features=np.full((6, 3), np.nan))
    with pytest.raises(InputError, match="unknown projection rule 'swep'"):
        get_strategy("ddpg", problem, space, rule="swep")
    with pytest.raises(InfeasibleError):
        get_strategy("ddpg", replace(problem, budgets={"size": 1e-9}), space).ask(1)


def test_steps_scale_features_and_skip_what_is_tied_or_pinned():
    loss = np.zeros((4, 3))
    loss[1, 1:] = np.inf  # pinned
    problem = Problem(loss, {}, {}, [[2, 3]])
    steps = Steps(problem, None, [[1.0, 5.0], [3.0, 5.0], [2.0, 5.0], [9.0, 5.0]])
    np.testing.assert_allclose(steps.static, [[0.0, 0.0], [0.125, 0.0]])
    assert steps.sizes.tolist() == [3, 3]
    walk = steps.begin(1)
    walk.act(np.array([0.9]))
    walk.act(np.array([0.5]))
    assert walk.is_over and walk.designs().tolist() == [[2, 0, 1, 1]]
    states, actions = steps.recall(np.array([[2, 0, 1, 1], [0, 0, 2, 2]]))
    np.testing.assert_allclose(states[0], [[0.0, 0.0, 1.0], [0.125, 0.0, 5 / 6]])
    np.testing.assert_allclose(states[1], [[0.0, 0.0, 1.0], [0.125, 0.0, 1 / 6]])
    np.testing.assert_allclose(actions, [[5 / 6, 0.5], [1 / 6, 5 / 6]])


def test_without_features_steps_know_place_kind_and_choices():
    problem, space = example_problem()
    steps = Steps(problem, space)  # widths d0 = d2 and d4, precisions d1, d3, d5
    assert steps.width == 1 + 1 + 2 + 1 and len(steps) == 5
    np.testing.assert_allclose(steps.static[:, 0], np.array([0, 1, 3, 4, 5]) / 5)
    assert steps.static[:, 1].tolist() == [1, 0, 0, 1, 0]
    assert (steps.static[:, 2:].sum(axis=1) == 1).all()


def test_actions_take_equal_shares_of_choices():
    edges = choice_of(np.array([0.0, 0.2499, 0.25, 0.5, 0.999, 1.0]), 4)
    assert edges.tolist() == [0, 0, 1, 2, 3, 3]
    assert choice_of(0.5 / 7 + np.arange(7) / 7, 7).tolist() == list(range(7))


def test_nothing_to_choose_is_one_design():
    problem = Problem(np.zeros((2, 1)), {"c": CostTable(0.0, np.ones((2, 1)))}, {"c": 2.0})
    strategy = get_strategy("ddpg", problem)
    designs = strategy.ask(2)
    assert designs.tolist() == [[0, 0], [0, 0]]
    strategy.tell(designs, Results(np.zeros(2)))
    assert strategy.ask(0).shape == (0, 2)
