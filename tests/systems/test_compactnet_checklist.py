"""What a faithful CompactNet shows: the platform's table decides what is trimmed, and targets are met as achieved."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from trimmed import Proportional, Steps, case

from netsmith.search.strategy import Problem
from netsmith.space import CostTable
from netsmith.systems.compactnet import compactnet, iterations_for

SPEED_UP = 1.3


@pytest.fixture(scope="module")
def given():
    torch.set_num_threads(1)
    return case()


@pytest.fixture(scope="module")
def families(given):
    """The same network trimmed for two platforms, by the same factor."""
    found = {}
    for target in (Proportional(), Steps()):
        problem, renew = given.problem(target, 1 / SPEED_UP)
        iterations = iterations_for(SPEED_UP)
        found[target.name] = compactnet(
            problem, given.space.decisions, None, given.masked, iterations=iterations, renew=renew
        )
    return found


def synthetic(unary, loss, speed_up, tied=()):
    """A problem with the latency as given over the speed-up as its budget, and its candidates' losses by a table."""
    table = CostTable(0.0, np.array(unary))
    problem = Problem(np.array(loss), {"latency": table}, {"latency": float(table.unary[:, -1].sum()) / speed_up}, tied)
    return problem, lambda start, designs: [(None, float(v)) for v in problem.estimate(designs)]


def test_another_table_gives_another_network_and_each_wins_on_its_own(given, families) -> None:
    designs = {name: family.design for name, family in families.items()}
    assert not np.array_equal(designs["proportional"], designs["steps"])
    speed_up = {}
    for target in (Proportional(), Steps()):
        predict = given.pricing(target).predict
        for name, design in designs.items():
            speed_up[name, target.name] = float(predict(given.space.reference)[0] / predict(design)[0])
    assert speed_up["proportional", "proportional"] >= SPEED_UP - 1e-9
    assert speed_up["steps", "steps"] >= SPEED_UP - 1e-9
    assert speed_up["proportional", "steps"] < SPEED_UP < speed_up["steps", "steps"] + 1e-9
    # what was trimmed for the array stops at its edges: no channel went that saves nothing
    wider = designs["steps"] + 1
    for d in np.flatnonzero(designs["steps"] < given.space.reference):
        x = designs["steps"].copy()
        x[d] = wider[d]
        assert given.pricing(Steps()).predict(x)[0] > given.pricing(Steps()).predict(designs["steps"])[0]


def test_layers_without_gain_are_never_chosen_nor_asked_for() -> None:
    flat = [5.0] * 4
    problem, table = synthetic([flat, [1.0, 2.0, 3.0, 4.0], flat], [[0.0] * 4, [9.0, 5.0, 2.0, 0.0], [0.0] * 4], 1.15)
    asked = []

    def recorded(start, designs):
        asked.extend(designs)
        return table(start, designs)

    family = compactnet(problem, None, None, recorded)
    assert family.design.tolist() == [3, 1, 3]
    assert (np.array(asked)[:, [0, 2]] == 3).all()


def test_tied_layers_shrink_together_and_their_whole_saving_counts() -> None:
    unary, loss = np.tile(np.arange(1.0, 5.0), (3, 1)), np.tile([3.0, 2.0, 1.0, 0.0], (3, 1))
    problem, short_tune = synthetic(unary, loss, 1.5, ((0, 2),))
    family = compactnet(problem, None, None, short_tune, iterations=4)
    designs = np.array([m.design for m in family.members])
    assert (designs[:, 0] == designs[:, 2]).all() and designs[-1].sum() < 9
    achieved = 12 / float(problem.price(family.design[None])["latency"][0])
    assert family.speed_ups("latency")[-1] == pytest.approx(achieved)


@pytest.mark.parametrize(("target", "published"), [(1.5, 18), (2.0, 24), (2.5, 30)])
def test_the_nominal_gains_end_short_of_the_target_and_the_scaled_ones_do_not(target: float, published: int) -> None:
    assert iterations_for(target) == published
    widths = 800
    unary = np.tile(np.arange(1.0, widths + 1), (3, 1))
    problem, table = synthetic(unary, (widths - unary) * [[1.0], [1.1], [1.2]], target)
    nominal = compactnet(problem, None, None, table, iterations=published, nominal=True)
    scaled = compactnet(problem, None, None, table, iterations=published)
    assert len(nominal.members) - 1 == published and len(scaled.members) - 1 <= published
    assert nominal.speed_ups("latency")[-1] < target - 0.15
    assert target <= scaled.speed_ups("latency")[-1] < target * 1.01
