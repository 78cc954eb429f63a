from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from cases import mixed_precision, with_pairs

from netsmith.errors import InputError
from netsmith.search import Problem, additivity
from netsmith.study.study import minimize


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


def test_a_reversed_estimate_and_losses_that_are_all_alike():
    problem = mixed_precision(0, 6, 1, 0.3)
    bad = additivity(problem, lambda d: -problem.estimate(d), 12)
    flat = additivity(problem, lambda d: np.ones(len(d)), 12)
    assert bad["spearman"] == pytest.approx(-1.0) and bad["kendall"] == pytest.approx(-1.0)
    assert flat["spearman"] == flat["kendall"] == 0.0


def test_wrong_input_is_named():
    problem = mixed_precision(0, 3, 1, 0.3)
    with pytest.raises(InputError, match="one loss for each of"):
        additivity(problem, lambda d: np.zeros(7), 4)
    with pytest.raises(InputError, match="allow three or more"):
        additivity(problem, problem.estimate, 2)


def test_a_failed_evaluation_is_never_the_best() -> None:
    losses = iter([3.0, np.nan, 1.0, 2.0])
    history = minimize(
        Problem(np.array([[0.0, 0.1], [0.0, 0.1]]), {}, {}), "random", lambda x: np.array([next(losses) for _ in x]), 4,
        batch=1,
    )  # fmt: skip
    assert history.loss[(history.designs == history.best).all(axis=1)][0] == 1.0
