"""The checklist of AMC, as far as it is the search's: budgets kept by any policy, widths, equal terms, learning."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pruning import example

from netsmith.errors import InfeasibleError, InputError
from netsmith.search import Problem, Results, get_strategy
from netsmith.search.agents.amc_strategy import AmcReward
from netsmith.search.agents.bounded import BoundedSteps
from netsmith.search.agents.ddpg import DdpgConfig
from netsmith.search.agents.projection import project
from netsmith.study.study import minimize
from netsmith.systems.amc import CONFIG, amc

QUICK = DdpgConfig(hidden=(32, 32), warmup=20, decay=0.96, updates=1.0, discount=0.0)
CONSTANT = [1.0, 0.0, 0.5, 0.9]


def episode(steps, policy, n=1):
    """``n`` episodes of a policy that maps states to actions, as they leave the bound."""
    walk = steps.begin(n)
    while not walk.is_over:
        walk.act(policy(walk.state()))
    return steps.reduced.expand(walk.x)


# 1. For any policy the final cost is within the target, and an unreachable target is said to be so.


@pytest.mark.parametrize("share", [0.12, 0.2, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("action", CONSTANT)
def test_every_policy_keeps_the_target(share, action):
    problem, space, known, _ = example(share)
    design = episode(BoundedSteps(problem, space, known), lambda s: np.full(len(s), action))
    assert problem.feasible(design)[0]


def test_keep_everything_spends_the_target_and_prunes_late_layers():
    problem, space, known, _ = example(0.5)
    design = episode(BoundedSteps(problem, space, known), lambda s: np.ones(len(s)))[0]
    assert problem.feasible(design)[0] and not problem.feasible(design + (np.arange(4) == 3))[0]
    assert design[0] == space.sizes[0] - 1 and design[-1] < space.sizes[-1] - 1
    assert episode(BoundedSteps(*example(1.0)[:3]), lambda s: np.ones(len(s)))[0].tolist() == list(space.sizes - 1)


@pytest.mark.parametrize(("fill", "distinct"), [(False, 100), (True, 50)])
def test_random_policies_side_by_side_keep_the_target_before_any_repair(fill, distinct):
    rng = np.random.default_rng(0)
    for seed, widths in enumerate(((16, 32, 32, 64), (5, 7, 300, 3, 64), (64,) * 9)):
        problem, space, known, _ = example(0.4, seed, widths)
        designs = episode(BoundedSteps(problem, space, known, fill=fill), lambda s: rng.random(len(s)), 200)
        assert problem.feasible(designs).all() and (project(problem, designs) == designs).all()
        assert len(np.unique(designs, axis=0)) > distinct


def test_an_unreachable_target_is_a_clear_error():
    problem, space, known, evaluate = example(0.001)
    with pytest.raises(InfeasibleError, match=r"MACs within .*the smallest reachable is") as caught:
        amc(problem, space, known, evaluate, 3)
    least = problem.costs["macs"].price(np.zeros(len(space), dtype=int))[0]
    assert caught.value.reachable["macs"] == pytest.approx(least)


# 4. No layer ever gets 0 channels; counts respect the multiple, for widths below it too.


@pytest.mark.parametrize("multiple", [1, 8])
def test_widths_are_allowed_ones_and_never_zero(multiple):
    widths = (3, 6, 8, 12, 20, 64)
    problem, space, known, _ = example(0.7, 0, widths, multiple)
    rng = np.random.default_rng(1)
    for policy in (lambda s: np.zeros(len(s)), lambda s: np.ones(len(s)), lambda s: rng.random(len(s))):
        for design in episode(BoundedSteps(problem, space, known), policy, 50):
            for (name, kept), channels in zip(space.describe(design).items(), widths, strict=True):
                assert 1 <= kept <= channels, name
                assert kept % multiple == 0 or kept == channels, (name, kept)


def test_ratios_round_up_to_the_next_allowed_width():
    problem, space, known, _ = example(1.0, 0, (64, 12, 6), 8)
    steps = BoundedSteps(problem, space, known)
    for layer, channels in ((0, 64), (1, 12)):
        for kept in range(1, channels + 1):
            width = space.decisions[layer].choices[steps.choice(layer, np.array([kept / channels]))[0]]
            assert width == min(c for c in space.decisions[layer].choices if c >= kept)
    assert len(space.decisions[2].choices) == 1 and len(steps) == 2  # six channels in steps of 8: nothing to choose


# 5. All strategies run through the same projection and the same number of evaluations.


@pytest.mark.parametrize("seed", range(3))
def test_all_strategies_meet_on_equal_terms(seed):
    problem, space, known, evaluate = example(0.5, seed, (16,) * 4 + (32,) * 4 + (64,) * 4)
    count = {}
    for name in ("amc", "random", "uniform", "shallow", "deep"):
        options = {"features": known, "config": QUICK} if name == "amc" else {}
        seen = []

        def watched(designs, seen=seen):
            seen.append(designs)
            return evaluate(designs)

        history = minimize(problem, get_strategy(name, problem, space, seed, **options), watched, 10, batch=1)
        assert all((project(problem, d) == d).all() for d in seen), f"{name} left the budgets"
        count[name] = sum(map(len, seen))
        np.testing.assert_allclose(history.loss, evaluate(history.designs))
    assert set(count.values()) == {10}


# 6. It learns a separable toy better than chance; equal seeds, equal results.


def test_it_comes_nearer_to_the_optimum_than_chance():
    """A hidden best width for each of ten layers; the optimum, error 0, leaves some of the budget."""
    best_of = []
    for seed in range(3):
        problem, space, known, _ = example(0.6, 0, (32,) * 10)
        best = np.rint(np.linspace(*np.random.default_rng(seed).uniform(0.2, 0.8, 2), 10) * 8 - 1).astype(int)
        assert problem.feasible(best[None])[0]

        def evaluate(designs, best=best):
            return ((designs - best) ** 2).mean(axis=1) / 49

        learnt = amc(problem, space, known, evaluate, 140, seed, fill=False, config=QUICK)
        chance = amc(problem, space, known, evaluate, 140, seed, fill=False, config=replace(QUICK, warmup=10**6))
        filled = minimize(problem, get_strategy("random", problem, space, seed), evaluate, 140)
        assert (learnt.designs[:20] == chance.designs[:20]).all(), "the warm-up is not the same random episodes"
        assert learnt.loss[-40:].mean() < 0.6 * chance.loss[-40:].mean()
        best_of.append([h.loss.min() for h in (learnt, chance, filled)])
    learnt, chance, filled = np.array(best_of).T
    assert (learnt < np.minimum(chance, filled)).all() and learnt.mean() < 0.5 * chance.mean()


def test_equal_seeds_give_equal_results():
    problem, space, known, evaluate = example(0.5)
    one, two, other = (amc(problem, space, known, evaluate, 30, seed, config=QUICK) for seed in (1, 1, 2))
    assert (one.designs == two.designs).all() and (one.loss == two.loss).all()
    assert (one.designs != other.designs).any()


def test_the_agent_has_the_published_figures():
    agent = DdpgConfig()
    assert (agent.hidden, agent.tau, agent.discount, agent.batch, agent.replay) == ((300, 300), 0.01, 1.0, 64, 100)
    assert (agent.warmup, agent.sigma, agent.decay, agent.baseline) == (100, 0.5, 0.95, 0.5)
    assert (agent.actor_rate, agent.critic_rate) == (1e-4, 1e-3)
    assert replace(agent, discount=CONFIG.discount, decay=CONFIG.decay, updates=CONFIG.updates) == CONFIG


# 7. R orders candidates as stated; and `rest` of the first step is in the unit of the later ones.


def test_rewards_order_candidates_as_stated():
    problem = example(None)[0]
    designs = np.array([[7, 7, 7, 7], [5, 5, 5, 5], [5, 5, 5, 5], [1, 1, 1, 1]])
    error = np.array([0.10, 0.10, 0.12, 0.30])
    cost = problem.costs["macs"].price(designs)
    told = Results(error, {"macs": cost})
    plain = AmcReward()(problem, designs, told)
    assert plain.tolist() == (-error).tolist()
    weighed = AmcReward("guaranteed", 1.0, "macs")(problem, designs, told)
    np.testing.assert_allclose(weighed, -error * np.log(cost))
    assert np.argsort(-weighed).tolist() == [1, 0, 2, 3]  # cheaper of equals first; a third of the error outweighs all
    assert AmcReward("guaranteed", 1.0, "macs")(problem, designs, Results(error)).tolist() == weighed.tolist()
    measured = Results(error, {"macs": np.full(4, 1e6)})
    assert AmcReward("guaranteed", 2.0, "macs", 1e3)(problem, designs, measured)[0] == -2 * 0.1 * np.log(1e3)


def test_the_reward_refuses_what_its_logarithm_would_turn_around():
    problem, _, _, _ = example(None)
    designs = np.array([[7, 7, 7, 7]])
    with pytest.raises(InputError, match=r"errors in 0\.\.1"):
        AmcReward("guaranteed", 1.0, "macs")(problem, designs, Results(np.array([12.0])))
    with pytest.raises(InputError, match=r"choose a smaller unit than 1e\+09"):
        AmcReward("guaranteed", 1.0, "macs", 1e9)(problem, designs, Results(np.array([0.1])))
    with pytest.raises(InputError, match="unknown reward 'accuracy'"):
        AmcReward("accuracy")


def test_accuracy_guaranteed_search_prunes_without_a_budget():
    """Where no layer matters below half of its channels, they go, and the error stays as it was."""
    problem, space, known, _ = example(None)

    def evaluate(designs):
        kept = (designs + 1) / space.sizes
        return 0.1 + 0.8 * np.maximum(0.5 - kept, 0.0).mean(axis=1)

    history = amc(problem, space, known, evaluate, 150, reward="guaranteed", config=QUICK)
    cost = problem.costs["macs"].price(history.designs)
    np.testing.assert_allclose(history.loss, evaluate(history.designs) * np.log(cost))
    assert evaluate(history.best[None])[0] == pytest.approx(0.1)
    best = problem.costs["macs"].price(history.best)[0]
    assert best < 0.5 * problem.costs["macs"].price(space.sizes - 1)[0]
    assert history.loss[-30:].mean() < history.loss[:20].mean()


def test_reduced_and_rest_are_shares_of_one_cost_at_every_step():
    problem, space, known, _ = example(0.5)
    steps, cost = BoundedSteps(problem, space, known), problem.costs["macs"]
    rng = np.random.default_rng(3)
    top, full = space.sizes - 1, cost.price(space.sizes - 1)[0]
    walk, chosen = steps.begin(1), top.copy()
    assert walk.state().shape == (1, 8 + 3) and steps.width == 11, "the eleven numbers of the paper"
    for t in range(len(space)):
        low = chosen.copy()
        low[t + 1 :] = 0
        reduced, rest, before = walk.state()[0, -3:]
        assert reduced == pytest.approx(1 - cost.price(chosen)[0] / full)
        assert rest == pytest.approx((cost.price(chosen)[0] - cost.price(low)[0]) / full)
        assert before == (
            1.0 if t == 0 else space.decisions[t - 1].choices[chosen[t - 1]] / space.decisions[t - 1].choices[-1]
        )
        # what the step has to save itself: exactly when keeping all would leave the target out of reach
        assert walk.allowed()[0, -1] == (1 - reduced - rest <= 0.5)
        walk.act(rng.random(1))
        chosen[t] = walk.x[0, t]
    reduced, rest, _ = walk.state()[0, -3:]
    assert rest == 0.0 and reduced == pytest.approx(1 - cost.price(chosen)[0] / full) and reduced >= 0.5


def test_reduced_and_rest_add_up_where_layers_do_not_share_costs():
    problem, space, known, _ = example(0.5)
    alone = replace(problem.costs["macs"], fixed=0.0, unary=np.tile(np.arange(1.0, 9.0), (4, 1)), factors=())
    steps = BoundedSteps(Problem(problem.loss, {"macs": alone}, {"macs": 16.0}), space, known)
    walk = steps.begin(1)
    assert walk.state()[0, -3:].tolist() == [0.0, 3 * 7 / 32, 1.0]
    walk.act(np.array([0.25]))
    assert walk.state()[0, -3:-1].tolist() == [6 / 32, 2 * 7 / 32]
