"""What a faithful NetAdapt shows, on a network with a residual, a depthwise layer and a concatenation."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn
from trimmed import Proportional, case

from given import dropped_by, groups_in, kept_by
from netsmith.compression.kept import keep_indices
from netsmith.compression.prune import masked
from netsmith.compression.widen import widened
from netsmith.errors import InfeasibleError, InputError
from netsmith.network.graph import trace
from netsmith.search.strategy import Problem
from netsmith.space import CostTable
from netsmith.systems.netadapt import DECAY, FIRST, netadapt


@pytest.fixture(scope="module")
def given():
    torch.set_num_threads(1)
    return case()


@pytest.fixture(scope="module")
def run(given):
    """A trimming without training; the candidates of each iteration beside it."""
    problem, renew = given.problem(Proportional(), 0.4)
    asked = []

    def recorded(start, designs):
        asked.append(designs)
        return given.masked(start, designs)

    return netadapt(problem, given.space.decisions, None, recorded, renew=renew), asked


def test_the_network_has_all_couplings(given) -> None:
    members = [{m.layer for m in g.outputs} for g in groups_in(given.space)]
    assert any({"stem.0", "block.2.0"} <= layers for layers in members)  # the residual
    assert any({"block.0.0", "block.1.0"} <= layers for layers in members)  # the depthwise layer
    assert {"left.0", "right.0"} <= {layer for layers in members for layer in layers}  # both sides of the concat


def test_winners_meet_their_limits_and_resources_fall_to_the_budget(given, run) -> None:
    family, _ = run
    predicted = given.pricing(Proportional()).predict(np.array([m.design for m in family.members]))
    np.testing.assert_allclose(predicted, [m.costs["latency"] for m in family.members], rtol=1e-9)
    assert (np.diff(predicted) < 0).all() and predicted[-1] <= 0.4 * predicted[0] * (1 + 1e-9)
    shares = predicted / predicted[0]
    for i, (before, share) in enumerate(pairwise(shares)):
        assert share <= max(before - FIRST * DECAY**i, 0.4) + 1e-9


def test_an_unreachable_budget_is_said_with_what_can_be_reached(given) -> None:
    problem, renew = given.problem(Proportional(), 1e-4)
    with pytest.raises(InfeasibleError) as caught:
        netadapt(problem, given.space.decisions, None, given.masked, renew=renew)
    assert caught.value.reachable["latency"] > problem.budgets["latency"]


def test_the_width_of_every_candidate_is_the_largest_within_the_limit(given, run) -> None:
    family, asked = run
    predict = given.pricing(Proportional()).predict
    given_s = family.members[0].costs["latency"] / family.members[0].resource
    wider = 0
    for before, member, designs in zip(family.members, family.members[1:], asked[1:], strict=False):
        limit = member.limit * given_s
        assert (predict(designs) <= limit * (1 + 1e-9)).all()
        for design in designs:
            (d,) = np.flatnonzero(design != before.design)
            for k in range(int(design[d]) + 1, before.design[d]):
                other = design.copy()
                other[d] = k
                assert predict(other)[0] > limit * (1 - 1e-9)
                wider += 1
    assert wider > 10


def test_pruned_networks_compute_what_masked_ones_do(given, run) -> None:
    family, _ = run
    x, space = given.images, given.space
    for member in family.members[:: max(1, len(family.members) // 4)]:
        design = space.canonical(np.array(member.design))
        small = given.cut(given.model, design)
        with torch.no_grad():
            out = small.model(x)
            torch.testing.assert_close(widened(given.model, small.model, small.recipe)(x), out, atol=1e-5, rtol=1e-4)
        scores = given.evaluator.evaluate([given.candidates.of_design(design)])
        torch.testing.assert_close(
            float(nn.functional.cross_entropy(out, given.labels)), float(scores.loss[0]), atol=1e-4, rtol=1e-4
        )
        if not dropped_by(space, design):
            scores = given.candidates.tools.importance
            keep = {name: keep_indices(scores[name], n) for name, n in kept_by(space, design).items()}
            with torch.no_grad():
                torch.testing.assert_close(masked(given.model, given.report, keep)(x), out, atol=1e-5, rtol=1e-4)


def test_candidates_start_from_the_winners_weights_and_training_pays(given, run) -> None:
    problem, renew = given.problem(Proportional(), 0.6)
    origins, won = [], []

    def recorded(start, designs):
        origins.append(start)
        return given.tune(start, designs)

    def finish(network):
        finish.got = network
        return "finished"

    family = netadapt(
        problem,
        given.space.decisions,
        None,
        recorded,
        finish,
        first=0.08,
        renew=renew,
        on_winner=lambda n, m: won.append((n, m)),
    )
    assert family.network == "finished" and finish.got is won[-1][0]
    assert [m for _, m in won] == list(family.members)
    assert all(start is network for start, (network, _) in zip(origins[1:], won, strict=False))
    # filters that are gone stay gone, and what is left was trained, not copied from the network as given
    for (before, _), (after, _) in pairwise(won[1:]):
        wide, narrow = (dict(n.model.named_parameters())["left.0.weight"].shape for n, _ in ((before, 0), (after, 0)))
        assert narrow[0] <= wide[0] and narrow[1] <= wide[1]
    last = won[-1][0]
    untrained = given.cut(given.model, given.space.canonical(family.design))
    with torch.no_grad():
        want = given.model(given.images)
        losses = [float(nn.functional.mse_loss(n.model(given.images), want)) for n in (last, untrained)]
    assert losses[0] == pytest.approx(family.members[-1].loss) and losses[0] < 0.5 * losses[1]


def test_both_rules_are_there_and_the_family_says_which_was_used() -> None:
    # decision 0 loses 1 and saves 1 of 20, decision 1 loses 2 and saves 9: the paper takes 0, the code 1
    unary = np.array([[0.0, 9.0, 10.0], [0.0, 1.0, 10.0]])
    loss = np.array([[9.0, 1.0, 0.0], [9.0, 2.0, 0.0]])
    problem = Problem(loss, {"c": CostTable(0.0, unary)}, {"c": 11.0})

    def table(start, designs):
        return [(None, float(v)) for v in problem.estimate(designs)]

    paper, code = (netadapt(problem, None, None, table, rule=rule) for rule in ("accuracy", "ratio"))
    assert (paper.rule, code.rule) == ("accuracy", "ratio")
    assert [m.design for m in paper.members] == [(2, 2), (1, 2), (1, 1)]
    assert [m.design for m in code.members] == [(2, 2), (2, 1)]
    with pytest.raises(InputError, match="unknown"):
        netadapt(problem, None, None, table, rule="either")  # type: ignore[arg-type]


def test_the_family_can_be_rebuilt_and_says_what_it_achieved(given, run) -> None:
    family, _ = run
    speed_ups = family.speed_ups("latency")
    assert speed_ups[0] == 1.0 and (np.diff(speed_ups) > 0).all() and speed_ups[-1] >= 1 / 0.4 - 1e-9
    for member, speed_up in list(zip(family.members, speed_ups, strict=True))[:: len(speed_ups) - 1]:
        small = given.cut(given.model, given.space.canonical(np.array(member.design)))
        macs = trace(small.model, (3, 12, 12)).layers.macs.sum()
        assert given.space.table.macs.sum() / macs == pytest.approx(speed_up, rel=1e-9)
