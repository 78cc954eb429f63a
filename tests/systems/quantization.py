"""A small network on a made-up accelerator: what the systems that choose bits are tested on."""

from __future__ import annotations

import numpy as np

from netsmith.network.layers import KIND, LayerTable
from netsmith.search import Problem
from netsmith.space import CostTable, Decision, Factor, Space

BITS = tuple(range(2, 9))


def network(blocks=3):
    """Stem, pairs of a depthwise and a pointwise convolution, and a linear layer."""
    conv, k3 = KIND["conv"], {"kernel_h": 3, "kernel_w": 3}
    size = {"h_in": 16, "w_in": 16, "h_out": 16, "w_out": 16}
    rows = [{"name": "stem", "kind": conv, "c_in": 3, "c_out": 16, "stride": 2} | k3 | size | {"h_in": 32, "w_in": 32}]
    for i in range(blocks):
        c = 16 * (i + 1)
        rows.append({"name": f"dw{i}", "kind": conv, "c_in": c, "c_out": c, "groups": c} | k3 | size)
        rows.append({"name": f"pw{i}", "kind": conv, "c_in": c, "c_out": c + 16} | size)
    rows.append({"name": "fc", "kind": KIND["linear"], "c_in": 16 * (blocks + 1), "c_out": 10})
    return LayerTable.from_rows(rows)


def bits_space(names, pinned):
    decisions = [
        Decision(f"{name}.{kind}", kind, (8,) if name in pinned else BITS)
        for name in names
        for kind in ("w_bits", "a_bits")
    ]
    return Space(tuple(decisions))


def table_problem(cycles, space, share):
    """The problem of a latency table ``(L, 8, 8)`` of weight and activation bits, as HAQ's release has it.

    The budget is a share of the cost at 8 bits. The loss table only says what is allowed.
    """
    sizes = space.sizes
    loss = np.where(np.arange(7) < sizes[:, None], 0.0, np.inf)
    factors = []
    for i, values in enumerate(cycles):
        w, a = (space.decisions[j].choices[0] - 1 for j in (2 * i, 2 * i + 1))
        factors.append(Factor((2 * i, 2 * i + 1), np.asarray(values, dtype=float)[w:, a:]))
    cost = CostTable(0.0, loss.copy(), tuple(factors))
    return Problem(loss, {"latency": cost}, {"latency": share * float(cost.price(sizes - 1)[0])})


def accelerator(table):
    """Cycles ``(L, 8, 8)``: streams of activations or weights, or bit-serial compute, whichever is longest."""
    bits = np.arange(1.0, 9.0)
    elements = table.c_in * table.h_in * table.w_in + table.c_out * table.h_out * table.w_out
    stream = (elements / 16)[:, None, None] * bits
    weights = (table.weights / 16)[:, None, None] * bits[:, None]
    lanes = np.where(table.is_depthwise, 256, 4096)
    compute = (table.macs / lanes)[:, None, None] * bits[:, None] * bits
    return np.maximum(np.maximum(stream, weights), compute)


def example(share=0.6, seed=0):
    """Problem, space, features and an evaluation with a convex loss of percentage points in the bits."""
    from netsmith.systems.haq import features

    table = network()
    space = bits_space(table.names, ("stem", "fc"))
    problem = table_problem(accelerator(table), space, share)
    rows = np.repeat(np.arange(len(table)), 2)
    kinds = [d.kind for d in space.decisions]
    hurt = np.random.default_rng(seed).lognormal(0.0, 1.0, len(space))
    bits = np.array([[*d.choices, *[8] * (7 - len(d.choices))] for d in space.decisions])

    def evaluate(designs):
        chosen = bits[np.arange(len(space)), designs]
        points = (hurt * (4.0 ** -(chosen - 3.0) - 4.0**-5)).sum(axis=1)
        return 70.0 * (1.0 - np.exp(-points / 70.0))

    return problem, space, features(table, rows, kinds), evaluate
