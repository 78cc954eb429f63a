"""The loop that NetAdapt and CompactNet share: tune every candidate from the winner's weights, carry one on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from netsmith.progress import Progress, Silent
from netsmith.search.registry import Traits
from netsmith.search.strategy import Path, Proposals
from netsmith.search.trim.family import Member
from netsmith.search.trim.trimming import Trimming
from netsmith.study.evaluator import Logged, Outcome
from netsmith.study.study import Study

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
        return [m.speed_ups(self.members[0])[cost] for m in self.members]


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
    carried = Carried(start, short_tune, lambda network: on_winner(network, strategy.family[-1]))
    strategy.most = iterations
    Study(lambda _: strategy, Traits(walks=True), Logged(carried), None, progress=progress or Silent())(
        strategy.problem
    )
    network = carried.now
    return Family(long_tune(network) if long_tune else network, strategy.family, strategy.rule)


class Carried(Generic[Network]):
    """An evaluator of candidates that are cut out of the network carried on; all others are dropped.

    Args:
        start: the network at the strategy's present design.
        short_tune: tunes and scores the candidates of an iteration.
        on_winner: told each network that is carried on.
    """

    inherits: ClassVar[bool] = True

    def __init__(self, start: Network, short_tune: ShortTune[Network], on_winner: Callable[[Network], None]) -> None:
        self.now, self.short_tune, self.on_winner = start, short_tune, on_winner
        self._networks: dict[Path, Network] = {}

    def evaluate(self, proposals: Proposals) -> Iterator[Outcome]:
        keys = [tuple(int(k) for k in design) for design in proposals.designs]
        tuned = self.short_tune(self.now, proposals.designs)
        for key, parent, (network, loss) in zip(keys, proposals.parents, tuned, strict=True):
            self._networks[(*parent, key)] = network
            yield Outcome(float(loss))

    def hold(self, alive: Sequence[Path]) -> None:
        self._networks = {path: network for path, network in self._networks.items() if path in alive}

    def keep(self, alive: Sequence[Path]) -> None:
        for path in alive:
            if path in self._networks:
                self.now = self._networks.pop(path)
                self.on_winner(self.now)
