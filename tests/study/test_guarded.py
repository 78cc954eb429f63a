"""What a user's strategy does wrong is said in one sentence that names it, and it cannot change what it is given."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

from netsmith.errors import InfeasibleError, InputError
from netsmith.search.registry import Traits, register_strategy
from netsmith.search.strategy import Problem, Results
from netsmith.space import CostTable
from netsmith.study.guarded import Guarded
from netsmith.study.study import Study

LOSS = np.tile([4.0, 3.0, 2.0, np.inf], (3, 1))
PROBLEM = Problem(LOSS, {"c": CostTable(0.0, np.tile([0.0, 1.0, 2.0, 3.0], (3, 1)))}, {"c": 4.0}, ((0, 1),))


class Returns:
    """Asks for whatever it is given."""

    def __init__(self, asked: Any) -> None:
        self.asked = asked

    def ask(self, n: int) -> Any:
        return self.asked(n) if callable(self.asked) else self.asked

    def tell(self, designs: np.ndarray, results: Results) -> None:
        designs[:] = 0
        results.loss[:] = 0


def guarded(asked: Any, traits: Traits = Traits()) -> Guarded:  # noqa: B008
    return Guarded("mine.py:Mine", PROBLEM, traits, lambda problem: Returns(asked))


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (None, "asked for None where designs have the shape (n, 3)"),
        ([[0, 0]], "an array of shape (1, 2)"),
        ([[0, 0], [1]], "is no array of designs"),
        ([[0.5, 0.5, 1.0]], "designs of float64"),
        ([[0, 0, 4]], "choice 4 of decision 2"),
        ([[0, 0, -1]], "choice -1 of decision 2"),
        ([[0, 0, 3]], "choice 3 of decision 2, which is not there or not allowed"),
        ([[0, 1, 0]], "tied decisions [0, 1] differ"),
        ([[0, 0, 0]] * 3, "asked for 3 designs where it may ask for 2"),
        (lambda n: 1 // 0, "failed in ask (ZeroDivisionError: "),
        (lambda n: sys.exit(0), "failed in ask (SystemExit: 0)"),
    ],
)
def test_wrong_proposals_are_refused_by_the_name_of_the_strategy(asked: Any, words: str) -> None:
    with pytest.raises(InputError, match=r"^strategy mine\.py:Mine ") as caught:
        guarded(asked).ask(2)
    assert words in str(caught.value)


def test_lists_one_design_and_none_are_understood() -> None:
    assert guarded([[0, 0, 1], [1, 1, 0]]).ask(2).designs.tolist() == [[0, 0, 1], [1, 1, 0]]
    assert guarded([0, 0, 1]).ask(2).designs.tolist() == [[0, 0, 1]]
    assert guarded([]).ask(2).designs.shape == (0, 3)


def test_what_a_strategy_is_told_and_given_stays_as_it_is() -> None:
    own = np.array([[0, 0, 1]])
    strategy = guarded(own)
    asked, loss = strategy.ask(1), np.array([2.0])
    strategy.tell(asked.designs, Results(loss))
    own[:] = 1
    assert asked.designs.tolist() == [[0, 0, 1]] and loss.tolist() == [2.0]

    def spoil(problem: Problem) -> Any:
        problem.loss[:] = 0.0

    with pytest.raises(InputError, match=r"failed in its class .*read-only"):
        Guarded("mine", PROBLEM, Traits(), spoil)
    assert PROBLEM.loss is LOSS and LOSS[0, 0] == 4.0


def test_one_that_lacks_what_its_traits_ask_for_is_refused() -> None:
    for traits, method in ((Traits(walks=True), "alive"), (Traits(retargets=True), "retarget")):
        with pytest.raises(InputError, match=f"has no '{method}', which its traits ask for"):
            guarded([], traits)


@pytest.mark.parametrize(
    "traits",
    [{"batch": 0}, {"evaluations": -3}, {"batch": "x"}, {"needs": ("foo",)}, {"needs": "layers"}, {"walks": 1}],
)
def test_traits_that_mean_nothing_are_refused(traits: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=f"strategy 'odd': trait '{next(iter(traits))}'"):
        register_strategy("odd", **traits)


def test_one_that_is_trusted_has_to_keep_the_budgets() -> None:
    study = Study(lambda problem: guarded([[2, 2, 2]]), Traits(learns=False), None, 0, "mine")
    with pytest.raises(InfeasibleError, match="strategy mine found no design that keeps the budgets"):
        study(PROBLEM)
