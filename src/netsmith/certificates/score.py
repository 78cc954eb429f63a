"""What examples say of one network's score: Clopper and Pearson's limits of a share, which are exact."""

from __future__ import annotations

from netsmith.certificates.paired import check_confidence
from netsmith.errors import InputError


def score_interval(right: int, examples: int, confidence: float = 0.95) -> tuple[float, float]:
    """Both limits of a score of which ``right`` of ``examples`` were seen.

    Raises:
        InputError: counts that cannot be, or no confidence between 0.5 and 1.
    """
    _check(right, examples, confidence)
    alpha = (1 - confidence) / 2
    return _lower(right, examples, alpha), 1 - _lower(examples - right, examples, alpha)


def score_bound(right: int, examples: int, confidence: float = 0.95) -> float:
    """The score that is surely reached.

    Raises:
        InputError: counts that cannot be, or no confidence between 0.5 and 1.
    """
    _check(right, examples, confidence)
    return _lower(right, examples, 1 - confidence)


def _lower(right: int, examples: int, alpha: float) -> float:
    from scipy.special import betaincinv

    return 0.0 if right <= 0 else float(betaincinv(right, examples - right + 1, alpha))


def _check(right: int, examples: int, confidence: float) -> None:
    check_confidence(confidence)
    if examples < 1 or not 0 <= right <= examples:
        raise InputError(f"{right} right of {examples} examples cannot be counted so")
