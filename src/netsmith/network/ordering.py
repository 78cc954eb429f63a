"""The order of least peak memory: which of the steps that can run next to take first.

Exact by dynamic programming over the sets of steps that can have run (downsets of the graph): states are left in the
order of the highest peak on the way to them, so the first way that has run everything has the least. A step that frees
at least what it writes, and needs no more than what was needed before, is taken at once: no order is the worse for it.
Where there are too many sets, a beam of the best few is followed instead; the order as given stands if it is as good.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from netsmith.network.liveness import Step, lifetimes

STATES, BEAM = 20_000, 64  #: sets of steps that are looked at, and kept where these are not enough


@dataclass(frozen=True)
class _State:
    """What has run.

    Attributes:
        done: the steps, a bit each.
        live: bytes that are left.
        peak: the most on the way.
        way: the last step, and the state before it.
    """

    done: int
    live: float
    peak: float
    way: tuple[int, _State] | None = None

    def order(self) -> list[int]:
        found, at = list[int](), self.way
        while at is not None:
            found.append(at[0])
            at = at[1].way
        return found[::-1]


@dataclass
class _Steps:
    """Steps with what they need, free and write."""

    steps: Sequence[Step]
    sizes: Sequence[float]
    outputs: Collection[int]
    before: list[int] = field(init=False)  #: steps that have to run first, a bit each
    readers: list[int] = field(init=False)  #: of each tensor

    def __post_init__(self) -> None:
        writer = {v: t for t, step in enumerate(self.steps) for v in step.writes}
        self.before = [sum({1 << writer[v] for v in step.reads if v in writer}) for step in self.steps]
        self.readers = [0] * len(self.sizes)
        for t, step in enumerate(self.steps):
            for v in step.reads:
                self.readers[v] |= 1 << t
        self.kept = set(self.outputs)
        given = [v for v in range(len(self.sizes)) if v not in writer and (self.readers[v] or v in self.kept)]
        self.start = _State(0, float(sum(self.sizes[v] for v in given)), 0.0)
        self.all = (1 << len(self.steps)) - 1

    def take(self, state: _State, t: int) -> _State:
        """The state after a step."""
        step, done = self.steps[t], state.done | 1 << t
        dying = {v for v in step.reads if v not in self.kept and not self.readers[v] & ~done}
        written = sum(self.sizes[v] for v in step.writes)
        over = next((self.sizes[v] for v in step.over if v in dying), 0.0) if step.writes else 0.0
        left = sum(self.sizes[v] for v in step.writes if self.readers[v] or v in self.kept)
        peak = max(state.peak, state.live + written - over)
        return _State(done, state.live - sum(self.sizes[v] for v in dying) + left, peak, (t, state))

    def after(self, state: _State) -> Iterator[_State]:
        """The states after each step that can run; after one alone, where that can do no harm."""
        found = list[_State]()
        for t in range(len(self.steps)):
            if not state.done >> t & 1 and not self.before[t] & ~state.done:
                one = self.take(state, t)
                if one.live <= state.live and one.peak <= state.peak:
                    yield one
                    return
                found.append(one)
        yield from found


def least_peak_order(
    steps: Sequence[Step], sizes: Sequence[float], outputs: Collection[int], states: int = STATES
) -> tuple[list[int], bool]:
    """The order in which ``steps`` (given in an order that they can run in) have the least peak.

    Args:
        sizes: bytes of each tensor.
        outputs: tensors that live to the end.
        states: most sets of steps to look at.

    Returns:
        Places of the steps in their new order, as given where none is better; and whether that is proven.
    """
    given = list(range(len(steps)))
    most = peak_of(steps, sizes, outputs)
    program = _Steps(steps, sizes, outputs)
    queue, seen, number = [(0.0, 0, 0, program.start)], set[int](), 0
    while queue and len(seen) < states:
        _, _, _, state = heapq.heappop(queue)
        if state.done == program.all:
            return (state.order() if state.peak < most else given), True
        if state.done in seen:
            continue
        seen.add(state.done)
        for one in program.after(state):
            if one.peak < most and one.done not in seen:
                number += 1
                heapq.heappush(queue, (one.peak, -one.done.bit_count(), number, one))
    if not queue:  # everything that is better than the order as given was looked at
        return given, True
    best = _beam(program)
    return (best.order() if best.peak < most else given), False


def _beam(program: _Steps) -> _State:
    """A good order: of all sets of as many steps, a few of the least peak are followed."""
    beam = [program.start]
    for _ in program.steps:
        found: dict[int, _State] = {}
        for state in beam:
            for one in program.after(state):
                known = found.get(one.done)
                if known is None or one.peak < known.peak:
                    found[one.done] = one
        beam = sorted(found.values(), key=lambda s: (s.peak, s.live))[:BEAM]
    return beam[0]


def peak_of(steps: Sequence[Step], sizes: Sequence[float], outputs: Collection[int]) -> float:
    """The most bytes that live while steps run in the order given."""
    buffer, live = lifetimes(len(sizes), steps, outputs)
    held = np.zeros(live.shape[1])
    np.maximum.at(held, buffer, np.asarray(sizes, dtype=float))
    return float((live @ held).max())
