from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from cases import brute_force, mixed_precision, random_problem, with_pairs

from netsmith.errors import InfeasibleError, InputError
from netsmith.search import Results, get_strategy, solve
from netsmith.search.evolution import Evolution
from netsmith.space import Decision, Space
from netsmith.study.study import minimize
from netsmith.testing import check_strategy, example_problem


@pytest.mark.parametrize("options", [{}, {"warm": False}, {"age": 6, "population": 4}, {"crossover": 0.0}])
def test_conformance(options):
    check_strategy(lambda p, s, seed: Evolution(p, s, seed, **{"population": 6, **options}), rounds=5)


@pytest.mark.parametrize("seed", range(3))
def test_conformance_on_random_problems(seed):
    problem = random_problem(seed + 20, 7, 3, 2, True, 6)
    space = Space(tuple(Decision(f"d{i}", "x", (0, 1, 2)) for i in range(7)), tuple(map(tuple, problem.tied)))
    check_strategy(lambda p, s, seed: Evolution(p, s, seed, population=6), problem, space, rounds=5)


@pytest.mark.parametrize("warm", [True, False])
def test_asks_nothing_twice_and_stops_at_the_last_feasible_design(warm):
    problem = random_problem(5, 4, 3, 1, False, 2)
    every, _ = brute_force(problem)
    strategy = Evolution(problem, population=4, warm=warm)
    asked = []
    for _ in range(25):
        asked.append(strategy.ask(8))
        strategy.tell(asked[-1], Results(problem.estimate(asked[-1])))
    designs = np.concatenate(asked)
    assert len(np.unique(designs, axis=0)) == len(designs)
    assert len(designs) > len(every) // 2 and problem.feasible(designs).all()


def test_told_designs_are_not_asked():
    problem = random_problem(5, 4, 3, 1, False, 2)
    every, loss = brute_force(problem)
    strategy = Evolution(problem, population=4)
    told = every[: len(every) // 2]
    strategy.tell(told, Results(loss[: len(told)]))
    asked = np.concatenate([strategy.ask(4) for _ in range(4)])
    assert len(asked) and not {tuple(d) for d in asked} & {tuple(d) for d in told}


def test_starts_from_the_optimum_of_the_estimate():
    problem = mixed_precision(0, 6, 2, 0.25)
    best = solve(problem)
    first = Evolution(problem).ask(12)
    assert problem.estimate(first).min() <= best.loss * (1 + 1e-4)
    near = (first != best.choice).sum(axis=1)
    assert (near <= 6).sum() >= 4  # mutants of it as well
    cold = Evolution(problem, warm=False).ask(12)
    assert problem.estimate(cold).min() > best.loss * 1.01


@pytest.mark.parametrize("seed", range(4))
def test_beats_random_at_equal_evaluations_with_noise_and_no_estimate(seed):
    """Nothing is known but what is told, which is noisy; the best told designs are judged by their true loss."""
    truth = mixed_precision(seed, 10, 2, 0.3)
    blind = replace(truth, loss=np.zeros_like(truth.loss))
    scale = truth.estimate(get_strategy("random", blind, seed=1).ask(64)).std()
    found = {}
    for name in ("evolution", "random"):
        rng = np.random.default_rng(seed)

        def noisy(designs, rng=rng):
            return truth.estimate(designs) + 0.02 * scale * rng.standard_normal(len(designs))

        history = minimize(blind, get_strategy(name, blind, seed=seed), noisy, n=240, batch=12)
        assert len(history.loss) == 240 and blind.feasible(history.designs).all()
        found[name] = truth.estimate(history.designs[np.argsort(history.loss)[:8]]).mean()
    assert found["evolution"] < 0.6 * found["random"]


def test_designs_use_the_budget_even_without_an_estimate():
    truth = mixed_precision(1, 8, 1, 0.3)
    blind = replace(truth, loss=np.zeros_like(truth.loss))
    history = minimize(blind, "evolution", truth.estimate, n=160, batch=16)
    share = truth.costs["latency"].price(history.designs) / truth.budgets["latency"]
    assert (share <= 1 + 1e-9).all() and np.median(share) > 0.9


def test_improves_on_a_warm_start_whose_estimate_is_wrong():
    problem = mixed_precision(2, 8, 2, 0.3)
    truth = with_pairs(problem, 5, terms=12)
    history = minimize(problem, "evolution", truth.estimate, n=300, batch=20)
    assert truth.estimate(history.best)[0] < truth.estimate(solve(problem).choice)[0] * 0.97
    assert truth.estimate(history.best)[0] >= solve(truth).loss - 1e-9


def test_losses_that_failed_are_left_out():
    problem, space = example_problem()
    strategy = Evolution(problem, space, population=4)
    for _ in range(4):
        asked = strategy.ask(4)
        strategy.tell(asked, Results(np.where(np.arange(len(asked)) % 2, np.nan, problem.estimate(asked))))
    assert all(np.isfinite(y) for _, y in strategy.state_dict()["told"])


def test_an_infeasible_problem_and_wrong_options_are_said_to_be_so():
    problem, space = example_problem()
    with pytest.raises(InfeasibleError):
        Evolution(replace(problem, budgets={"size": 1e-9}), space).ask(1)
    for options in ({"population": 1}, {"tournament": 0}, {"age": 1}, {"crossover": 1.5}):
        with pytest.raises(InputError, match="evolution takes"):
            Evolution(problem, space, **options)
