"""The conformance cases accept what is right and catch what is broken."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from netsmith.hardware.target import Capabilities, Cost, Roof
from netsmith.search import get_strategy
from netsmith.space import Decision, Space
from netsmith.testing import check_decisions, check_strategy, check_target, example_table


class Roofline:
    """A sound little target; the broken ones below differ in one place."""

    name = "test-roofline"
    capabilities = Capabilities()

    def roof(self, w_bits, a_bits):
        return Roof(1e9, 1e8)

    def cost(self, table, batch=1):
        traffic = 4.0 * (table.c_in * table.h_in * table.w_in + table.c_out * table.h_out * table.w_out) * batch
        traffic = traffic + 4.0 * table.weights
        seconds = np.maximum(table.macs * batch / 1e9, traffic / 1e8)
        parts = {"compute": table.macs * batch * 1e-12, "dram": traffic * 1e-11}
        bound = np.where(table.macs * batch / 1e9 > traffic / 1e8, "compute", "memory")
        return Cost(seconds, sum(parts.values()), traffic_bytes=traffic, bound=bound, energy_parts=parts)


def broken(change):
    class Broken(Roofline):
        calls = 0

        def cost(self, table, batch=1):
            self.calls += 1
            return change(self, table, batch, super().cost(table, batch))

    return Broken()


def latency(function):
    return broken(lambda self, table, batch, cost: Cost(function(self, table, batch, cost.latency_s)))


def parts(change):
    return broken(lambda self, table, batch, cost: replace(cost, energy_parts=change(dict(cost.energy_parts))))


def roofed(roof):
    target = Roofline()
    target.roof = lambda w_bits, a_bits: roof
    return target


def spoil(self, table, batch, cost):
    table.c_out[...] += 1
    return cost


TARGETS = {
    "differs between two calls": latency(lambda self, t, b, s: s * (1 + 0.1 * self.calls)),
    "changed the column 'c_out'": broken(spoil),
    "has shape": latency(lambda self, t, b, s: s.sum(axis=-1)),
    "negative or not finite": latency(lambda self, t, b, s: s - 1.0),
    "is latency in seconds": latency(lambda self, t, b, s: s * 1e12),
    "takes no time": latency(lambda self, t, b, s: np.where(t.kernel_h > 1, s, 0.0)),
    "members one by one": latency(lambda self, t, b, s: s * (1.0 if s.ndim == 1 else 1.5)),
    "depends on the other rows": latency(lambda self, t, b, s: s + s.sum(axis=-1, keepdims=True)),
    "falls with more output channels": latency(lambda self, t, b, s: s / t.c_out.astype(float) ** 2),
    "falls with a larger batch": latency(lambda self, t, b, s: s / b**2),
    "is energy in joules": broken(lambda self, t, b, c: Cost(c.latency_s, c.energy_j * 1e12)),
    "energy_parts do not sum to energy_j": parts(lambda p: p | {"dram": p["dram"] * 1.01}),
    "energy_parts has .'wires'.": parts(lambda p: {"compute": p["compute"], "wires": p["dram"]}),
    r"energy_parts\['dram'\] has shape": parts(lambda p: p | {"dram": p["dram"].sum()}),
    "energy_j is not": broken(lambda self, t, b, c: replace(c, energy_j=None)),
    "traffic_bytes has a value": broken(lambda self, t, b, c: replace(c, traffic_bytes=c.traffic_bytes * np.inf)),
    "bound says .'cpu'.": broken(lambda self, t, b, c: replace(c, bound=np.where(t.macs > 0, "cpu", "memory"))),
    "faster than the peak of its roof": roofed(Roof(9e8, 1e8)),
    "faster than the bandwidth of its roof": roofed(Roof(1e9, 9e7)),
    "roof is not positive and finite": roofed(Roof(1e9, 0.0)),
}


def test_a_sound_target_passes():
    check_target(Roofline())
    check_target(Roofline(), batch=5)
    check_target(Roofline(), example_table((8, 8)))


@pytest.mark.parametrize("message", TARGETS)
def test_a_broken_target_is_caught(message):
    with pytest.raises(AssertionError, match=message):
        check_target(TARGETS[message])


def test_a_measured_target_is_not_held_to_a_roof():
    target = roofed(Roof(9e8, 1e8))
    target.capabilities = Capabilities(measured=True)
    check_target(target)


def test_a_target_that_does_not_claim_to_be_monotone_need_not_be():
    target = TARGETS["falls with a larger batch"]
    target.capabilities = Capabilities(monotone=False)
    check_target(target)
    target.capabilities = Capabilities()


class Wrapped:
    """A sound strategy with one method replaced."""

    def __init__(self, problem, space, seed):
        self.problem, self.space = problem, space
        self.inner = get_strategy("random", problem, space, seed)

    def ask(self, n):
        return self.inner.ask(n)

    def tell(self, designs, results):
        self.inner.tell(designs, results)

    def state_dict(self):
        return self.inner.state_dict()

    def load_state_dict(self, state):
        self.inner.load_state_dict(state)


class Greedy(Wrapped):
    def ask(self, n):
        return np.tile(self.space.sizes - 1, (n, 1))


class OutOfRange(Wrapped):
    def ask(self, n):
        return self.inner.ask(n) + 9


class Untied(Wrapped):
    def ask(self, n):
        designs = self.inner.ask(n)
        designs[:, 0] = 1 - designs[:, 2].clip(max=1)
        return designs


class Flat(Wrapped):
    def ask(self, n):
        return self.inner.ask(1)[0]


class Floats(Wrapped):
    def ask(self, n):
        return self.inner.ask(n).astype(float)


class TooMany(Wrapped):
    def ask(self, n):
        return self.inner.ask(n + 1)


class Unseeded(Wrapped):
    def __init__(self, problem, space, seed):
        super().__init__(problem, space, np.random.SeedSequence().entropy)


class Forgetful(Wrapped):
    def load_state_dict(self, state):
        self.state = dict(state)

    def state_dict(self):
        return getattr(self, "state", None) or self.inner.state_dict()


class Lazy(Wrapped):
    def ask(self, n):
        return np.empty((0, len(self.space)), dtype=np.int64)


STRATEGIES = {
    "breaks a budget": Greedy,
    "out of range or breaks a tie": OutOfRange,
    "which is out of range": Untied,
    "has shape": Flat,
    "expected integers": Floats,
    "returned 5 designs": TooMany,
    "of one seed and history asked differently": Unseeded,
    "asked otherwise than the original": Forgetful,
    "never proposed a design": Lazy,
}


def test_a_sound_strategy_passes():
    check_strategy(Wrapped)


@pytest.mark.parametrize("message", STRATEGIES)
def test_a_broken_strategy_is_caught(message):
    with pytest.raises(AssertionError, match=message):
        check_strategy(STRATEGIES[message])


def test_a_state_that_is_not_json_is_caught():
    class Arrays(Wrapped):
        def state_dict(self):
            return {"asked": np.zeros(3)}

    with pytest.raises(TypeError, match="JSON"):
        check_strategy(Arrays)


def test_a_broken_space_is_caught():
    decisions = (Decision("a", "x", (1, 2, 3)), Decision("b", "x", (1, 2, 3)))

    class Loose(Space):
        def mutate(self, rng, designs, rate):
            return rng.integers(0, self.sizes, size=designs.shape)

    class Unkept(Space):
        def sample(self, rng, n):
            return rng.integers(0, self.sizes, size=(n, len(self)))

    with pytest.raises(AssertionError, match="mutate with rate 0"):
        check_decisions(Loose(decisions))
    with pytest.raises(AssertionError, match="sample returned a design that"):
        check_decisions(Unkept(decisions, ((0, 1),)))
