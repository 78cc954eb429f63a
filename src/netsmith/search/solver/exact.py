"""The exact optimum of a problem by integer programming, the next-best designs, and the least of one cost.

Source of the one-hot program: HAWQ-V3 (Yao et al., ICML 2021), here with costs that couple decisions.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from time import perf_counter

import numpy as np

from netsmith.errors import InfeasibleError, InputError, NetsmithError
from netsmith.search.solver.milp import solve_model
from netsmith.search.solver.moves import Moves, descend
from netsmith.search.solver.program import Far
from netsmith.search.solver.reduced import reduce
from netsmith.search.strategy import Designs, Problem
from netsmith.space import cost_of
from netsmith.units import COST_NAMES, format_least, over
from netsmith.units import within as words_within

__all__ = ["Solution", "minimise_cost", "minimise_most", "solve", "solve_k_best"]

_NEAR = 1e-3  #: share to which the least of a largest cost is found
_ROUNDED = 100  #: designs in turn that keep a budget up to rounding; of real tables hardly one does


@dataclass(frozen=True)
class Solution:
    """A design and how good it is proven to be.

    Attributes:
        choice: ``(D,)`` choice indices.
        loss: its summed loss.
        bound: proven lower bound on the loss of any design (of any design not returned before, for the next-best).
        costs: every cost of the design, priced anew from the problem's tables.
        gap: ``(loss - bound) / |loss|``; 0 up to rounding when ``status`` is "optimal".
        seconds: time spent on it.
        status: "optimal", or "time limit" when the search ended with the gap still open.
    """

    choice: Designs
    loss: float
    bound: float
    costs: Mapping[str, float]
    gap: float
    seconds: float
    status: str


def solve(problem: Problem, time_limit: float | None = None, gap: float = 0.0) -> Solution:
    """Find the design of least loss within every budget.

    Args:
        problem: what to choose; costs may couple decisions through factors.
        time_limit: seconds; the best design so far is returned with its honest gap when they are over.
        gap: good enough is a design that nothing beats by more than this share of its loss.

    Raises:
        InputError: tables that do not fit together.
        InfeasibleError: no design keeps the budgets; ``reachable`` has the least of each budgeted cost.
        NetsmithError: the time was over before any design was found.
    """
    return solve_k_best(problem, 1, time_limit, gap=gap)[0]


def solve_k_best(
    problem: Problem,
    k: int,
    time_limit: float | None = None,
    exclude: Designs | None = None,
    distance: int = 1,
    gap: float = 0.0,
) -> list[Solution]:
    """Find the k best designs, best first, each proven as in ``solve``; fewer if there are no more.

    Args:
        k: how many.
        time_limit: seconds for each of them, with those beside it that rounding alone lets a budget hold.
        exclude: designs ``(N, D)`` that must not be returned.
        distance: each differs from those before it, and from ``exclude``, in at least so many decisions.
        gap: as in ``solve``, of each among those that are left.
    """
    reduced = reduce(problem)
    budgets = [(reduced.costs[name], limit) for name, limit in reduced.limits.items()]
    cuts: list[Designs] = []
    if exclude is not None and len(exclude):
        cuts = [x for x in reduced.contract(exclude) if (x >= 0).all() or distance > 1]
    moves, found, floor = Moves(reduced), list[Solution](), -np.inf
    start, rounded = perf_counter(), 0
    while len(found) < k:
        far = Far(np.array(cuts, dtype=np.int64).reshape(-1, len(reduced.choices)), reduced.weight, max(distance, 1))
        guess = partial(_guess, moves, far)
        mend = partial(_mend, moves, far)
        answer = solve_model(reduced.objective, budgets, reduced.sizes, far, guess, mend, time_limit, gap, floor)
        if answer.status == "infeasible":
            if not cuts:
                raise _infeasible(problem, time_limit)
            break
        if answer.x is None:
            raise NetsmithError(f"no design was found within {time_limit} s; allow more time or loosen a budget")
        floor = max(floor, answer.bound)  # holds for what is left as well
        design = reduced.expand(answer.x[None])[0]
        cuts.append(answer.x)
        if not problem.feasible(design)[0]:  # within HiGHS' tolerance of a limit, but not within ours
            rounded += 1
            if rounded > _ROUNDED or (time_limit is not None and perf_counter() - start > time_limit):
                raise InputError(
                    "the costs differ by so many powers of ten that rounding decides which designs keep a budget; "
                    "leave out options that cost next to nothing or far too much"
                )
            continue
        share = (answer.value - answer.bound) / max(abs(answer.value), 1e-12)
        costs = {name: float(price[0]) for name, price in problem.price(design).items()}
        seconds = perf_counter() - start
        found.append(Solution(design, answer.value, answer.bound, costs, share, seconds, answer.status))
        start, rounded = perf_counter(), 0
    if not found and exclude is None:
        raise _infeasible(problem, time_limit)
    return sorted(found, key=lambda s: s.loss)


def _guess(moves: Moves, far: Far) -> Designs | None:
    """A good feasible design away from the cuts: the greedy one, or the best moves away from a late cut."""
    if not len(far.cuts):
        return descend(moves)
    x = far.cuts[(far.cuts >= 0).all(axis=1)][-8:]
    moved = np.zeros(x.shape, dtype=bool)
    rows = np.arange(len(x))
    for _ in range(far.least if len(x) else 0):
        part, own = moves.losses(x)
        loss = np.where(moves.over(moves.after(x)) <= 0, part - own, np.inf) + moves.objective.price(x)[:, None, None]
        loss[moved] = np.inf
        np.put_along_axis(loss, x[:, :, None], np.inf, axis=2)
        other = x[:, None] != far.cuts  # (N, M, V)
        rest = (other @ far.weight)[:, :, None] - other * far.weight  # distance in all decisions but one's
        step = (np.arange(loss.shape[2])[:, None, None] != far.cuts) * far.weight  # (K, M, V)
        clear = (rest.transpose(0, 2, 1)[:, :, None] + step.transpose(2, 0, 1) >= far.least).all(axis=3)
        best = np.where(clear, loss, np.inf)
        n, v, k = np.unravel_index(int(best.argmin()), best.shape)
        if np.isfinite(best[n, v, k]):
            near = x[n].copy()
            near[v] = k
            return np.asarray(near)
        variable, choice = np.divmod(loss.reshape(len(x), -1).argmin(axis=1), loss.shape[2])
        alive = np.isfinite(loss[rows, variable, choice])
        x[rows[alive], variable[alive]] = choice[alive]
        moved[rows, variable] = True
    return None


def _mend(moves: Moves, far: Far, starts: Designs) -> Designs | None:
    """The best design away from the cuts that moves of least loss for each saved cost reach from ``starts (P, V)``."""
    reached = [x for x in (descend(moves, start=start) for start in starts) if x is not None]
    x = np.array(reached, dtype=np.int64).reshape(-1, starts.shape[1])
    clear = (((x[:, None] != far.cuts) @ far.weight) >= far.least).all(axis=1)
    x = x[clear]
    return x[moves.objective.price(x).argmin()] if len(x) else None


def minimise_cost(
    problem: Problem, name: str, within: Collection[str] = (), time_limit: float | None = None
) -> tuple[float, Designs]:
    """The smallest reachable value of a cost and a design ``(D,)`` that has it.

    Args:
        name: the cost to minimise.
        within: names of budgets to keep meanwhile; by default none.
        time_limit: seconds; afterwards the best found so far counts.

    Raises:
        InputError: no such cost.
        InfeasibleError: no design keeps the budgets ``within``.
        NetsmithError: the time was over before any design was found.
    """
    if name not in problem.costs:
        raise InputError(f"no cost {name!r}; there are {sorted(problem.costs)}")
    reduced = reduce(problem)
    budgets = [(reduced.costs[n], problem.budgets[n]) for n in within]
    answer = solve_model(reduced.costs[name], budgets, reduced.sizes, time_limit=time_limit)
    if answer.status == "infeasible":
        names = " and ".join(COST_NAMES.get(n, n) for n in sorted(within))
        raise InfeasibleError(f"no design keeps the budgets of {names} together; loosen one of them")
    if answer.x is None:
        raise NetsmithError(f"the least {name} was not found within {time_limit} s; allow more time")
    design = reduced.expand(answer.x[None])[0]
    return float(problem.costs[name].price(design)[0]), design


def minimise_most(
    problem: Problem, names: Sequence[str], within: Collection[str] = (), time_limit: float | None = None
) -> tuple[float, Designs]:
    """The smallest reachable value of the largest of some costs, as peak memory is over its steps, and a design of it.

    What each of them needs alone is a bound; where no design has that, it is approached to a thousandth.

    Args:
        names: at least one; otherwise as for :func:`minimise_cost`.
    """
    alone = [minimise_cost(problem, name, within, time_limit) for name in names]
    designs = np.array([design for _, design in alone])
    peaks = np.max([problem.costs[name].price(designs) for name in names], axis=0)
    low, best = max(least for least, _ in alone), int(peaks.argmin())
    most, design = float(peaks[best]), designs[best]
    kept = {n: problem.budgets[n] for n in within}
    while most > low * (1 + _NEAR) and most - low > 0.5:
        middle = (low + most) / 2
        limited = replace(problem.indifferent, budgets=kept | dict.fromkeys(names, middle))
        try:
            design = _any(limited, time_limit)
            most = float(max(problem.costs[name].price(design[None])[0] for name in names))
        except InfeasibleError:
            low = middle
    return most, design


def _any(problem: Problem, time_limit: float | None) -> Designs:
    """Some design that keeps the budgets.

    Raises:
        InfeasibleError: there is none.
    """
    reduced = reduce(problem)
    budgets = [(reduced.costs[name], limit) for name, limit in reduced.limits.items()]
    answer = solve_model(reduced.objective, budgets, reduced.sizes, time_limit=time_limit)
    if answer.x is None:
        raise InfeasibleError("no design keeps the budgets")
    return np.asarray(reduced.expand(answer.x[None])[0])


def _infeasible(problem: Problem, time_limit: float | None) -> InfeasibleError:
    """Say which budget cannot be met and what can; if each can alone, what each needs beside the others."""
    # No time limit here: the smallest reachable value is quick to find, and it is reported as such.
    steps: dict[str, list[str]] = {}
    for name in problem.budgets:
        steps.setdefault(cost_of(name), []).append(name)
    limits = {cost: problem.budgets[names[0]] for cost, names in steps.items()}
    reachable = {cost: _least(problem, names) for cost, names in steps.items()}
    short = [n for n, limit in limits.items() if reachable[n] > limit * (1 + 1e-9)]
    if short:
        parts = [over(n, limits[n], reachable[n]) for n in short]
        return InfeasibleError(f"no design keeps {' and '.join(parts)}; loosen the budget", reachable)
    hints = []
    for cost, names in steps.items():
        others = [n for n in problem.budgets if n not in names]
        try:
            least = _least(problem, names, others, time_limit)
            hints.append(f"{COST_NAMES.get(cost, cost)} of at least {format_least(cost, least)}")
        except NetsmithError:
            continue
    remedy = f"with the others as they are it takes {' or '.join(hints)}" if hints else "loosen more than one of them"
    return InfeasibleError(f"no design keeps {words_within(limits)} together; {remedy}", reachable)


def _least(
    problem: Problem, names: Sequence[str], within: Collection[str] = (), time_limit: float | None = None
) -> float:  # fmt: skip
    """The least of a cost, be it the largest of several sums."""
    find = minimise_cost(problem, names[0], within, time_limit) if len(names) < 2 else None
    return (find or minimise_most(problem, names, within, time_limit))[0]
