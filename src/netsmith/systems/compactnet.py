"""CompactNet: platform-aware automatic optimization for convolutional neural networks (arXiv 1905.11669).

The target is a speed-up s on one platform, simulated from a table of measured layers. Each iteration shrinks every
layer, or group of layers that share their width, alone until the simulated time falls by the gain of the iteration,
trains the candidates for a short time and keeps the most accurate. The gain is ``(base - base / s) / iterations``,
multiplied by 0.96 before each use, so that its sum stays short of the target; here it is scaled to reach it, unless the
nominal one is asked for. Tables of another platform give another network.
"""

from __future__ import annotations

from collections.abc import Callable

from netsmith.progress import Progress
from netsmith.search.strategy import Problem
from netsmith.search.trim.compactnet import CompactNet
from netsmith.search.trim.family import Rule
from netsmith.search.trim.trimming import Renew
from netsmith.space import Space
from netsmith.systems.family import Family, Network, OnWinner, ShortTune, trim

MOST = 1000.0  #: a speed-up beyond this has no more iterations; nothing reaches it


def iterations_for(speed_up: float) -> int:
    """Iterations for a target: 18, 24 and 30 for 1.5, 2 and 2.5 as published, and the straight line through them."""
    return max(1, round(12 * speed_up))


def strategy(
    problem: Problem, space: Space | None = None, seed: int = 0, renew: Renew | None = None,
    iterations: int | None = None, nominal: bool = False, rule: Rule = "accuracy",
) -> CompactNet:  # fmt: skip
    """CompactNet's steps: what runs where its name is given; arguments as of :func:`compactnet`.

    Args:
        iterations: by default as many as are published for the speed-up that the budgets ask for.
    """
    if iterations is None:
        given = problem.price(problem.reference[None])
        speed_up = max((float(given[n][0]) / v for n, v in problem.budgets.items() if v > 0), default=1.0)
        iterations = iterations_for(min(speed_up, MOST))
    return CompactNet(problem, space, seed, iterations=iterations, nominal=nominal, rule=rule, renew=renew)


def compactnet(
    problem: Problem,
    space: Space | None,
    start: Network,
    short_tune: ShortTune[Network],
    long_tune: Callable[[Network], Network] | None = None,
    iterations: int = 24,
    nominal: bool = False,
    rule: Rule = "accuracy",
    renew: Renew | None = None,
    on_winner: OnWinner[Network] = lambda network, member: None,
    progress: Progress | None = None,
) -> Family[Network]:
    """Optimise a network for a platform as the paper does.

    Args:
        problem: as for :func:`~netsmith.systems.netadapt.netadapt`; a target is the latency as given over the
            speed-up. Layers of a common width are one decision, or tied ones.
        space, start, short_tune, long_tune, rule, renew, on_winner: as there.
        iterations: length of the series of gains, see :func:`iterations_for`.
        nominal: take the published gains and end after so many iterations wherever that is;
            :meth:`~netsmith.systems.family.Family.speed_ups` says where.

    Raises:
        InputError: an option out of its range.
        InfeasibleError: the budgets cannot be reached.
    """
    steps = strategy(problem, space, renew=renew, iterations=iterations, nominal=nominal, rule=rule)
    return trim(steps, start, short_tune, long_tune, on_winner, iterations if nominal else None, progress)
