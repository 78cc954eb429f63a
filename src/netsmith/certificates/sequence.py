"""What a sequence of tries shows, each on the same examples."""

from __future__ import annotations

from collections.abc import Iterable


def fixed_sequence(shown: Iterable[bool]) -> int:
    """How many claims of a list hold, whose order was fixed before any of the examples was looked at.

    Each claim is tested at the whole confidence, and the first that is not shown ends the sequence: the chance that any
    claim before it is wrong is no more than that of one test (Maurer, Hothorn and Lehmacher, 1995), since a wrong one
    counts only if all before it were shown and it is shown too, and the first wrong one of the order is always the
    same. A claim behind the first that was not shown would need confidence that was spent.

    Args:
        shown: whether each claim's test succeeds, in the order of the list; read no further than needed.
    """
    count = 0
    for passed in shown:
        if not passed:
            break
        count += 1
    return count
