"""What every strategy must do."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np

from netsmith.search.strategy import Designs, Problem, Proposals, Results, Strategy
from netsmith.space import CostTable, Decision, Factor, Space


def example_problem(seed: int = 0, decisions: int = 6) -> tuple[Problem, Space]:
    """A small problem with two kinds of decisions, coupled costs, two budgets and a tie.

    Even decisions are widths (4 choices), odd ones precisions (2); the first two widths are tied.
    """
    rng = np.random.default_rng(seed)
    sizes = [4 if i % 2 == 0 else 2 for i in range(decisions)]
    loss = np.full((decisions, 4), np.inf)
    plain = np.full((decisions, 4), np.inf)
    for i, k in enumerate(sizes):
        loss[i, :k] = np.sort(rng.gamma(1.0, 1.0, k))[::-1]
        loss[i, :k] -= loss[i, k - 1]
        plain[i, :k] = np.sort(rng.random(k))
    factors = []
    for i in range(0, decisions - 1, 2):
        share = np.linspace(0.25, 1.0, 4)[:, None] * np.array([0.3, 1.0])
        factors.append(Factor((i, i + 1), rng.gamma(3.0) * share))
    latency = CostTable(0.1, np.where(np.isfinite(plain), 0.1 * plain, np.inf), tuple(factors))
    costs = {"latency": latency, "size": CostTable(0.0, plain)}
    tied = ((0, 2),) if decisions > 2 else ()
    corners = np.array([[0] * decisions, [k - 1 for k in sizes]])
    budgets = {n: float(c.price(corners) @ [0.45, 0.55]) for n, c in costs.items()}
    kinds = ("width", "w_bits")
    space = Space(tuple(Decision(f"d{i}", kinds[i % 2], tuple(range(k))) for i, k in enumerate(sizes)), tied)
    return Problem(loss, costs, budgets, tied), space


def check_strategy(
    factory: Callable[[Problem, Space, int], Strategy],
    problem: Problem | None = None,
    space: Space | None = None,
    rounds: int = 3,
    n: int = 4,
    within: bool = True,
) -> None:
    """Prove the contract of a strategy on a problem (an example by default).

    Checked: what ``ask`` returns (shape, integers, valid choices, kept ties, kept budgets), that equal seeds ask
    equally, and that a strategy restored from its state, through JSON, asks what the original asks.

    Args:
        factory: called as ``factory(problem, space, seed)``.
        within: False for a strategy that asks for designs on its way to the budgets.

    Raises:
        AssertionError: one sentence on what is broken.
    """
    if problem is None or space is None:
        problem, space = example_problem()
    first, twin = factory(problem, space, 3), factory(problem, space, 3)
    total, foretold = 0, None
    for number in range(rounds):
        asked = _ask(first, problem, space, n, within)
        total += len(asked)
        same = foretold is None or _same(asked, foretold)
        assert same, f"round {number}: a strategy restored from its state asked otherwise than the original"
        same = _same(asked, _ask(twin, problem, space, n, within))
        assert same, f"round {number}: two strategies of one seed and history asked differently"
        _tell(first, problem, asked)
        _tell(twin, problem, asked)

        text = json.dumps(first.state_dict())
        restored = factory(problem, space, 99)  # another seed: everything must come from the state
        restored.load_state_dict(json.loads(text))
        assert json.dumps(restored.state_dict()) == text, f"round {number}: the state changes by being restored"
        foretold = _ask(restored, problem, space, n, within)
        assert json.dumps(first.state_dict()) == text, f"round {number}: a restored strategy shares state with another"
    assert total, "the strategy never proposed a design although the problem has feasible ones"


def _ask(strategy: Strategy, problem: Problem, space: Space, n: int, within: bool) -> Designs:
    asked = strategy.ask(n)
    designs = asked.designs if isinstance(asked, Proposals) else asked
    assert isinstance(designs, np.ndarray), f"ask returned a {type(designs).__name__}, expected an array"
    width = len(problem.loss)
    assert designs.ndim == 2 and designs.shape[1] == width, f"ask({n}) has shape {designs.shape}, expected (n, {width})"
    assert len(designs) <= n, f"ask({n}) returned {len(designs)} designs"
    assert np.issubdtype(designs.dtype, np.integer), f"ask returns {designs.dtype}, expected integers"
    valid = space.valid(designs)
    assert valid.all(), f"ask returned {designs[~valid][:1].tolist()}, which is out of range or breaks a tie"
    finite = np.isfinite(problem.loss[np.arange(width), designs]).all(axis=1)
    assert finite.all(), f"ask returned {designs[~finite][:1].tolist()}, which takes a forbidden choice"
    fits = problem.feasible(designs) | (not within)
    assert fits.all(), f"ask returned {designs[~fits][:1].tolist()}, which breaks a budget"
    return designs


def _tell(strategy: Strategy, problem: Problem, designs: Designs) -> None:
    """A made-up measurement: the estimate, distorted by an interaction that no table knows."""
    loss = 2.0 * problem.estimate(designs) + 0.1 * np.sin(designs @ np.arange(1, designs.shape[1] + 1))
    strategy.tell(designs, Results(loss, problem.price(designs)))


def _same(a: Designs, b: Designs) -> bool:
    return a.shape == b.shape and bool((a == b).all())
