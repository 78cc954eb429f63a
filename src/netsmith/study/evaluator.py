"""What becomes of designs: the contract of evaluators, and those that are made of others.

Evaluators compose, as each takes proposals and yields outcomes: a log in front of one that measures, one that predicts
as a sieve before one that trains. Proposals and outcomes are plain data, so that they can be evaluated elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Protocol

import numpy as np

from netsmith.search.strategy import Designs, FloatArray, Path, Problem, Proposals, Results

#: Designs ``(n, D)`` to their losses ``(n,)``, or to ``Results`` with costs of their own.
Evaluate = Callable[[Designs], Results | FloatArray]


@dataclass(frozen=True)
class Outcome:
    """What became of one design.

    Attributes:
        loss: lower is better; not finite where it could not be evaluated, or was not.
        costs: measured ones by name, SI units; none where they are as predicted.
        figures: whatever else was measured, for the log.
    """

    loss: float
    costs: Mapping[str, float] = field(default_factory=dict)
    figures: Mapping[str, float] = field(default_factory=dict)


class Evaluator(Protocol):
    """Turns proposals into outcomes."""

    @property
    def inherits(self) -> bool:
        """Whether it matters what a design is made from."""
        ...

    def evaluate(self, proposals: Proposals) -> Iterable[Outcome]:
        """An outcome for each proposal, in the order asked, whatever order they are finished in; as they come."""
        ...


@dataclass(frozen=True)
class Called:
    """Designs evaluated by a function."""

    function: Evaluate
    inherits: bool = False

    def evaluate(self, proposals: Proposals) -> Iterator[Outcome]:
        told = self.function(proposals.designs)
        results = told if isinstance(told, Results) else Results(np.asarray(told, dtype=np.float64))
        for i, loss in enumerate(np.asarray(results.loss, dtype=np.float64)):
            yield Outcome(float(loss), {name: float(np.asarray(v)[i]) for name, v in results.costs.items()})


@dataclass
class SharedWeights:
    """Paths of a network of all paths, by what they lose with the weights that all share.

    Attributes:
        load: makes the function from designs to losses; called when the first is evaluated.
    """

    load: Callable[[], Evaluate]
    inherits: bool = False
    _paths: Called | None = None

    def evaluate(self, proposals: Proposals) -> Iterator[Outcome]:
        self._paths = self._paths or Called(self.load())
        return self._paths.evaluate(proposals)


@dataclass(frozen=True)
class Summed:
    """Designs predicted: by the summed losses of their choices, each taken alone."""

    problem: Problem
    inherits: bool = False

    def evaluate(self, proposals: Proposals) -> Iterator[Outcome]:
        return (Outcome(float(loss)) for loss in self.problem.estimate(proposals.designs))


@dataclass(frozen=True)
class Sieved:
    """Only the most promising of what is asked for is evaluated; the rest has no loss, and teaches nothing.

    Attributes:
        sieve: a cheap evaluator that ranks.
        evaluator: for what it ranks first.
        share: of the proposals, at least one of them.
    """

    sieve: Evaluator
    evaluator: Evaluator
    share: float = 0.25

    @property
    def inherits(self) -> bool:
        return self.sieve.inherits or self.evaluator.inherits

    def evaluate(self, proposals: Proposals) -> Iterator[Outcome]:
        rank = np.argsort([outcome.loss for outcome in self.sieve.evaluate(proposals)], kind="stable")
        first = sorted(int(i) for i in rank[: max(1, round(self.share * len(proposals)))])
        found = dict(zip(first, self.evaluator.evaluate(proposals.take(first)), strict=True))
        return (found.get(i, Outcome(float("nan"))) for i in range(len(proposals)))


#: A design and the name of what it was made from; no name for the network as given.
Key = tuple[tuple[int, ...], str]


class Logged:
    """Remembers outcomes by design and by what that was made from, so that none is evaluated twice.

    Args:
        evaluator: for what is not known.
        canonical: a design ``(D,)`` to the one that stands for all that are the same network.
        known: outcomes of an earlier process.
        store: told each new outcome at once, so that a killed search does not lose it.
        again: evaluate what is asked for twice twice, as where outcomes are noisy.

    Attributes:
        evaluated: designs that were run, not remembered.
    """

    def __init__(
        self, evaluator: Evaluator, canonical: Callable[[Designs], Designs] = lambda design: design,
        known: Mapping[Key, Outcome] | None = None, store: Callable[[Key, Outcome], None] = lambda key, outcome: None,
        again: bool = False,
    ) -> None:  # fmt: skip
        self.evaluator, self.canonical, self.store, self.again = evaluator, canonical, store, again
        self.known = dict(known or {})
        self.evaluated = 0

    @property
    def inherits(self) -> bool:
        return self.evaluator.inherits

    def key(self, design: Designs, parent: Path = ()) -> Key:
        """By what an outcome is remembered."""
        made_from = tuple(self.network(d) for d in parent) if self.inherits else ()
        return self.network(design), way_name(made_from)

    def network(self, design: Designs | Sequence[int]) -> tuple[int, ...]:
        """The choices that stand for a design."""
        return tuple(int(k) for k in self.canonical(np.asarray(design, dtype=np.int64)))

    def outcomes(self, designs: Designs) -> list[Outcome]:
        """What becomes of designs ``(n, D)``, made from the network as given."""
        return list(self.evaluate(Proposals.of(designs)))

    def evaluate(self, proposals: Proposals) -> Iterator[Outcome]:
        keys = [self.key(d, p) for d, p in zip(proposals.designs, proposals.parents, strict=True)]
        if self.again:
            yield from self.evaluator.evaluate(proposals)
            return
        new: dict[Key, int] = {}
        for i, key in enumerate(keys):
            if key not in self.known:
                new.setdefault(key, i)
        coming = iter(self.evaluator.evaluate(proposals.take(list(new.values()))) if new else ())
        for key in keys:
            if key not in self.known:
                self.known[key] = outcome = next(coming)
                self.evaluated += 1
                self.store(key, outcome)
            yield self.known[key]


def way_name(path: Path) -> str:
    """A word for a network: its design and all that it was made from; none for the network as given."""
    name = ""
    for design in path:
        name = sha256(f"{name}{list(design)}".encode()).hexdigest()[:12]
    return name


def results_of(problem: Problem, designs: Designs, outcomes: Sequence[Outcome]) -> Results:
    """Outcomes of designs ``(n, D)`` as a strategy is told them; costs that were not measured are those predicted."""
    costs = problem.price(designs)
    for name in {name for outcome in outcomes for name in outcome.costs}:
        predicted = costs.get(name, np.full(len(designs), np.nan))
        costs[name] = np.array([o.costs.get(name, p) for o, p in zip(outcomes, predicted, strict=True)])
    return Results(np.array([outcome.loss for outcome in outcomes]), costs)


def called(problem: Problem, designs: Designs, function: Evaluate) -> Results:
    """What a function makes of designs ``(n, D)``, as a strategy is told it."""
    return results_of(problem, designs, list(Called(function).evaluate(Proposals.of(designs))))
