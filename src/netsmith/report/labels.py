"""Where labels of a picture stand, so that they cover little of it and each other."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

Box = tuple[float, float, float, float]  #: left, top, right, bottom

_LETTER = 0.56  #: width of a letter over the height of letters, about
_FAR = (1.0, 1.9, 3.0)  #: how many times as far from a mark as is needed
_SIDES = ((1, 1), (-1, -1), (1, -1), (-1, 1), (1, 0))  #: right or left of a mark, below or above


def place_label(
    text: str, at: tuple[float, float], near: float, letters: float, taken: list[Box], limits: Box
) -> tuple[float, float]:
    """The left end of a text's base line, where it covers least, as near to a mark as that leaves it.

    Args:
        near: how far from the middle of the mark at ``at`` a text must be.
        letters: height of letters.
        taken: what is drawn already; the room of the text is added.
        limits: what the text must not leave.
    """
    long = long_of(text, letters)
    options = list[tuple[float, float, float, Box]]()
    for far in _FAR:
        for right, below in _SIDES:
            x = at[0] + near * far if right > 0 else at[0] - near * far - long
            y = at[1] + 0.8 * near * far * below + letters * (1.0 if below > 0 else 0.35 if not below else 0.0)
            box = (x, y - letters, x + long, y + letters * 0.25)
            covered = sum(common(box, other) for other in taken) + 60 * _outside(box, limits)
            options.append((covered + 3 * far + 0.2 * len(options), x, y, box))
    _, x, y, box = min(options)
    taken.append(box)
    return x, y


def long_of(text: str, letters: float) -> float:
    """About how wide a text is."""
    return len(text) * letters * _LETTER


def segments(line: Sequence[tuple[float, float]]) -> list[Box]:
    """The room that a line of upright and level parts takes."""
    return [
        (min(a[0], b[0]) - 1, min(a[1], b[1]) - 1, max(a[0], b[0]) + 1, max(a[1], b[1]) + 1) for a, b in pairwise(line)
    ]


def common(a: Box, b: Box) -> float:
    """The area that two boxes have in common."""
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))


def _outside(box: Box, limits: Box) -> float:
    """How far a box sticks out."""
    across = max(0.0, limits[0] - box[0], box[2] - limits[2])
    return across + max(0.0, limits[1] - box[1], box[3] - limits[3])
