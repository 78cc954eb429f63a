"""A study evaluates each network once, tells in the order asked, and evaluators are made of others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from netsmith.errors import InfeasibleError
from netsmith.search.exact_strategy import Exact
from netsmith.search.registry import Traits
from netsmith.search.strategy import Problem, Proposals, Results
from netsmith.space import CostTable
from netsmith.study.evaluator import Called, Logged, Outcome, Sieved, Summed, way_name
from netsmith.study.study import Study

LOSS = np.tile([4.0, 3.0, 2.0, 1.0], (3, 1))
PROBLEM = Problem(LOSS, {"c": CostTable(0.0, np.tile([0.0, 1.0, 2.0, 3.0], (3, 1)))}, {"c": 6.0})


class Listed:
    """Asks for what it is given, and remembers what it is told."""

    def __init__(self, designs: list[list[int]]) -> None:
        self.designs, self.told = designs, list[tuple[list[list[int]], list[float]]]()

    def ask(self, n: int) -> np.ndarray:
        asked, self.designs = self.designs[:n], self.designs[n:]
        return np.array(asked, dtype=np.int64).reshape(-1, 3)

    def tell(self, designs: np.ndarray, results: Results) -> None:
        assert results.costs["c"].tolist() == PROBLEM.price(designs)["c"].tolist()
        self.told.append((designs.tolist(), results.loss.tolist()))


class Recorded:
    """Yields sums as they are asked for, and records which were run."""

    inherits = False

    def __init__(self) -> None:
        self.ran: list[tuple[int, ...]] = []

    def evaluate(self, proposals: Proposals) -> Iterator[Outcome]:
        for design in proposals.designs:
            self.ran.append(tuple(int(k) for k in design))
            yield Outcome(float(design.sum()), figures={"sum": float(design.sum())})


def test_results_are_told_in_the_order_asked_and_no_network_is_run_twice() -> None:
    designs, runner, stored = [[1, 1, 0], [0, 0, 1], [1, 1, 1], [1, 1, 0], [3, 3, 3]], Recorded(), []
    strategy = Listed(designs)

    def canonical(design: np.ndarray) -> np.ndarray:  # where the first two are chosen, the third does nothing
        return np.array([*design[:2], 0]) if design[:2].all() else design

    log = Logged(runner, canonical, {((0, 0, 1), ""): Outcome(7.0)}, lambda key, outcome: stored.append(key))
    study = Study(lambda _: strategy, Traits(batch=2), log, 5)
    found = study(PROBLEM)
    assert [d for d, _ in strategy.told] == [designs[:2], designs[2:4], designs[4:]]
    assert [y for _, y in strategy.told] == [[2.0, 7.0], [2.0, 2.0], [9.0]]
    assert runner.ran == [(1, 1, 0), (3, 3, 3)] and log.evaluated == 2
    assert stored == [((1, 1, 0), ""), ((3, 3, 0), "")]
    assert found.design.tolist() == [1, 1, 0] and found.loss == 2.0  # [3, 3, 3] is over the budget


def test_a_strategy_without_evaluator_is_asked_once_and_one_without_designs_is_said() -> None:
    study = Study(lambda _: Listed([[1, 0, 0], [0, 1, 0]]), Traits(), None, 0)
    assert study(PROBLEM).design.tolist() == [1, 0, 0] and study(PROBLEM).loss is None
    for log, count in ((None, 0), (Logged(Recorded()), 4)):
        with pytest.raises(InfeasibleError, match="strategy mine found no design"):
            Study(lambda _: Listed([]), Traits(), log, count, "mine")(PROBLEM)


def test_what_a_design_is_made_from_counts_where_an_evaluator_inherits() -> None:
    class Inherits(Recorded):
        inherits = True

    proposals = Proposals(np.array([[1, 0, 0]] * 3), ((), ((2, 0, 0),), ((2, 0, 0),)))
    for runner, count in ((Recorded(), 1), (Inherits(), 2)):
        log = Logged(runner)
        assert len(list(log.evaluate(proposals))) == 3 and log.evaluated == count
    assert {name for _, name in log.known} == {"", way_name(((2, 0, 0),))}
    assert way_name(((1, 0), (0, 0))) != way_name(((0, 0), (1, 0)))  # the way counts, not its end


def test_a_sieve_lets_only_the_most_promising_be_evaluated() -> None:
    runner = Recorded()
    designs = np.array([[0, 0, 0], [3, 3, 0], [1, 0, 0], [3, 3, 3]])
    outcomes = list(Logged(Sieved(Summed(PROBLEM), runner, 0.5)).evaluate(Proposals.of(designs)))
    assert runner.ran == [(3, 3, 0), (3, 3, 3)]  # of least summed loss
    assert [o.loss for o in outcomes][1::2] == [6.0, 9.0] and all(np.isnan(o.loss) for o in outcomes[::2])


def test_measured_costs_take_the_place_of_predicted_ones() -> None:
    told: list[Results] = []

    class Keeps(Listed):
        def tell(self, designs: np.ndarray, results: Results) -> None:
            told.append(results)

    def run(designs: np.ndarray) -> Results:
        return Results(designs.sum(axis=1), {"seconds": designs[:, 0] * 2.0})

    Study(lambda _: Keeps([[1, 0, 0], [2, 0, 0]]), Traits(), Logged(Called(run)), 2)(PROBLEM)
    assert told[0].costs["seconds"].tolist() == [2.0, 4.0] and told[0].costs["c"].tolist() == [1.0, 2.0]


def test_at_renewed_prices_a_new_strategy_is_told_everything_again_before_it_is_asked() -> None:
    made: list[Listed] = []
    queues = [[[1, 1, 1], [0, 2, 2], [3, 3, 0], [0, 0, 1]], [[2, 1, 1], [1, 1, 1], [0, 1, 1], [0, 1, 0], [0, 0, 0]]]

    class Again(Listed):
        def tell(self, designs: np.ndarray, results: Results) -> None:
            self.told.append((designs.tolist(), results.loss.tolist(), results.costs["c"].tolist()))

    def make(problem: Problem) -> Listed:
        made.append(Again(queues[len(made)]))
        return made[-1]

    runner = Recorded()
    study = Study(make, Traits(batch=2), Logged(runner), 4)
    assert study(PROBLEM).design.tolist() == [0, 0, 1]
    dearer = CostTable(0.0, 2 * PROBLEM.costs["c"].unary)
    loss = LOSS.copy()
    loss[0, 3] = np.inf  # a choice that is not allowed at the new prices
    again = study(replace(PROBLEM, loss=loss, costs={"c": dearer}))
    designs, losses, prices = made[1].told[0]
    assert designs == [[1, 1, 1], [0, 2, 2], [0, 0, 1]] and losses == [3.0, 4.0, 1.0]  # in the order asked
    assert prices == [6.0, 8.0, 2.0]
    # two of four keep the new budgets, so that two networks more are asked for; one that is known does not count
    assert [d for told in made[1].told[1:] for d in told[0]] == [[2, 1, 1], [1, 1, 1], [0, 1, 1]]
    assert runner.ran[4:] == [(2, 1, 1), (0, 1, 1)]
    assert again.design.tolist() == [0, 0, 1] and again.loss == 1.0  # the best of all that is known


def test_a_strategy_that_retargets_is_not_told_again() -> None:
    class Retargets(Listed):
        limits: tuple[float, ...] = ()

        def retarget(self, problem: Problem) -> None:
            self.limits += (problem.budgets["c"],)

    strategy = Retargets([[1, 1, 1], [1, 1, 0]])
    study = Study(lambda _: strategy, Traits(retargets=True, batch=1), Logged(Recorded()), 1)
    study(PROBLEM)
    assert study(replace(PROBLEM, budgets={"c": 2.0})).design.tolist() == [1, 1, 0]
    assert strategy.limits == (2.0,) and len(strategy.told) == 2


def test_the_proven_bound_is_of_the_estimate_whatever_was_told() -> None:
    fresh, told = Exact(PROBLEM), Exact(PROBLEM)
    told.tell(np.array([[3, 3, 0], [0, 3, 3], [2, 2, 2], [3, 0, 3]]), Results(np.array([9.0, 1.0, 5.0, 7.0])))
    fresh.ask(1)
    assert fresh.bound is not None and told.bound is None
    told.ask(1)
    assert told.bound == pytest.approx(fresh.bound)
