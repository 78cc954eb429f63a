"""An exact upper bound on the loss of score, from which examples two networks get right.

Of n examples, ``worse`` are right before and wrong after, ``better`` the other way round; the others say nothing about
the loss. Both counts are of one trinomial distribution, whose difference of probabilities is the loss. The bound is the
largest loss that a test at the level 1 - confidence does not reject. The test orders outcomes by

    T = (worse - better - n loss) / sqrt(worse + better + n loss),

which grows with ``worse`` and falls with ``better`` whatever the loss. How often T is as small as was seen depends on
how many examples differ at all, which nobody knows: the probability is maximised over all rates up to an upper limit
of that rate, and the confidence of the limit is paid for (Berger and Boos, 1994, J. Am. Stat. Assoc. 89). Nothing is
approximated but by numerics, so that the confidence holds for any number of examples; approximations by a normal
distribution, such as Tango's (1998, Statistics in Medicine 17), promise too much where few examples differ.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from netsmith.errors import InputError

FloatArray = NDArray[np.float64]
_SHARE = 0.05  #: of the error that is paid for the limit on how many examples differ
_RATES = 6  #: rates of examples that differ, at which the probability is taken
_TAIL = 1e-12  #: what the sum over numbers of examples that differ may leave out; it counts as error
_STEPS, _ABOVE = 26, 8  #: of bisection, and of the check that nothing above is allowed


def paired_bound(worse: int, better: int, examples: int, confidence: float = 0.95) -> float:
    """The largest loss of score, a share, that the examples do not exclude.

    Args:
        worse: examples that are right before and wrong after.
        better: those that are wrong before and right after.
        examples: all of them, drawn independently of every choice that was made.
        confidence: how often such a bound holds, at least.

    Returns:
        A bound between the loss that was seen, ``(worse - better) / examples``, and 1.

    Raises:
        InputError: counts that cannot be, or no confidence between 0.5 and 1.
    """
    check_confidence(confidence)
    if min(worse, better) < 0 or examples < 1 or worse + better > examples:
        raise InputError(f"{worse} worse and {better} better of {examples} examples cannot be counted so")
    alpha = 1.0 - confidence
    seen = (worse - better) / examples
    most = _rate_limit(worse + better, examples, alpha * _SHARE)
    level = alpha * (1 - _SHARE)

    def allowed(loss: float) -> bool:
        return _probability(worse, better, examples, loss, most) > level

    low, high = max(seen, -most), most  # the loss is no larger than the rate of examples that differ
    if low >= high or allowed(high):
        return float(min(max(seen, high), 1.0))
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if allowed(middle) else (low, middle)
    for loss in np.linspace(min(high + (high - seen) * 0.25, most), high, _ABOVE, endpoint=False):
        if allowed(loss):  # an outcome at the edge of the region came in again
            return float(min(loss + (high - seen) * 0.25 / _ABOVE, 1.0))
    return float(min(high, 1.0))


def check_confidence(confidence: float) -> None:
    """Refuse what is no confidence.

    Raises:
        InputError: it is not between 0.5 and 1.
    """
    if not 0.5 <= confidence < 1.0:
        raise InputError(f"a confidence of {confidence:g} is not between 0.5 and 1; 0.95 is usual")


def _rate_limit(count: int, examples: int, alpha: float) -> float:
    """Clopper and Pearson's upper limit on a rate."""
    from scipy.special import betaincinv

    return 1.0 if count >= examples else float(betaincinv(count + 1, examples - count, 1 - alpha))


def _probability(worse: int, better: int, n: int, loss: float, most: float) -> float:
    """The most often that T is as small as was seen, over all rates of examples that differ, up to ``most``."""
    least = abs(loss)
    rates = np.unique(np.clip(np.linspace(least, most, _RATES), max(least, 1e-300), 1.0))
    return max(_at_rate(worse, better, n, loss, float(rate)) for rate in rates)


def _at_rate(worse: int, better: int, n: int, loss: float, rate: float) -> float:
    """How often T is as small as was seen where that share of all examples differs."""
    from scipy.special import betainc

    differ, chance = _numbers(n, rate)
    shift = n * abs(loss)
    spread = worse + better + shift
    seen = (worse - better - n * loss) / spread**0.5 if spread else 0.0
    # of so many that differ, T is as small as was seen with up to this number of worse ones
    up_to = np.floor((differ + n * loss + seen * np.sqrt(differ + shift)) / 2 * (1 + 1e-12) + 1e-12)
    if not shift and not differ[0]:  # nothing differs and nothing is lost: T is 0
        up_to[0] = 0.0 if seen >= 0 else -1.0
    share = min(max((1 + loss / rate) / 2, 0.0), 1.0)
    inside = np.clip(up_to, 0, differ - 1)
    found = np.where(up_to < 0, 0.0, np.where(up_to >= differ, 1.0, betainc(differ - inside, inside + 1, 1 - share)))
    return float(chance @ found) + _TAIL


def _numbers(n: int, rate: float) -> tuple[FloatArray, FloatArray]:
    """Numbers of examples that differ, all but the least likely, and their probabilities."""
    from scipy.special import gammaln, xlog1py, xlogy

    mean, wide = n * rate, 7.5 * np.sqrt(n * rate * (1 - rate)) + 12
    k = np.arange(max(0, int(mean - wide)), min(n, int(mean + wide)) + 1, dtype=np.float64)
    log = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1) + xlogy(k, rate) + xlog1py(n - k, -rate)
    return k, np.asarray(np.exp(log))
