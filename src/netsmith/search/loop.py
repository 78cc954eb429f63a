"""The loop that a caller of ask and tell would write, as one function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netsmith.search.registry import get_strategy
from netsmith.search.strategy import Designs, FloatArray, Problem, Results, Strategy

#: Designs ``(b, D)`` to their loss ``(b,)``, or ``Results`` with costs of their own.
Evaluate = Callable[[Designs], Results | FloatArray]


@dataclass(frozen=True)
class History:
    """Everything that was evaluated, in order: ``designs (T, D)``, ``loss (T,)``, which keep the budgets ``(T,)``."""

    designs: Designs
    loss: FloatArray
    feasible: NDArray[np.bool_]

    @property
    def best(self) -> Designs:
        """The design of least loss within the budgets, ``(D,)``; the earliest of equals.

        Raises:
            ValueError: no design was evaluated that keeps them.
        """
        within = np.flatnonzero(self.feasible)
        loss = np.where(np.isnan(self.loss), np.inf, self.loss)  # an evaluation that failed
        return np.asarray(self.designs[within[int(loss[within].argmin())]])


def minimize(
    problem: Problem,
    strategy: Strategy | str,
    evaluate: Evaluate,
    n: int,
    batch: int = 8,
    seed: int = 0,
) -> History:
    """Evaluate up to ``n`` designs that a strategy proposes.

    Args:
        strategy: an instance, or a name for ``get_strategy``.
        evaluate: what becomes of designs.
        batch: designs asked for at a time.
        seed: for a strategy given by name.

    Raises:
        InfeasibleError: no design keeps the budgets.
    """
    chosen = get_strategy(strategy, problem, seed=seed) if isinstance(strategy, str) else strategy
    designs, losses, done = [np.empty((0, len(problem.loss)), dtype=np.int64)], [np.empty(0)], 0
    while done < n:
        asked = chosen.ask(min(batch, n - done))
        if not len(asked):
            break
        results = results_of(problem, asked, evaluate)
        chosen.tell(asked, results)
        designs.append(asked)
        losses.append(np.asarray(results.loss, dtype=np.float64))
        done += len(asked)
    every = np.concatenate(designs)
    return History(every, np.concatenate(losses), problem.feasible(every))


def results_of(problem: Problem, designs: Designs, evaluate: Evaluate) -> Results:
    """What became of designs ``(n, D)``; where an evaluation tells losses only, costs are those of the problem."""
    told = evaluate(designs)
    return told if isinstance(told, Results) else Results(np.asarray(told), problem.price(designs))
