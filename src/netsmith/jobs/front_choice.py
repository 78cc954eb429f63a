"""Which network of a front is chosen, by what test examples prove: none of them was looked at before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netsmith.certificates import Certificate, certificate, fixed_sequence

BoolArray = NDArray[np.bool_]
USUAL_DROP = 0.01  #: of score, that the chosen network may lose where nothing was asked


@dataclass(frozen=True)
class Choice:
    """What the test split says of a front.

    Attributes:
        certified: of each network whether it is certified to keep what was asked, None where that was not tested.
        certificates: what is certain of each by itself, against what was asked.
        chosen: the place of the network that was chosen.
        rule: by which that was, as a sentence.
    """

    certified: tuple[bool | None, ...]
    certificates: tuple[Certificate, ...]
    chosen: int
    rule: str


def choose(
    before: BoolArray | None, after: Sequence[BoolArray], held_out: Sequence[float], confidence: float, *,
    max_drop: float | None = None, min_score: float | None = None,
) -> Choice:  # fmt: skip
    """Choose the cheapest network that is certified to keep what was asked, by fixed-sequence testing.

    The claims are tested in the order of the networks, each at the whole confidence, until one is not shown; so all
    that is claimed in the end holds together at that confidence. What comes behind the first failure is not tested.

    Args:
        before: which test examples the network as given gets right, ``(N,)``; None where there is none.
        after: the same of each network, in an order that was fixed before: from the most expensive to the cheapest.
        held_out: score of each on the search split; the best is chosen where nothing is asked and none is certified.
        max_drop, min_score: what was asked, as shares; without either, a loss of :data:`USUAL_DROP` where one is known.
    """
    wanted = {"max_drop": max_drop, "min_score": min_score}
    found = tuple(certificate(before, right, confidence, **wanted) for right in after)
    asked, best = max_drop is not None or min_score is not None, int(np.argmax(held_out))
    if not asked and before is None:
        return Choice((None,) * len(after), found, best, "the most accurate network on the search split")
    goal = wanted if asked else {"max_drop": USUAL_DROP}
    tested = found if asked else tuple(certificate(before, right, confidence, **goal) for right in after)
    count = fixed_sequence(bool(one.met) for one in tested)
    flags = tuple(True if i < count else False if i == count else None for i in range(len(after)))
    what = (
        f"whose score is certified to be {100 * min_score:g} % or more"
        if min_score is not None
        else f"that is certified to lose no more than {_points(USUAL_DROP if max_drop is None else max_drop)}"
    )
    sure = f"at {100 * confidence:g} % confidence"
    if count:
        return Choice(flags, found, count - 1, f"the cheapest network {what} {sure}")
    if asked:  # the one whose claim was tested: another may pass by itself, but its test came too late
        return Choice(flags, found, 0, f"the most expensive network, as there is none {what} {sure}")
    return Choice(flags, found, best, f"the most accurate network on the search split, as there is none {what} {sure}")


def _points(share: float) -> str:
    return f"{100 * share:g} point{'' if share == 0.01 else 's'}"
