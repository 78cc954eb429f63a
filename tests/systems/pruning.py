"""Networks made up of channels alone: what AMC is tested on. Costs are multiply-accumulates."""

from __future__ import annotations

import numpy as np

from netsmith.network.layers import KIND, LayerTable
from netsmith.search import Problem
from netsmith.space import CostTable, Decision, Factor, Space

WIDTHS = (16, 32, 32, 64)


def network(widths=WIDTHS):
    """A chain of 3x3 convolutions, the map halved at each, and a linear layer; the last convolution is never pruned."""
    rows, c_in, size = [], 3, 32
    for i, c in enumerate((*widths, 64)):
        shape = {"stride": 2, "h_in": size, "w_in": size, "h_out": size // 2, "w_out": size // 2}
        shape |= {"kernel_h": 3, "kernel_w": 3, "c_in": c_in, "c_out": c}
        rows.append({"name": f"conv{i}", "kind": KIND["conv"], **shape})
        c_in, size = c, max(size // 2, 2)
    rows.append({"name": "fc", "kind": KIND["linear"], "c_in": c_in, "c_out": 10})
    return LayerTable.from_rows(rows)


def counts(channels, multiple=1, parts=8):
    """Channel counts of a layer: multiples up to all of its channels, which need not be one."""
    least = np.arange(1, parts + 1) * channels / parts
    return tuple(sorted({min(channels, max(multiple, multiple * round(c / multiple))) for c in least} | {channels}))


def widths_space(widths=WIDTHS, multiple=1):
    return Space(tuple(Decision(f"conv{i}.channels", "channels", counts(c, multiple)) for i, c in enumerate(widths)))


def macs(table, space):
    """Multiply-accumulates of the chain: a layer's cost depends on the decision before it and on its own."""
    kept = [np.array(d.choices, dtype=float) for d in space.decisions]
    each = table.macs / (table.c_in * table.c_out)
    unary = np.full((len(space), int(space.sizes.max())), np.inf)
    for d, k in enumerate(kept):
        unary[d, : len(k)] = 0.0
    unary[0, : len(kept[0])] = each[0] * 3 * kept[0]
    last = len(space) - 1
    unary[last, : len(kept[last])] += each[last + 1] * 64 * kept[last]
    pairs = tuple(
        Factor((d, d + 1), each[d + 1] * kept[d][:, None] * kept[d + 1][None, :]) for d in range(len(space) - 1)
    )
    return CostTable(float(table.macs[-1]), unary, pairs)


def example(share=0.5, seed=0, widths=WIDTHS, multiple=1):
    """Problem, space, features and an evaluation of errors in 0..1 that is a sum over the layers."""
    from netsmith.systems.amc import features

    table, space = network(widths), widths_space(widths, multiple)
    cost = macs(table, space)
    hurt = np.random.default_rng(seed).lognormal(0.0, 1.0, len(space))
    loss = np.full((len(space), int(space.sizes.max())), np.inf)
    for d, decision in enumerate(space.decisions):
        ratio = np.array(decision.choices) / decision.choices[-1]
        loss[d, : len(ratio)] = 0.9 * hurt[d] / hurt.sum() * (1.0 - ratio) ** 2
    full = float(cost.price(space.sizes - 1)[0])
    problem = Problem(loss, {"macs": cost}, {} if share is None else {"macs": share * full})
    touched = np.zeros((len(space), len(table)), dtype=bool)
    for d in range(len(space)):
        touched[d, [d, d + 1]] = True
    known = features(table, range(len(space)), touched, [d.kind for d in space.decisions])
    return problem, space, known, problem.estimate
