"""The loop that NetAdapt and CompactNet share: tune every candidate from the winner's weights, carry one on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from netsmith.progress import Progress, Silent
from netsmith.search.strategy import Results
from netsmith.search.trim.family import Member
from netsmith.search.trim.trimming import Trimming
from netsmith.units import COST_NAMES, format_cost

Designs = NDArray[np.int64]
Network = TypeVar("Network")  #: whatever the caller keeps weights in

#: From the winner so far and the candidates of an iteration ``(n, D)``: each candidate cut out of the winner's weights,
#: tuned for a short time, and its loss on held-out data. Lazy is best: only the leader's weights are kept.
ShortTune = Callable[[Network, Designs], Iterable[tuple[Network, float]]]
OnWinner = Callable[[Network, Member], None]


@dataclass(frozen=True)
class Family(Generic[Network]):
    """What a trimming leaves: the network that keeps the budgets, and all between it and the network as given.

    Attributes:
        network: the last winner, tuned for long.
        members: the network as given and the winner of every iteration, with their costs and losses.
        rule: by which winners were chosen.
    """

    network: Network
    members: tuple[Member, ...]
    rule: str

    @property
    def design(self) -> Designs:
        """The last winner's design, ``(D,)``."""
        return np.array(self.members[-1].design)

    def speed_ups(self, cost: str) -> list[float]:
        """What was achieved, not what was asked for: the cost of the network as given over that of each member."""
        return [self.members[0].costs[cost] / m.costs[cost] for m in self.members]


def trim(
    strategy: Trimming, start: Network, short_tune: ShortTune[Network],
    long_tune: Callable[[Network], Network] | None = None, on_winner: OnWinner[Network] = lambda network, member: None,
    iterations: int | None = None, progress: Progress | None = None,
) -> Family[Network]:  # fmt: skip
    """Let a trimming strategy run to its budgets.

    Args:
        start: the trained network, at the strategy's present design.
        short_tune: tunes and scores the candidates of an iteration.
        long_tune: tunes the last winner; None leaves it.
        on_winner: told each new winner, the network as given among them, before the next iteration starts.
        iterations: end after so many winners, whether the budgets hold or not.

    Raises:
        InfeasibleError: the budgets cannot be reached.
    """
    shown, network, finished = progress or Silent(), start, len(strategy.family)
    while iterations is None or len(strategy.family) <= iterations:
        asked = strategy.ask(len(strategy.problem.loss) + 1)  # one of a decision at most
        if not len(asked):
            break
        leader = network
        for design, (tuned, loss) in zip(asked, short_tune(network, asked), strict=True):
            strategy.tell(design[None], Results(np.array([loss])))
            if np.array_equal(strategy.leader, design):
                leader = tuned
        network = leader
        if len(strategy.family) > finished:
            finished = len(strategy.family)
            member = strategy.family[-1]
            on_winner(network, member)
            first = strategy.family[0].resource
            done = (first - member.resource) / max(first - 1.0, 1e-9)
            aims = strategy.problem.budgets
            at = ", ".join(
                f"{COST_NAMES.get(n, n)} {format_cost(n, v)}, aim {format_cost(n, aims[n])}"
                for n, v in member.costs.items()
            )
            shown.update(min(round(100 * done), 100), 100, f"iteration {finished - 1}, {at}, loss {member.loss:.4g}")
    return Family(long_tune(network) if long_tune else network, strategy.family, strategy.rule)
