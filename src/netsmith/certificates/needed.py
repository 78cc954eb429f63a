"""How many examples a certificate would need."""

from __future__ import annotations

from netsmith.certificates.paired import paired_bound

_MOST = 10**8


def needed_examples(worse: int, better: int, examples: int, drop: float, confidence: float = 0.95) -> int | None:
    """The fewest examples with which the loss would be surely no more than ``drop``, at the rates that were seen.

    It is a plan and no promise: other examples have other rates.

    Returns:
        None where no number would do: the loss that was seen is as large as that.
    """
    if (worse - better) / examples >= drop:
        return None

    def enough(n: int) -> bool:
        return paired_bound(round(worse * n / examples), round(better * n / examples), n, confidence) <= drop

    most = 32
    while not enough(most):
        most *= 2
        if most > _MOST:
            return None
    low = most // 2
    while most - low > max(1, low // 50):  # two per cent are closer than rates are known
        middle = (low + most) // 2
        low, most = (low, middle) if enough(middle) else (middle, most)
    return most
