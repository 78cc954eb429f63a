"""A problem in canonical form: ties merged into variables, impossible choices gone, factors mere interactions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from netsmith.errors import InputError
from netsmith.search.strategy import Designs, FloatArray, Problem
from netsmith.space import CostTable, Factor

Values = dict[tuple[int, ...], FloatArray]  #: sorted variables -> values over their choices

#: Interactions below this share of their factor's largest value are rounding, far under the 1e-9 budget tolerance.
_NOISE = 3e-13


@dataclass(frozen=True)
class Reduced:
    """A problem over V free variables. Tables are padded with ``inf`` to the largest number of choices, K.

    Attributes:
        variable: the variable of each decision, ``(D,)``.
        choices: for each variable the choice indices of its decisions that are allowed.
        objective: estimated loss as a canonical ``CostTable``, summed over tied decisions.
        costs: name to canonical ``CostTable``; factors have sorted rows and no additive part.
        limits: name to budget.
    """

    variable: Designs
    choices: tuple[Designs, ...]
    objective: CostTable
    costs: Mapping[str, CostTable]
    limits: Mapping[str, float]

    @property
    def sizes(self) -> Designs:
        return np.array([len(c) for c in self.choices], dtype=np.int64)

    @property
    def weight(self) -> Designs:
        """How many decisions each variable stands for, ``(V,)``."""
        return np.bincount(self.variable, minlength=len(self.choices))

    def expand(self, x: Designs) -> Designs:
        """Variables ``(N, V)`` to designs ``(N, D)``."""
        index = np.zeros((len(self.choices), int(self.sizes.max())), dtype=np.int64)
        for v, c in enumerate(self.choices):
            index[v, : len(c)] = c
        return index[np.arange(len(self.choices)), x][:, self.variable]

    def contract(self, designs: Designs) -> Designs:
        """Designs ``(N, D)`` to variables ``(N, V)``, -1 for a choice that is not allowed; ties are taken as kept."""
        x = np.full((len(designs), len(self.choices)), -1, dtype=np.int64)
        first = {int(v): d for d, v in reversed(list(enumerate(self.variable)))}
        for v, c in enumerate(self.choices):
            place = np.searchsorted(c, designs[:, first[v]]).clip(max=len(c) - 1)
            x[:, v] = np.where(c[place] == designs[:, first[v]], place, -1)
        return x


def reduce(problem: Problem) -> Reduced:
    """Bring a problem into canonical form.

    Raises:
        InputError: tables that do not fit each other, NaN, an unknown budget, or a decision without any choice.
    """
    loss = np.asarray(problem.loss, dtype=np.float64)
    if loss.ndim != 2 or not loss.size:
        raise InputError(f"the loss table must have shape (decisions, choices), not {loss.shape}")
    if np.isnan(loss).any() or np.isneginf(loss).any():
        row = int(np.flatnonzero((np.isnan(loss) | np.isneginf(loss)).any(axis=1))[0])
        raise InputError(f"the loss of decision {row} is NaN or -inf; every choice needs a number (inf forbids it)")
    for name, limit in problem.budgets.items():
        if name not in problem.costs:
            raise InputError(f"budget {name!r} has no cost table; there are {sorted(problem.costs)}")
        if np.isnan(limit):
            raise InputError(f"budget {name!r} is NaN")

    decisions, width = loss.shape
    variable = _variables(decisions, problem.tied)
    count = int(variable.max()) + 1
    allowed = np.ones((count, width), dtype=bool)
    np.logical_and.at(allowed, variable, np.isfinite(loss))
    for name, table in problem.costs.items():
        np.logical_and.at(allowed, variable, np.isfinite(_fitted(f"cost {name!r}", table, loss.shape)))
    if not allowed.any(axis=1).all():
        row = int(np.flatnonzero(variable == np.flatnonzero(~allowed.any(axis=1))[0])[0])
        raise InputError(f"decision {row} has no choice of finite loss and cost; give it at least one")
    choices = tuple(np.flatnonzero(a) for a in allowed)

    if any(not np.isfinite(f.values).all() for f in problem.interactions):
        raise InputError("interactions must be finite; forbid a combination by an infinite cost in a budgeted factor")

    def merged(what: str, table: CostTable) -> CostTable:
        unary = np.zeros((count, width))
        np.add.at(unary, variable, _fitted(what, table, loss.shape))
        factors = [_tie(what, i, f, variable, choices) for i, f in enumerate(table.factors)]
        return canonical(CostTable(table.fixed, _compact(unary, choices), tuple(factors)))

    costs = {name: merged(f"cost {name!r}", table) for name, table in problem.costs.items()}
    objective = merged("the loss", CostTable(0.0, loss, tuple(problem.interactions)))
    return Reduced(variable, choices, objective, costs, dict(problem.budgets))


def canonical(table: CostTable) -> CostTable:
    """Move every additive part of the factors into ``unary`` and ``fixed``; keep interactions, the widest hosts only.

    A factor over three decisions that is a sum of pair terms becomes those pair terms (ANOVA decomposition); one that
    is additive disappears. Factors with infinite cells (forbidden combinations) are kept as they are.
    """
    fixed, unary = table.fixed, table.unary.copy()
    merged: Values = {}
    for f in table.factors:
        values = f.values.transpose(np.argsort(f.rows))
        rows = tuple(sorted(f.rows))
        merged[rows] = merged[rows] + values if rows in merged else values
    found: Values = {}
    for rows, values in merged.items():
        if not np.isfinite(values).all() or len(rows) > 5:
            found[rows] = found[rows] + values if rows in found else values
            continue
        noise = _NOISE * float(np.abs(values).max(initial=0.0))
        for axes, effect in _effects(values).items():
            if len(axes) == 0:
                fixed += float(effect.item())
            elif len(axes) == 1:
                unary[rows[axes[0]], : effect.size] += effect.ravel()
            elif np.abs(effect).max() > noise:
                key = tuple(rows[a] for a in axes)
                part = effect.reshape([values.shape[a] for a in axes])
                found[key] = found[key] + part if key in found else part
    kept: Values = {}
    for rows in sorted(found, key=len, reverse=True):
        host = next((h for h in kept if set(rows) <= set(h)), None)
        if host is None:
            kept[rows] = found[rows]
        else:
            kept[host] = kept[host] + embed(found[rows], rows, host)
    return CostTable(fixed, unary, tuple(Factor(rows, values) for rows, values in kept.items()))


def restrict(table: CostTable, keep: Sequence[Designs]) -> CostTable:
    """The canonical table of the choices ``keep[v]`` of each variable."""
    factors = tuple(Factor(f.rows, f.values[np.ix_(*(keep[r] for r in f.rows))]) for f in table.factors)
    return canonical(CostTable(table.fixed, _compact(table.unary, keep), factors))


def embed(values: FloatArray, rows: tuple[int, ...], host: tuple[int, ...]) -> FloatArray:
    """View values over sorted ``rows`` as values over the sorted superset ``host``, axes of length 1 where new."""
    size = dict(zip(rows, values.shape, strict=True))
    return values.reshape([size.get(r, 1) for r in host])


def _effects(values: FloatArray) -> dict[tuple[int, ...], FloatArray]:
    """ANOVA effects of every subset of axes, with kept axes of length 1; they sum to ``values``."""
    axes = range(values.ndim)
    effects: dict[tuple[int, ...], FloatArray] = {}
    for size in range(values.ndim + 1):
        for subset in combinations(axes, size):
            rest = tuple(a for a in axes if a not in subset)
            effect = values.mean(axis=rest, keepdims=True) if rest else values.copy()
            for inner, known in effects.items():
                if set(inner) < set(subset):
                    effect = effect - known
            effects[subset] = np.asarray(effect)
    return effects


def _variables(decisions: int, tied: Sequence[Sequence[int]]) -> Designs:
    """Number the groups of tied decisions; overlapping groups become one."""
    label = np.arange(decisions)
    for group in tied:
        if any(not 0 <= i < decisions for i in group):
            raise InputError(f"tied group {list(group)} names a decision outside 0..{decisions - 1}")
        members = np.isin(label, label[list(group)])
        label[members] = label[members].min(initial=decisions)
    return np.unique(label, return_inverse=True)[1].astype(np.int64)


def _fitted(what: str, table: CostTable, shape: tuple[int, ...]) -> FloatArray:
    """The unary table, checked and padded with ``inf`` to the shape of the loss."""
    unary = np.asarray(table.unary, dtype=np.float64)
    if unary.ndim != 2 or unary.shape[0] != shape[0] or unary.shape[1] > shape[1]:
        raise InputError(f"{what} has a table of shape {unary.shape}, but the loss has {shape}")
    if np.isnan(unary).any() or any(np.isnan(f.values).any() for f in table.factors):
        raise InputError(f"{what} has NaN entries")
    return np.pad(unary, ((0, 0), (0, shape[1] - unary.shape[1])), constant_values=np.inf)


def _compact(unary: FloatArray, choices: Sequence[NDArray[np.int64]]) -> FloatArray:
    out = np.full((len(choices), max(len(c) for c in choices)), np.inf)
    for v, c in enumerate(choices):
        out[v, : len(c)] = unary[v, c]
    return out


def _tie(what: str, number: int, factor: Factor, variable: Designs, choices: tuple[Designs, ...]) -> Factor:
    """A factor over decisions as one over variables: tied axes collapse to their diagonal."""
    if len(factor.rows) != factor.values.ndim or any(not 0 <= r < len(variable) for r in factor.rows):
        raise InputError(f"factor {number} of {what} has rows {factor.rows} for {factor.values.ndim} axes")
    rows = [int(variable[r]) for r in factor.rows]
    for r, v, size in zip(factor.rows, rows, factor.values.shape, strict=True):
        if choices[v][-1] >= size:
            raise InputError(f"factor {number} of {what} prices only {size} choices of decision {r}")
    values = np.asarray(factor.values[np.ix_(*(choices[v] for v in rows))], dtype=np.float64)
    unique = sorted(set(rows))
    letters = "abcdefghijklmnopqrstuvwxyz"
    subscripts = "".join(letters[unique.index(v)] for v in rows) + "->" + letters[: len(unique)]
    return Factor(tuple(unique), np.asarray(np.einsum(subscripts, values)))
