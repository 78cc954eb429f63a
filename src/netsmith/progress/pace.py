"""How long a stage goes on, by how fast it went so far."""

from __future__ import annotations

import math
from bisect import bisect_right

QUIET_S = 2.0  #: shorter waits need no line of their own
_SAMPLE_S, _SAMPLES = 0.2, 1000  # between two times that a pace remembers, and how many at most
_SHARE, _LONG_S = 0.05, 30.0  # of the work, or seconds, without which there is no estimate


class Pace:
    """Estimates how long a stage goes on, from how fast its later half went so far.

    What comes first is often slow for a reason of its own (something is loaded, compiled or warmed up), and an estimate
    from it would be wrong by orders of magnitude. So the first report only starts the clock, the pace is that since
    half of the time since then, and nothing is said before a share of the work or half a minute is behind.

    Args:
        began: time of the stage's begin, of the clock that later times are of.
    """

    def __init__(self, began: float) -> None:
        self._began = began
        self._seen: list[tuple[float, float]] = []  #: time and what was done then

    def left(self, now: float, done: float, total: float) -> float | None:
        """Seconds left of the stage, or None while there is no telling; ``done`` of ``total`` are done."""
        if self._seen and done < self._seen[-1][1]:
            self._seen.clear()  # another pass begins in the same stage
        if not 0 < done < total:
            return None
        if not self._seen or now - self._seen[-1][0] >= _SAMPLE_S:
            self._seen.append((now, done))
        if len(self._seen) > _SAMPLES:
            self._seen = self._seen[::2]
        first, had = self._seen[0]
        long_enough = done - had >= _SHARE * total or now - first >= _LONG_S
        if now - self._began < QUIET_S or not long_enough:
            return None
        half = bisect_right(self._seen, ((first + now) / 2, math.inf)) - 1
        start, behind = self._seen[half]
        return (total - done) * (now - start) / (done - behind) if done > behind else None
