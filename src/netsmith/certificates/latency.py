"""An interval of a measured latency, from sessions of timing that each have an error of their own."""

from __future__ import annotations

from collections.abc import Sequence
from math import comb


def latency_interval(session_ratios: Sequence[float], unit_s: float, confidence: float = 0.95) -> tuple[float, float]:
    """The median of all sessions that there could be lies between these, in seconds.

    Where a tensor happens to lie in memory shifts a whole session by some per cent, so what is repeated are sessions,
    and their order statistics need no distribution. Few sessions have an interval of another confidence,
    :func:`sessions_confidence`.

    Args:
        session_ratios: latency over that of a reference, at least one session.
        unit_s: latency of the reference.
    """
    ordered, leave = sorted(session_ratios), _left_out(len(session_ratios), confidence)
    return ordered[leave] * unit_s, ordered[-1 - leave] * unit_s


def sessions_confidence(sessions: int, confidence: float = 0.95) -> float:
    """The confidence of :func:`latency_interval` with so many sessions: no less than asked for if there are enough."""
    return 1 - 2 * _beyond(sessions, _left_out(sessions, confidence))


def _left_out(sessions: int, confidence: float) -> int:
    """How many of the smallest, and of the largest, need not be inside."""
    leave = 0
    while 2 * (leave + 1) < sessions and 1 - 2 * _beyond(sessions, leave + 1) >= confidence:
        leave += 1
    return leave


def _beyond(sessions: int, leave: int) -> float:
    """The chance that the median lies below all but the ``leave`` smallest."""
    return float(sum(comb(sessions, i) for i in range(leave + 1))) / 2.0**sessions
