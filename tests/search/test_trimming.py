"""Step-wise trimming: limits, largest widths, plateaus, rules, schedules, other limits, and its state."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from cases import random_problem

from netsmith.errors import InfeasibleError, InputError
from netsmith.search import Problem, Results, get_strategy
from netsmith.search.trim.compactnet import CompactNet
from netsmith.search.trim.family import winner
from netsmith.search.trim.trimming import Trimming
from netsmith.space import CostTable, Decision, Factor, Space
from netsmith.study.study import minimize
from netsmith.testing import check_strategy, example_problem

NAMES = ["netadapt", "compactnet"]


def run(strategy, problem):
    """Ask and tell to the end; the candidates of each iteration."""
    rounds = []
    while len(asked := strategy.ask(1000).designs):
        rounds.append(asked)
        strategy.tell(asked, Results(problem.estimate(asked)))
    return rounds


def resource(problem, designs):
    """The most violated budget as a share of itself, ``(N,)``, priced from the problem's own tables."""
    prices = problem.price(designs)
    return np.max([prices[n] / limit for n, limit in problem.budgets.items()], axis=0)


def linear(widths=8, layers=4, share=0.5):
    """Layers whose cost is proportional to their width; the loss of a layer grows with its number."""
    unary = np.tile(np.arange(1.0, widths + 1), (layers, 1))
    loss = (widths - np.arange(1.0, widths + 1)) * (1.0 + np.arange(layers))[:, None]
    return Problem(loss, {"c": CostTable(0.0, unary)}, {"c": share * widths * layers})


@pytest.mark.parametrize("name", NAMES)
def test_conformance(name):
    check_strategy(lambda p, s, seed: get_strategy(name, p, s, seed), rounds=8, within=False)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", range(12))
def test_every_candidate_is_the_largest_that_keeps_the_limit_and_winners_fall_to_the_budget(name, seed):
    problem = random_problem(seed, 6, 4, 1 + seed % 2, seed % 3 == 0, 6)
    strategy = get_strategy(name, problem)
    try:
        rounds = run(strategy, problem)
    except InfeasibleError as error:  # a trap of single moves, or tables that no design fits
        assert set(error.reachable) == set(problem.budgets)
        assert any(error.reachable[n] > problem.budgets[n] for n in problem.budgets)
        rounds = None
    family = strategy.family
    if rounds is not None:
        assert problem.feasible(np.array(family[-1].design))[0]
        assert len(rounds) == len(family)
    shares = resource(problem, np.array([m.design for m in family]).reshape(-1, 6))
    np.testing.assert_allclose(shares, [m.resource for m in family], rtol=1e-9)
    assert (np.diff(shares) < 0).all()
    assert all(m.resource <= m.limit * (1 + 1e-12) for m in family)
    for before, member, asked in zip(family, family[1:], (rounds or [])[1:], strict=False):
        assert tuple(member.design) in {tuple(a) for a in asked}
        for design in asked:
            moved = np.flatnonzero(design != before.design)
            assert len({int(v) for v in strategy.reduced.variable[moved]}) == 1  # one decision, or what is tied to it
            assert resource(problem, design[None])[0] <= member.limit * (1 + 1e-12)
            for k in range(int(design[moved[0]]) + 1, before.design[moved[0]]):
                wider = design.copy()
                wider[moved] = k
                if np.isfinite(problem.loss[moved, k]).all():
                    assert resource(problem, wider[None])[0] > member.limit * (1 - 1e-9)


def test_the_winner_of_the_papers_loses_least_and_of_equals_saves_most():
    problem = linear()
    strategy = Trimming(problem)
    rounds = run(strategy, problem)
    for member, asked in zip(strategy.family, rounds, strict=True):
        assert member.loss == problem.estimate(asked).min()
    # layer 0 is cheapest to lose, so it goes first, down to its smallest width
    assert strategy.family[7].design == (0, 7, 7, 7)
    assert winner("accuracy", np.array([1.0, 1.0, 2.0]), np.array([0.1, 0.2, 0.5])) == 1


def test_the_rules_order_a_hand_made_example_differently():
    # A loses 1 % for a saving of 2 % of the resource, B loses 2 % for 10 %, C loses 3 % for 10 %
    drops, saved = np.array([0.01, 0.02, 0.03]), np.array([0.02, 0.10, 0.10])
    assert winner("accuracy", drops, saved) == 0
    assert winner("ratio", drops, saved) == 1
    # the small numbers of the released code: without a drop the larger saving wins, and no saving is no division by 0
    assert winner("ratio", np.zeros(2), np.array([0.02, 0.10])) == 1
    assert winner("ratio", np.array([0.001, 0.5]), np.array([0.0, 0.1])) == 1


def test_a_strategy_follows_its_rule():
    unary = np.array([[0.0, 9.0, 10.0], [0.0, 1.0, 10.0]])
    loss = np.array([[9.0, 1.0, 0.0], [9.0, 2.0, 0.0]])
    problem = Problem(loss, {"c": CostTable(0.0, unary)}, {"c": 11.0})
    first = {}
    for rule in ("accuracy", "ratio"):
        strategy = Trimming(problem, rule=rule)
        run(strategy, problem)
        first[rule] = strategy.family[1].design
        assert json.loads(json.dumps(strategy.state_dict()))["rule"] == rule
    assert first == {"accuracy": (1, 2), "ratio": (2, 1)}
    with pytest.raises(InputError, match="rule 'best' is unknown; choose one of accuracy, ratio"):
        Trimming(problem, rule="best")  # type: ignore[arg-type]


def test_layers_on_a_plateau_are_never_chosen():
    """Decision 0 is flat, decision 1 falls in steps, decision 2 is proportional; the flat one loses nothing."""
    unary = np.array([[5.0] * 6, [2.0, 2.0, 2.0, 6.0, 6.0, 6.0], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]])
    loss = np.array([[0.0] * 6, [9.0, 5.0, 1.0, 0.9, 0.5, 0.0], [9.0, 7.0, 5.0, 3.0, 1.0, 0.0]])
    problem = Problem(loss, {"c": CostTable(0.0, unary)}, {"c": 9.5})
    strategy = Trimming(problem, first=0.01)
    rounds = np.concatenate(run(strategy, problem))
    assert (rounds[:, 0] == 5).all()
    assert set(rounds[:, 1]) == {5, 2}  # off the plateau at its edge, not down to the smallest width
    assert strategy.reached


@pytest.mark.parametrize("seed", range(3))
def test_a_cost_that_two_decisions_bound_together_is_a_trap_that_is_said(seed):
    # each layer costs the larger of its widths: neither alone saves anything
    corner = np.maximum.outer(np.arange(1.0, 5), np.arange(1.0, 5))
    problem = Problem(
        np.tile(np.arange(4.0)[::-1], (2, 1)), {"c": CostTable(0.0, np.zeros((2, 4)), (Factor((0, 1), corner),))},
        {"c": 2.0},
    )  # fmt: skip
    strategy = Trimming(problem, seed=seed)
    with pytest.raises(InfeasibleError, match="no single decision saves anything more") as caught:
        run(strategy, problem)
    assert caught.value.reachable == {"c": 4.0}


@pytest.mark.parametrize("name", NAMES)
def test_what_no_design_reaches_is_said_before_anything_is_evaluated(name):
    problem, space = example_problem()
    with pytest.raises(InfeasibleError) as caught:
        get_strategy(name, replace(problem, budgets={"size": 1e-9}), space).ask(1)
    assert caught.value.reachable["size"] > 1e-9
    with pytest.raises(InputError, match="budgets above 0"):
        get_strategy(name, replace(problem, budgets={"size": 0.0}), space)
    for bad in ({"first": 0.0}, {"decay": 1.5}, {"iterations": 0}):
        with pytest.raises(InputError, match="trimming takes"):
            Trimming(problem, **bad)


def test_a_network_within_its_budgets_is_left_alone():
    problem = replace(linear(), budgets={"c": 1e3})
    history = minimize(problem, "netadapt", problem.estimate, n=10)
    assert history.designs.tolist() == [[7, 7, 7, 7]] and history.best.tolist() == [7, 7, 7, 7]


def test_steps_follow_the_schedule_and_the_last_goes_no_further_than_the_budget():
    problem = linear(widths=1000, layers=3, share=0.8)
    strategy = Trimming(problem, first=0.025, decay=0.96)
    run(strategy, problem)
    shares = np.array([m.resource for m in strategy.family])
    want = shares[0] * 0.025 * 0.96 ** np.arange(len(shares) - 1)
    unit = 1 / problem.budgets["c"]
    assert np.abs(-np.diff(shares)[:-1] - want[:-1]).max() <= unit + 1e-9  # to the next whole channel
    assert shares[-1] <= 1 and 1 - shares[-1] < unit
    assert want[-1] > shares[-2] - 1 - 1e-9


@pytest.mark.parametrize(("target", "iterations", "reach"), [(1.5, 18, 1.30), (2.0, 24, 1.45), (2.5, 30, 1.51)])
def test_the_published_gains_miss_the_target_and_the_scaled_ones_meet_it(target, iterations, reach):
    problem = linear(widths=2000, layers=3, share=1 / target)
    nominal = CompactNet(problem, iterations=iterations, nominal=True)
    while len(nominal.family) <= iterations:
        asked = nominal.ask(10).designs
        nominal.tell(asked, Results(problem.estimate(asked)))
    assert nominal.family[0].resource / nominal.family[iterations].resource == pytest.approx(reach, abs=0.01)
    scaled = CompactNet(problem, iterations=iterations)
    run(scaled, problem)
    assert scaled.reached and len(scaled.family) - 1 in (iterations - 1, iterations)
    assert scaled.family[0].resource / scaled.family[-1].resource == pytest.approx(target, rel=1e-2)


def test_a_step_that_no_decision_reaches_is_halved_until_one_does():
    problem = linear(widths=4, layers=4)
    strategy = Trimming(problem, first=0.4)  # of 16; one layer alone saves 3 at most
    rounds = run(strategy, problem)
    assert strategy.reached
    assert strategy.family[0].resource - strategy.family[1].limit == pytest.approx(0.4 * 2 / 4)
    assert (rounds[1] == [[1, 3, 3, 3], [3, 1, 3, 3], [3, 3, 1, 3], [3, 3, 3, 1]]).all()


def test_several_budgets_go_by_the_one_most_violated():
    a, b = np.array([[1.0, 8.0], [7.0, 8.0]]), np.array([[7.0, 8.0], [1.0, 8.0]])
    loss = np.array([[5.0, 0.0], [1.0, 0.0]])
    problem = Problem(loss, {"a": CostTable(0.0, a), "b": CostTable(0.0, b)}, {"a": 9.0, "b": 15.5})
    strategy = Trimming(problem)
    rounds = run(strategy, problem)
    assert strategy.family[0].resource == pytest.approx(16 / 9) and strategy.family[0].costs == {"a": 16.0, "b": 16.0}
    # decision 1 hardly helps the budget that is broken, yet it meets the step and loses less
    assert [r.tolist() for r in rounds[1:]] == [[[0, 1], [1, 0]], [[0, 0]]]
    assert strategy.reached and strategy.family[1].resource == pytest.approx(15 / 9)


def test_only_the_kinds_that_may_move_do():
    problem, space = example_problem()
    moved = run(Trimming(replace(problem, budgets={"size": problem.budgets["size"]}), space, kinds=["width"]), problem)
    assert (np.concatenate(moved)[:, 1::2] == 1).all()
    decisions = [Decision("b", "branch", ("drop", "keep")), Decision("w", "w_bits", (4, 8))]
    both = Problem(np.array([[1.0, 0.0], [2.0, 0.0]]), {"c": CostTable(0.0, np.array([[0.0, 4.0], [4.0, 8.0]]))},
                   {"c": 4.0})  # fmt: skip
    strategy = Trimming(both, Space(tuple(decisions)))
    run(strategy, both)
    assert strategy.design.tolist() == [0, 0]


def test_candidates_may_be_told_one_by_one_and_a_lost_one_is_asked_for_again():
    problem = linear()
    whole, parts = Trimming(problem), Trimming(problem)
    run(whole, problem)
    while len(asked := parts.ask(2).designs):
        assert np.array_equal(parts.ask(2).designs, asked)  # nothing was told: the same again
        parts.tell(asked[-1:], Results(problem.estimate(asked[-1:])))
    assert parts.family == whole.family


def test_the_leader_is_the_best_told_so_far():
    problem = linear()
    strategy = Trimming(problem)
    start = strategy.ask(1).designs
    assert np.array_equal(strategy.leader, start[0])
    strategy.tell(start, Results(np.zeros(1)))
    asked = strategy.ask(4).designs
    for losses, leader in (([3.0], 0), ([1.0], 1), ([2.0], 1)):
        index = {3.0: 0, 1.0: 1, 2.0: 2}[losses[0]]
        strategy.tell(asked[index : index + 1], Results(np.array(losses)))
        assert np.array_equal(strategy.leader, asked[leader]) and np.array_equal(strategy.design, start[0])
    strategy.tell(asked[3:], Results(np.array([0.5])))
    assert np.array_equal(strategy.leader, asked[3]) and np.array_equal(strategy.design, asked[3])


def test_a_failed_evaluation_never_wins():
    problem = linear()
    strategy = Trimming(problem)
    strategy.tell(strategy.ask(1).designs, Results(np.array([0.0])))
    asked = strategy.ask(4).designs
    strategy.tell(asked, Results(np.array([np.nan, np.inf, 3.0, np.nan])))
    assert strategy.design.tolist() == asked[2].tolist()


def test_restored_anywhere_it_comes_to_the_same_family():
    problem = linear()
    whole = Trimming(problem, first=0.03)
    run(whole, problem)
    strategy = Trimming(problem, first=0.03)
    while len(asked := strategy.ask(3).designs):
        strategy.tell(asked, Results(problem.estimate(asked)))
        text = json.dumps(strategy.state_dict())
        strategy = Trimming(problem)  # other options: everything must come from the state
        strategy.load_state_dict(json.loads(text))
        assert json.dumps(strategy.state_dict()) == text
    assert strategy.family == whole.family


def test_another_limit_goes_on_from_where_the_ways_part():
    problem = linear(widths=16, layers=4)
    near, far = replace(problem, budgets={"c": 40.0}), replace(problem, budgets={"c": 25.0})
    direct = Trimming(far)
    run(direct, far)
    strategy = Trimming(near)
    run(strategy, near)
    first = [m.design for m in strategy.family]
    strategy.retarget(far)
    assert [m.design for m in strategy.family] == first  # all of them are over the lower limit
    run(strategy, far)
    assert strategy.reached and strategy.family[-1].costs["c"] <= 25.0
    strategy.retarget(near)
    assert [m.design for m in strategy.family] == first[:-1]
    run(strategy, near)
    assert [m.design for m in strategy.family] == first
    assert strategy.family[0].resource == pytest.approx(64 / 40)
    with pytest.raises(InputError, match="cannot go on by"):
        strategy.retarget(replace(problem, costs={"d": problem.costs["c"]}, budgets={"d": 40.0}))


def test_tables_are_renewed_at_every_winner():
    """A product of widths, expanded around a design: right for single moves from there, wrong elsewhere."""
    width = np.arange(1.0, 7)

    def around(design):
        a, b = width[np.asarray(design)]
        return {"c": CostTable(-a * b, np.stack([width * b, a * width]))}

    loss = np.tile(6 - width, (2, 1)) ** 2 * [[1.0], [1.1]]
    problem = Problem(loss, around([5, 5]), {"c": 12.0})
    strategy = Trimming(problem, renew=around)
    run(strategy, problem)
    for member in strategy.family:
        a, b = width[list(member.design)]
        assert member.costs["c"] == pytest.approx(a * b)
    assert strategy.family[-1].costs["c"] <= 12.0
    stale = Trimming(problem)
    run(stale, problem)
    assert stale.family[-1].costs["c"] != pytest.approx(float(np.prod(width[list(stale.family[-1].design)])))


def test_minimize_takes_the_best_within_the_budgets():
    problem = linear()
    history = minimize(problem, "netadapt", problem.estimate, n=1000)
    assert not history.feasible[0] and history.loss[0] == 0.0  # the network as given loses nothing and does not fit
    assert problem.feasible(history.best)[0]
    assert problem.estimate(history.best)[0] == history.loss[history.feasible].min()


def test_a_failed_evaluation_before_leaves_the_losses_to_decide() -> None:
    table = CostTable(0.0, np.array([[1.0, 2.0], [1.0, 2.0]]))
    strategy = Trimming(Problem(np.zeros((2, 2)), {"c": table}, {"c": 3.0}), first=0.25)
    strategy.tell(strategy.ask(1).designs, Results(np.array([np.nan])))
    asked = strategy.ask(8).designs
    losses = np.where(asked[:, 0] == 0, 0.5, 0.1)
    strategy.tell(asked, Results(losses))
    assert strategy.family[-1].loss == pytest.approx(0.1)


def test_budgets_that_are_equally_broken_fall_one_after_the_other() -> None:
    """Each decision saves of one budget only, so that none alone lowers the larger of the two."""
    a, b = np.array([[1.0, 2.0, 3.0], [0.0] * 3]), np.array([[0.0] * 3, [1.0, 2.0, 3.0]])
    loss = np.array([[4.0, 1.0, 0.0], [5.0, 2.0, 0.0]])
    problem = Problem(loss, {"a": CostTable(0.0, a), "b": CostTable(0.0, b)}, {"a": 2.0, "b": 2.0})
    strategy = Trimming(problem)
    rounds = run(strategy, problem)
    assert strategy.reached and strategy.design.tolist() == [1, 1]
    assert [m.resource for m in strategy.family] == [1.5, 1.5, 1.0]
    assert sorted(x.tolist() for x in rounds[1]) == [[1, 2], [2, 1]]
    one = replace(problem, budgets={"a": 2.0, "b": 0.5})  # of b nothing more can be saved
    with pytest.raises(InfeasibleError):
        run(Trimming(one), one)


def test_what_is_tied_to_a_held_decision_is_held_at_a_choice_that_both_have() -> None:
    """The first two decisions are tied, and the second has one choice less."""
    loss = np.array([[3.0, 1.0, 0.0], [3.0, 1.0, np.inf], [3.0, 1.0, 0.0]])
    table = CostTable(0.0, np.where(np.isfinite(loss), np.arange(1.0, 4.0), np.inf))
    problem = Problem(loss, {"c": table}, {"c": 5.5}, [[0, 1]])
    assert problem.reference.tolist() == [1, 1, 2]
    held = problem.held(np.array([True, False, False]))
    assert np.isfinite(held.loss).sum(axis=1).tolist() == [1, 1, 3]
    decisions = [Decision("a", "width", (1, 2, 3)), Decision("b", "bits", (1, 2)), Decision("c", "bits", (1, 2, 3))]
    strategy = Trimming(problem, Space(tuple(decisions)), kinds=["bits"])
    run(strategy, problem)
    assert strategy.design.tolist() == [1, 1, 0]
    overlapping = replace(problem, tied=[[0, 1], [1, 2]])
    assert overlapping.reference.tolist() == [1, 1, 1]
    assert np.isfinite(overlapping.held(np.array([False, False, True])).loss).sum() == 3
