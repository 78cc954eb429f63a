"""NetAdapt: platform-aware neural network adaptation for mobile applications (Yang et al., ECCV 2018).

A trained network is made to fit its budgets step by step. Iteration i may use the resource of the last winner less
``dR_i = dR_1 * decay^(i-1)``. For every decision alone (the filters of a layer, or of layers that share them) the
largest width is taken with which the whole network, priced by measured tables, keeps that limit; the filters of largest
norm stay; the candidate is trained for a short time from the winner's weights and scored on held-out data. The one that
loses least is carried on. The last is trained for long, and all winners together are a family of networks.
"""

from __future__ import annotations

from collections.abc import Callable

from netsmith.progress import Progress
from netsmith.search.strategy import Problem
from netsmith.search.trim.family import Rule
from netsmith.search.trim.trimming import Renew, Trimming
from netsmith.space import Space
from netsmith.systems.family import Family, Network, OnWinner, ShortTune, trim

FIRST = 0.025  #: saved by the first iteration, of the initial resource, as in the released code
DECAY = 0.96  #: of the steps, as in the released code


def strategy(
    problem: Problem, space: Space | None = None, seed: int = 0, renew: Renew | None = None, first: float = FIRST,
    decay: float = DECAY, rule: Rule = "accuracy",
) -> Trimming:  # fmt: skip
    """NetAdapt's steps: what runs where its name is given; arguments as of :func:`netadapt`."""
    return Trimming(problem, space, seed, first=first, decay=decay, rule=rule, renew=renew)


def netadapt(
    problem: Problem,
    space: Space | None,
    start: Network,
    short_tune: ShortTune[Network],
    long_tune: Callable[[Network], Network] | None = None,
    first: float = FIRST,
    decay: float = DECAY,
    rule: Rule = "accuracy",
    renew: Renew | None = None,
    on_winner: OnWinner[Network] = lambda network, member: None,
    progress: Progress | None = None,
) -> Family[Network]:
    """Adapt a network as the paper does.

    Args:
        problem: budgets, costs and ties; its loss only says which choices are allowed (finite). The network as given is
            ``problem.reference``.
        space: the decisions behind the problem.
        start: the trained network; any value that ``short_tune`` understands.
        short_tune: the winner so far and candidate designs ``(n, D)`` to each candidate, cut from the winner's weights
            and tuned, and its loss on held-out data. The first call has the network as given as its only candidate.
        long_tune: the last winner to the finished network.
        first, decay: of the schedule.
        rule: "accuracy", the paper's, or "ratio", the released code's, see :func:`~netsmith.search.trim.family.winner`.
        renew: see :class:`~netsmith.search.trim.trimming.Trimming`.
        on_winner: told the winner of each iteration.

    Raises:
        InputError: an option out of its range.
        InfeasibleError: the budgets cannot be reached.
    """
    trimming = strategy(problem, space, first=first, decay=decay, rule=rule, renew=renew)
    return trim(trimming, start, short_tune, long_tune, on_winner, progress=progress)
