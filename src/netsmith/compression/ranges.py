"""Indices of channels or heads as text, in which most of them are runs."""

from __future__ import annotations

from collections.abc import Sequence

MOST_CHANNELS = 10_000_000  #: of a layer


def to_ranges(indices: Sequence[int]) -> str:
    """``(0, 1, 2, 5)`` as ``"0-2,5"``."""
    parts: list[list[int]] = []
    for i in indices:
        if parts and i == parts[-1][1] + 1:
            parts[-1][1] = i
        else:
            parts.append([i, i])
    return ",".join(f"{a}-{b}" if b > a else f"{a}" for a, b in parts)


def from_ranges(text: str) -> tuple[int, ...]:
    """The inverse of :func:`to_ranges`."""
    found: list[int] = []
    for part in text.split(",") if text else ():
        first, _, last = part.partition("-")
        here = range(int(first), int(last or first) + 1)
        if here.stop > MOST_CHANNELS or not here or (found and here.start <= found[-1]):
            raise ValueError(f"the indices {part} are not ascending, or more than a layer has")
        found += here
    return tuple(found)
