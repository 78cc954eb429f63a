"""What the paper says of hardware: other machines want other bits, and memory-bound depthwise layers narrow inputs."""

from __future__ import annotations

import numpy as np
import pytest

from given import space_of
from netsmith.decisions.pricing import Pricing
from netsmith.hardware.target import get_target, settings_of
from netsmith.network.graph import trace
from netsmith.network.load import load_model
from netsmith.search.solver.exact import minimise_cost, solve
from netsmith.search.strategy import Problem
from netsmith.space import CostTable

TARGETS = ("bitfusion", "bismo-edge", "bismo-cloud")


@pytest.fixture(scope="module")
def case():  # type: ignore[no-untyped-def]
    graph = trace(load_model("zoo:mobilenet_v2?width=0.5").model, (3, 96, 96))
    layers = [
        n for n in graph.layers.names if n in graph.node_of and graph.layers.is_compute[graph.layers.names.index(n)]
    ]
    pairs = [(w, a) for w in range(2, 9) for a in range(2, 9)]
    space = space_of(graph, bits=pairs, pinned=(layers[0], layers[-1]))
    # every bit less costs four times the squared error, alike in all layers, so that only the hardware tells them apart
    bits = space.values
    loss = np.where(np.arange(bits.shape[1]) < space.decisions.sizes[:, None], 4.0**-bits, np.inf)
    tables = {t: Pricing(space, get_target(t)).table("latency", space.reference) for t in TARGETS}
    return graph, space, loss, tables


def test_a_policy_tuned_for_one_machine_is_slower_on_another(case) -> None:  # type: ignore[no-untyped-def]
    _, space, loss, tables = case
    even = np.minimum(np.full(len(space.decisions), 2), space.decisions.sizes - 1)  # 4 bits
    bound = float(loss[np.arange(len(even)), even].sum())
    tuned = {}
    for name, table in tables.items():
        problem = Problem(loss, {"latency": table, "loss": CostTable(0.0, loss)}, {"loss": bound}, space.decisions.tied)
        tuned[name] = minimise_cost(problem, "latency", within=("loss",), time_limit=20.0)[1]
    price = np.array([[tables[on].price(tuned[of])[0] for on in TARGETS] for of in TARGETS])
    share = price / np.diag(price)
    assert (share >= 1 - 1e-3).all()  # the diagonal wins every column
    for i in range(len(TARGETS)):
        for j in range(len(TARGETS)):
            if i != j and "bitfusion" in (TARGETS[i], TARGETS[j]):
                assert share[i, j] > 1.01, (TARGETS[i], TARGETS[j], share)
    assert len({tuple(d) for d in tuned.values()}) == len(TARGETS)


def test_depthwise_layers_on_the_edge_read_fewer_bits_than_their_weights_have(case) -> None:  # type: ignore[no-untyped-def]
    graph, space, loss, tables = case
    table = tables["bismo-edge"]
    limit = 0.5 * float(table.price(space.reference)[0])
    design = solve(Problem(loss, {"latency": table}, {"latency": limit}, space.decisions.tied), 20.0).choice
    rows = space.rows(design)
    cost = get_target("bismo-edge").cost(graph.layers.replace(w_bits=8, a_bits=8))
    assert cost.bound is not None
    bound = graph.layers.is_depthwise & (cost.bound == "memory")
    assert bound.sum() >= 5
    weights, inputs = rows.w_bits[0, bound].mean(), rows.a_bits[0, bound].mean()
    assert inputs < weights - 0.5, (weights, inputs)


@pytest.mark.parametrize("name", TARGETS)
def test_a_cost_model_says_what_it_is(name: str) -> None:
    target = get_target(name)
    settings = settings_of(target)
    assert target.name and settings and not target.capabilities.measured
    assert (8, 8) in target.capabilities.bits and (2, 2) in target.capabilities.bits
    assert "batch" in str(target.cost.__doc__).lower() or "batch" in target.cost.__code__.co_varnames
