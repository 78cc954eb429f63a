"""A study: one strategy, one evaluator and its log, asked for the best design at whatever prices there are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Protocol, runtime_checkable

import numpy as np

from netsmith.errors import InfeasibleError, InputError
from netsmith.progress import Progress, Silent
from netsmith.search.agreement import additivity
from netsmith.search.history import History
from netsmith.search.registry import Traits, get_strategy
from netsmith.search.strategy import Designs, FloatArray, Path, Problem, Proposals, Strategy
from netsmith.study.evaluator import Called, Evaluate, Evaluator, Key, Logged, Outcome, results_of

CHECKED = 16  #: random designs that tell whether sums of losses can be trusted


@dataclass(frozen=True)
class Found:
    """A design, its loss if it was evaluated, and the proven bound on its summed loss where there is one."""

    design: Designs
    loss: float | None = None
    bound: float | None = None


@runtime_checkable
class Carrying(Protocol):
    """An evaluator that makes networks from others, and so has to have those that more may be made from."""

    def hold(self, alive: Sequence[Path]) -> None:
        """Of the networks that were made, hold those at the ends of these ways, and drop all others."""
        ...

    def keep(self, alive: Sequence[Path]) -> None:
        """Keep the networks at the ends of these ways for good: others will be made from them, or the search ends."""
        ...


@dataclass
class Study:
    """Finds the best design for a problem, and again when its prices are renewed.

    Attributes:
        make: a problem to the strategy for it.
        traits: how that wants to be run.
        log: evaluates designs and remembers what became of them; None trusts summed losses: the strategy is asked once.
        evaluations: most designs that are asked for; None for a strategy that ends by itself.
        name: of the strategy, for what is said where it finds nothing.
        progress: shown how far it is.
        check: a seed: evaluate some random designs after the first search, which tells how well summed losses rank.
        additivity: that; nothing where they told nothing, None where it was not checked.
        strategy: that of the last search.
        families: where a strategy leaves networks on its way, those that led to each design that it found.
        told: what was asked for so far and what became of it, in order.
    """

    make: Callable[[Problem], Strategy]
    traits: Traits
    log: Logged | None
    evaluations: int | None
    name: str = "of yours"
    progress: Progress = field(default_factory=Silent)
    check: int | None = None
    additivity: dict[str, float] | None = None
    strategy: Any = None
    families: dict[tuple[int, ...], tuple[Any, ...]] = field(default_factory=dict)
    told: dict[Key, tuple[Designs, Outcome]] = field(default_factory=dict)

    def __call__(self, problem: Problem) -> Found:
        """The best design that the strategy finds for a problem, or found for others.

        At renewed prices a strategy goes on by itself, or a new one is made and told again all that is known, at the
        new prices, before it is asked. What was told and keeps the new budgets counts as evaluated for them; a quarter
        of the evaluations are of new designs in any case.

        Raises:
            InfeasibleError: it finds none.
        """
        if self.strategy is not None and self.traits.retargets:
            self.strategy.retarget(problem)
        else:
            self.strategy = self.make(problem)
            self._tell_again(problem)
        if self.log is None:
            asked = Proposals.of(self.strategy.ask(1))
            if not len(asked) or not problem.feasible(asked.designs[:1]).all():
                raise self._nothing()
            return Found(asked.designs[0], None, self._bound)
        self.run(problem)
        if self.traits.walks:
            design, loss = self.strategy.arrived
            self.families[self.log.network(design)] = getattr(self.strategy, "family", ())
            return Found(design, loss)
        history = self._known(problem)
        if not history.feasible.any():
            raise self._nothing()
        if self.check is not None and self.additivity is None:
            self.additivity = self._ranked(problem, self.check)
        return Found(history.best, float(np.nanmin(history.loss[history.feasible])), self._bound)

    def run(self, problem: Problem) -> History:
        """Let the strategy of now ask until it has no more or has asked for enough; what became of each design."""
        designs, losses = [np.empty((0, len(problem.loss)), dtype=np.int64)], [np.empty(0)]
        size = len(problem.loss) + 1 if self.traits.walks else self.traits.batch  # one of a decision at most
        done, before, most = 0, len(self.told), self._most(problem)
        while most is None or (done < (self.evaluations or 0) and len(self.told) - before < most):
            self._keep()
            left = size if most is None else min((self.evaluations or 0) - done, most - len(self.told) + before)
            asked = Proposals.of(self.strategy.ask(min(size, left)))
            if not len(asked):
                break
            loss = self._evaluate(problem, asked)
            designs.append(asked.designs)
            losses.append(loss)
            done += len(asked)
            self._show(done, losses)
        every = np.concatenate(designs)
        return History(every, np.concatenate(losses), problem.feasible(every))

    def losses(self, designs: Designs) -> FloatArray:
        """What designs ``(n, D)`` lose, ``(n,)``."""
        assert self.log is not None
        return np.array([outcome.loss for outcome in self.log.outcomes(designs)])

    def _evaluate(self, problem: Problem, asked: Proposals) -> FloatArray:
        """Evaluate what was asked for and tell the strategy, in the order asked; the losses ``(n,)``.

        All results of one asking are told together. A strategy that walks is told each as it comes, since of all
        networks on its way only the best one so far is carried on, and the others need not be held.
        """
        assert self.log is not None
        keys = [self.log.key(d, p) for d, p in zip(asked.designs, asked.parents, strict=True)]
        coming, outcomes = iter(self.log.evaluate(asked)), list[Outcome]()
        while some := list(islice(coming, 1 if self.traits.walks else len(asked))):
            part = asked.designs[len(outcomes) : len(outcomes) + len(some)]
            self.strategy.tell(part, results_of(problem, part, some))
            outcomes += some
            if isinstance(self.log.evaluator, Carrying):
                self.log.evaluator.hold(self._alive())
        for key, design, outcome in zip(keys, asked.designs, outcomes, strict=True):
            self.told.setdefault(key, (design, outcome))
        return np.array([outcome.loss for outcome in outcomes])

    def _most(self, problem: Problem) -> int | None:
        """How many networks that nothing is known of may be asked for."""
        if self.evaluations is None or self.traits.walks:
            return self.evaluations
        return max(self.evaluations - int(self._known(problem).feasible.sum()), -(-self.evaluations // 4))

    def _known(self, problem: Problem) -> History:
        """Everything that was told, and what of it keeps the budgets of a problem."""
        designs = np.array([design for design, _ in self.told.values()], dtype=np.int64).reshape(-1, len(problem.loss))
        kept = problem.feasible(designs) & np.isfinite(problem.estimate(designs))  # no choice in it is forbidden by now
        return History(designs, np.array([o.loss for _, o in self.told.values()]), kept)

    def _tell_again(self, problem: Problem) -> None:
        """Tell a new strategy what is known of designs that its problem allows, at the prices of that problem."""
        history = self._known(problem)
        at = [i for i, loss in enumerate(problem.estimate(history.designs)) if np.isfinite(loss)]
        if at:
            outcomes = [outcome for _, outcome in self.told.values()]
            designs = history.designs[at]
            self.strategy.tell(designs, results_of(problem, designs, [outcomes[i] for i in at]))

    def _keep(self) -> None:
        if self.log is not None and isinstance(self.log.evaluator, Carrying):
            self.log.evaluator.keep(self._alive())

    def _alive(self) -> list[Path]:
        """The ways to networks that others may be made from, in the designs that stand for them."""
        assert self.log is not None
        return [tuple(self.log.network(design) for design in path) for path in self.strategy.alive]

    def _show(self, done: int, losses: Sequence[FloatArray]) -> None:
        if self.traits.walks:
            if (standing := self.strategy.standing) is not None:
                self.progress.update(*standing)
        else:
            least = min(float(np.nanmin(part, initial=np.inf)) for part in losses)
            self.progress.update(done, self.evaluations or done, f"least loss {least:.4g}")

    def _ranked(self, problem: Problem, seed: int) -> dict[str, float]:
        """How well summed losses rank random designs that fill the budgets."""
        try:
            return additivity(problem, self.losses, CHECKED, seed, within=True)
        except InputError:  # two designs tell nothing
            return {}

    @property
    def _bound(self) -> float | None:
        bound = getattr(self.strategy, "bound", None)
        return None if bound is None else float(bound)

    def _nothing(self) -> InfeasibleError:
        return InfeasibleError(
            f"strategy {self.name} found no design that keeps the budgets; loosen them, or use the strategy exact, "
            "which says what can be reached", {},
        )  # fmt: skip


def minimize(
    problem: Problem, strategy: Strategy | str, evaluate: Evaluate | Evaluator, n: int, batch: int = 8, seed: int = 0,
    progress: Progress | None = None,
) -> History:  # fmt: skip
    """Evaluate up to ``n`` designs that a strategy proposes.

    Args:
        strategy: an instance, or a name for ``get_strategy``.
        evaluate: what becomes of designs: a function, or an evaluator.
        batch: designs asked for at a time.
        seed: for a strategy given by name.

    Raises:
        InfeasibleError: no design keeps the budgets.
    """
    chosen = get_strategy(strategy, problem, seed=seed) if isinstance(strategy, str) else strategy
    evaluator: Evaluator = Called(evaluate) if callable(evaluate) else evaluate
    study = Study(
        lambda _: chosen, Traits(batch=batch), Logged(evaluator, again=True), n, progress=progress or Silent()
    )
    study.strategy = chosen
    return study.run(problem)
