from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from cases import brute_force, mixed_precision, random_problem, with_pairs

from netsmith.errors import InputError
from netsmith.search import Problem, additivity, rerank
from netsmith.study.study import minimize


def test_the_really_best_of_the_k_best_wins():
    problem = random_problem(4, 7, 3, 1, False, 3)
    truth = with_pairs(problem, 2)
    every, losses = brute_force(problem)
    got = rerank(problem, truth.estimate, 10, gap=0.0)
    np.testing.assert_allclose(got.estimate, losses[:10], rtol=1e-9)
    np.testing.assert_allclose(got.loss, truth.estimate(got.designs))
    assert truth.estimate(got.best)[0] == pytest.approx(got.loss.min())
    assert len(np.unique(got.designs, axis=0)) == 10 and len(every) > 10


def test_an_exact_estimate_ranks_perfectly_and_a_reversed_one_not_at_all():
    problem = mixed_precision(0, 6, 1, 0.3)
    good = rerank(problem, lambda d: 3 + 2 * problem.estimate(d), 12)
    bad = rerank(problem, lambda d: -problem.estimate(d), 12)
    flat = rerank(problem, lambda d: np.ones(len(d)), 5)
    assert good.spearman == pytest.approx(1.0) and good.kendall == pytest.approx(1.0)
    assert bad.spearman == pytest.approx(-1.0) and bad.kendall == pytest.approx(-1.0)
    assert flat.spearman == flat.kendall == 0.0
    assert np.array_equal(good.best, good.designs[0]) and np.array_equal(bad.best, bad.designs[-1])


def test_designs_are_as_far_apart_as_asked():
    problem = mixed_precision(1, 8, 2, 0.3)
    near, far = rerank(problem, problem.estimate, 6), rerank(problem, problem.estimate, 6, distance=5)
    apart = (far.designs[:, None] != far.designs).sum(axis=2)[~np.eye(6, dtype=bool)]
    assert apart.min() >= 5
    assert (near.designs[:, None] != near.designs).sum(axis=2)[~np.eye(6, dtype=bool)].min() < 5
    assert far.estimate[-1] >= near.estimate[-1]
    assert problem.feasible(far.designs).all()


@pytest.mark.parametrize("within", [False, True])
def test_additivity_falls_with_interactions(within):
    problem = mixed_precision(3, 8, 1, 0.3)
    truth = with_pairs(problem, 0, terms=10)
    sure = additivity(problem, lambda d: 1 + 4 * problem.estimate(d), 40, seed=1, within=within)
    assert sure["spearman"] == pytest.approx(1.0) and sure["kendall"] == pytest.approx(1.0)
    assert sure["pearson"] == pytest.approx(1.0) and sure["slope"] == pytest.approx(4.0)
    worse = additivity(problem, truth.estimate, 40, seed=1, within=within)
    assert worse["kendall"] < sure["kendall"] and worse["n"] == 40
    again = additivity(problem, truth.estimate, 40, seed=1, within=within)
    assert again == worse
    repaired = replace(problem, interactions=truth.interactions)
    assert additivity(repaired, truth.estimate, 40, seed=1, within=within)["spearman"] == pytest.approx(1.0)


def test_wrong_input_is_named():
    problem = mixed_precision(0, 3, 1, 0.3)
    with pytest.raises(InputError, match="one loss for each of 2"):
        rerank(problem, lambda d: np.zeros(7), 2)
    with pytest.raises(InputError, match="k is 0"):
        rerank(problem, problem.estimate, 0)
    with pytest.raises(InputError, match="allow three or more"):
        additivity(problem, problem.estimate, 2)


def test_a_failed_evaluation_is_never_the_best() -> None:
    losses = iter([3.0, np.nan, 1.0, 2.0])
    history = minimize(
        Problem(np.array([[0.0, 0.1], [0.0, 0.1]]), {}, {}), "random", lambda x: np.array([next(losses) for _ in x]), 4,
        batch=1,
    )  # fmt: skip
    assert history.loss[(history.designs == history.best).all(axis=1)][0] == 1.0
