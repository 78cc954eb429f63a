"""What the test examples certify of a network, in one record for summaries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netsmith.certificates.needed import needed_examples
from netsmith.certificates.paired import paired_bound
from netsmith.certificates.score import score_bound

BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class Certificate:
    """A bound on the loss of score, from examples that no choice saw. Scores and losses are shares.

    Attributes:
        score_before: of the network as given; None where there is none.
        score_after: of the result.
        loss_bound: the loss is no more, at this confidence; None without a network as given.
        score_bound: the score is no less, at this confidence.
        confidence: of each of both bounds.
        examples: how many there were.
        worse, better: examples that only the network as given gets right, and that only the result does.
        max_drop, min_score: what was asked for, if anything.
        needed: the loss that more examples would certify, and how many; for what was asked, or half as wide a bound.
    """

    score_before: float | None
    score_after: float
    loss_bound: float | None
    score_bound: float
    confidence: float
    examples: int
    worse: int | None = None
    better: int | None = None
    max_drop: float | None = None
    min_score: float | None = None
    needed: tuple[float, int | None] | None = None

    @property
    def loss(self) -> float | None:
        """What was seen on these examples."""
        return None if self.score_before is None else self.score_before - self.score_after

    @property
    def met(self) -> bool | None:
        """Whether the bound, not the figure that was seen, keeps what was asked; None where nothing was."""
        if self.max_drop is not None:
            return self.loss_bound is not None and self.loss_bound <= self.max_drop
        return None if self.min_score is None else self.score_bound >= self.min_score

    @property
    def says(self) -> str:
        """All of it as a sentence."""
        sure, of = f"at {100 * self.confidence:g} % confidence", f"{self.examples} test examples"
        if self.loss_bound is None or self.loss is None:
            said = f"{sure} the score is at least {100 * self.score_bound:.2f} % ({of}, exact)"
        else:  # what was asked for is what a sequence of tests shows; a bound is of one network by itself
            most = self.max_drop if self.max_drop is not None and self.met else self.loss_bound
            said = f"{sure} no more than {100 * most:.2f} points are lost ({of}, exact paired bound)"
        if self.min_score is not None and self.loss_bound is not None:
            said += f", and the score is at least {100 * self.score_bound:.2f} %"
        if self.met is False:
            asked = (
                f"{100 * self.max_drop:g} points" if self.max_drop is not None else f"{100 * (self.min_score or 0):g} %"
            )
            said += f"; {asked} asked for, which is not certified"
        if self.needed is not None and self.met is not True:
            loss, count = self.needed
            if count is None:
                said += "; at this loss no number of examples would certify it"
            else:
                said += f"; about {count} examples like these would certify {100 * loss:.2f} points"
        return said

    def to_dict(self) -> dict[str, Any]:
        """JSON values, as a summary has them."""
        asked = {"max_drop": self.max_drop, "min_score": self.min_score}
        needed = None if self.needed is None else {"for": self.needed[0], "examples": self.needed[1]}
        return {
            "score_before": self.score_before, "score_after": self.score_after, "loss": self.loss,
            "loss_bound": self.loss_bound, "score_bound": self.score_bound, "confidence": self.confidence,
            "method": "exact", "examples": self.examples, "worse": self.worse, "better": self.better,
            "asked": {k: v for k, v in asked.items() if v is not None}, "met": self.met, "needed_examples": needed,
            "says": self.says,
        }  # fmt: skip


def certificate(
    before: BoolArray | None, after: BoolArray, confidence: float = 0.95, *, max_drop: float | None = None,
    min_score: float | None = None,
) -> Certificate:  # fmt: skip
    """What examples certify of a network.

    Args:
        before, after: which examples the network as given and the result get right, ``(N,)``, in the same order; the
            former None where there is no such network.
        max_drop: the loss of score that is allowed, a share.
        min_score: the score that is asked for, a share.

    Raises:
        InputError: no examples, or no confidence between 0.5 and 1.
    """
    n, right = len(after), int(np.sum(after))
    surely = score_bound(right, n, confidence)
    if before is None:
        return Certificate(None, right / n, None, surely, confidence, n, max_drop=max_drop, min_score=min_score)
    worse, better = int(np.sum(before & ~after)), int(np.sum(~before & after))
    bound, loss = paired_bound(worse, better, n, confidence), (worse - better) / n
    wanted = max_drop if max_drop is not None else (loss + bound) / 2
    needed = (wanted, needed_examples(worse, better, n, wanted, confidence))
    return Certificate(
        float(np.mean(before)), right / n, bound, surely, confidence, n, worse, better, max_drop, min_score, needed
    )
