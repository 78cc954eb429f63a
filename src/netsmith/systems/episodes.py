"""Episodes of a reinforcement-learning search, one after another."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from netsmith.progress import Progress, Silent
from netsmith.search import History, Problem, Results, Strategy, minimize
from netsmith.search.loop import Evaluate, results_of
from netsmith.search.strategy import Designs


def play(
    problem: Problem,
    agent: Strategy,
    evaluate: Evaluate,
    episodes: int,
    progress: Progress | None = None,
    text: Callable[[float], str] = lambda least: f"least loss {least:.4g}",
) -> History:
    """Let an agent learn from every single episode, and show the least loss so far.

    Args:
        evaluate: called with one design at a time.
        text: what is shown of the least loss.
    """
    shown, done, least = progress or Silent(), 0, np.inf

    def episode(designs: Designs) -> Results:
        nonlocal done, least
        results = results_of(problem, designs, evaluate)
        done, least = done + 1, min(least, float(results.loss[0]))
        shown.update(done, episodes, text(least))
        return results

    return minimize(problem, agent, episode, episodes, batch=1)
