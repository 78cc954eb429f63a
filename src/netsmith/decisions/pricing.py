"""What designs cost on a target: prediction of any design, and cost tables that a solver can optimise over.

A row's cost depends on few decisions (of a convolution: its input channels, its output channels, its bits, whether its
branch is there), so it becomes one exact factor over them. What lies between layers, where a space has such a thing, is
expanded around a given design, first order and pairs; the expansion is renewed at the solution until it stands still.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netsmith.decisions.peak import PeakMemory
from netsmith.decisions.search_space import Between, Designs, FloatArray, RowCost, RowSpace, Storage
from netsmith.errors import InputError
from netsmith.export.packed import layer_bytes
from netsmith.hardware.target import Cost, Target, as_run, price
from netsmith.network.layers import LayerTable
from netsmith.space import CostTable, Factor, MaxTable

COSTS = ("latency", "energy", "size", "macs", "memory")
SUMS = tuple(name for name in COSTS if name != "memory")  #: over rows; memory is the largest of several sums
#: A factor over more cells than this is expanded around the current design instead, over the decisions that matter
#: most: fewer where each cell has to be measured, and where all that touch a row would take more than the second.
CELLS, MODELLED = 600, 131_072
#: All exact factors together have at most so many cells, of which so many are priced at once.
_TOTAL, _AT_ONCE = 8_000_000, 400_000
_BLOCK = 20_000  #: designs that become rows together
_Row = tuple[int, list[int], list[int]]  #: a row, decisions of its factor, decisions that are expanded


class Pricing:
    """Costs of the designs of ``space`` on ``target``, of runs of ``batch`` samples.

    Costs by name: ``latency`` (s), ``energy`` (J, where the target has it), ``macs``, ``size`` (bytes of the network's
    packed file, everything that it stores included), and ``memory`` (bytes of the activations that live at one time,
    of one sample), which is no sum of rows: the largest of several sums, one a step of a run.

    A space may bring ``between`` and ``storage`` (see :mod:`netsmith.decisions.search_space`), and ``parts``, ``(R,)``:
    rows of one number belong together, and what no decision changes of them is summed before it is added to the rest.
    """

    def __init__(self, space: RowSpace, target: Target, batch: int = 1) -> None:
        self.space, self.target, self.batch = space, target, batch
        self.around: Between | None = getattr(space, "between", None)
        self.storage: Storage = getattr(space, "storage", None) or Storage()
        self._peak: Callable[[Target], PeakMemory] | None = getattr(space, "peak", None)

    @cached_property
    def memory(self) -> PeakMemory:
        """What designs hold in memory while they run.

        Raises:
            InputError: it cannot be counted for this space.
        """
        if self._peak is None:
            raise InputError(
                "--memory is counted on the traced graph of a network that is given, and the networks of a space have "
                "none before they are built: drop --memory, and see `netsmith profile` for what was found"
            )
        return self._peak(self.target)

    @property
    def start(self) -> Designs:
        """The design ``(D,)`` to expand around before a search has found any, nearer to most that it will find than the
        reference."""
        return self.space.reference if self.around is None else self.around.starts[-1]

    # --- what a row costs -------------------------------------------------------------------------------------------

    def row_cost(self, name: str) -> RowCost:
        """The cost of each row of a table, ``(..., L)``, for a cost name that is a sum of rows."""
        if name == "macs":
            return lambda t: np.asarray(t.macs, dtype=float)
        if name == "size":
            return lambda t: layer_bytes(t, self.storage.scheme, stored=self.storage.stored).astype(float)
        if name == "energy":
            return self._energy
        if name == "memory":
            raise InputError("peak memory is no sum over the rows of a table")
        return lambda t: np.asarray(self.cost(t).latency_s)

    def _energy(self, table: LayerTable) -> FloatArray:
        energy = self.cost(table).energy_j
        if energy is None:
            raise InputError(
                f"target {self.target.name!r} has no energy model; drop --energy or choose a target that has one"
            )
        return np.asarray(energy, dtype=float)

    def cost(self, table: LayerTable) -> Cost:
        """What the target says of a table, each row at widths that it has."""
        return price(self.target, as_run(table, self.target.capabilities), self.batch)

    def fixed(self, name: str) -> float:
        """What belongs to no row: the frame of a file and the tensors that no layer owns, what every run takes."""
        if name == "size":
            return float(self.storage.frame_bytes)
        return float(self.cost(LayerTable.from_rows([])).fixed_s) if name == "latency" else 0.0

    def total(self, table: LayerTable, name: str) -> float:
        """The cost of a network whose layers are ``table (L,)``, all of them, nothing between them added."""
        return float(self.row_cost(name)(table).sum()) + self.fixed(name)

    # --- designs ----------------------------------------------------------------------------------------------------

    def given(self, name: str, table: LayerTable) -> float:
        """A cost of the reference, whose layers are ``table (L,)``, with what is between them if that has the cost."""
        if name == "memory" or self.between(name):
            return float(self.predict(self.space.reference, name)[0])
        return self.total(table, name)

    def between(self, name: str) -> bool:
        """Whether something between layers has this cost."""
        return self.around is not None and self.around.has(name)

    def is_exact(self, name: str) -> bool:
        """Whether a cost table is right at every design: nothing between layers costs anything, and no row depends on
        more decisions than a factor holds."""
        if name == "memory":
            return self.memory.is_exact
        free = self.around is None or not self.around.has(name) or self.around.is_free(self.row_cost(name))
        return free and all(not rest for _, _, rest in self._plan(name))

    def predict(self, designs: Designs, name: str = "latency") -> FloatArray:
        """Cost of each design, ``(N,)``."""
        designs = np.atleast_2d(designs)
        if not len(designs):  # a network without a choice: there is one design, and nothing else to price
            return np.zeros(0)
        if name == "memory":
            return self.memory.price(designs)
        total = self.row_cost(name)(self.space.rows(designs).take(self._own)).sum(axis=1) + self.fixed(name)
        if self.around is not None and self.around.has(name):
            total = total + self.around.price(designs, self.row_cost(name))
        return np.asarray(total)

    def per_row(self, design: Designs, name: str = "latency") -> FloatArray:
        """Cost of each row of the space in one design, ``(R,)``; what is between rows is not included."""
        table = self.space.rows(design[None])
        if self.around is not None:
            table = self.around.with_bits(table, design)
        return np.asarray(self.row_cost(name)(table)[0])

    def rows(self, design: Designs) -> LayerTable:
        """One design ``(D,)`` as it runs, ``(L,)``: the rows that are present, and what lies between them."""
        design = np.asarray(design)
        tables = self.space.rows(design[None])
        one = LayerTable(names=tables.names, **{k: v[0] for k, v in tables.columns.items()})
        if self.around is None:
            return one.take(one.calls > 0)
        one = self.around.with_bits(one, design)
        added = self.around.added(one, design)
        kept = one.take(one.calls > 0)
        columns: dict[str, Any] = {k: np.concatenate([v, added.columns[k]]) for k, v in kept.columns.items()}
        return LayerTable(names=(*kept.names, *added.names), **columns)

    # --- tables -----------------------------------------------------------------------------------------------------

    def tables(self, names: Sequence[str], around: Designs | None = None) -> dict[str, CostTable]:
        """:meth:`table` of each of some costs that are sums.

        Raises:
            InputError: the target has no model of a cost, or it is no sum.
        """
        found = {name: self.table(name, around) for name in names}
        if maxima := [name for name, table in found.items() if isinstance(table, MaxTable)]:
            raise InputError(f"{maxima[0]} is no sum of choices; drop --{maxima[0]}")
        return {name: table for name, table in found.items() if isinstance(table, CostTable)}

    def table(self, name: str, around: Designs | None = None) -> CostTable | MaxTable:
        """The cost table of one cost, exact for rows, expanded around the design ``around (D,)`` (by default the
        reference) for what lies between and for rows that depend on too many decisions."""
        around = self.space.reference if around is None else around
        if name == "memory":
            return self.memory.table(around)
        sizes = self.space.decisions.sizes
        d, k = len(sizes), int(sizes.max()) if len(sizes) else 1
        unary = np.where(np.arange(k) < sizes[:, None], 0.0, np.inf)
        fixed, factors = self._layers(name, around, unary)
        fixed += self.fixed(name)
        if self.around is not None and self.around.has(name):
            base, ones, pairs = self.around.expand(around, self.row_cost(name))
            fixed += base
            for i in range(d):
                unary[i, : sizes[i]] += ones[i]
            factors += [Factor((i, j), values) for (i, j), values in pairs.items()]
        return CostTable(fixed, unary, tuple(factors))

    @cached_property
    def _given(self) -> LayerTable:
        """The rows of the reference, ``(1, R)``."""
        return self.space.rows(self.space.reference[None])

    @cached_property
    def _own(self) -> NDArray[np.int64]:
        """The rows that have costs of their own, ``(O,)``."""
        every = np.arange(len(self._given))
        return every if self.around is None else every[~self.around.rows]

    def _layers(self, name: str, around: Designs, unary: FloatArray) -> tuple[float, list[Factor]]:
        """Factors of all rows, those over one decision added to ``unary``, and what no decision changes."""
        sizes, plan, costs = self.space.decisions.sizes, self._plan(name), list[FloatArray]()
        ends = np.cumsum([np.prod(sizes[exact]) + sizes[rest].sum() for _, exact, rest in plan])
        for some in np.split(np.arange(len(plan)), np.flatnonzero(np.diff(ends // _AT_ONCE)) + 1):
            costs += self._row_costs(name, around, [plan[i] for i in some])
        part_of = getattr(self.space, "parts", np.arange(len(self._given)))
        parts, factors = dict[int, float](), []
        for (r, exact, rest), cost in zip(plan, costs, strict=True):
            shape = tuple(int(sizes[e]) for e in exact)
            cells = int(np.prod(shape, dtype=int))
            values = cost[:cells].reshape(shape)
            here = values[tuple(around[e] for e in exact)] if exact else values
            start = cells
            for dec in rest:
                single = cost[start : start + sizes[dec]]
                unary[dec, : sizes[dec]] += single - here
                start += sizes[dec]
            if not exact:
                parts[int(part_of[r])] = parts.get(int(part_of[r]), 0.0) + float(values)
            elif len(exact) == 1:
                unary[exact[0], : shape[0]] += values
            else:
                factors.append(Factor(tuple(exact), values))
        return sum((parts[part] for part in sorted(parts)), 0.0), factors

    def _plan(self, name: str) -> list[_Row]:
        """Each row with the decisions that its factor is over, and those that are expanded."""
        sizes, plan = self.space.decisions.sizes, list[_Row]()
        modelled = name in ("macs", "size") or not self.target.capabilities.measured
        most = max(CELLS, min(MODELLED, _TOTAL // max(len(self._own), 1))) if modelled else CELLS
        for r in self._own:
            touching = self.space.deciding(int(r))
            whole = float(np.prod([float(sizes[dec]) for dec in touching]))
            exact: list[int] = touching if whole <= most else []
            for dec in touching if not exact else ():
                if np.prod([sizes[e] for e in [*exact, dec]]) <= CELLS:
                    exact.append(dec)
            plan.append((int(r), exact, [dec for dec in touching if dec not in exact]))
        return plan

    def _row_costs(self, name: str, around: Designs, plan: list[_Row]) -> list[FloatArray]:
        """Cost of each row at every cell of its factor, then at every choice of the rest."""
        tables, counts = list[dict[str, Any]](), []
        for r, exact, rest in plan:
            designs = self._cells(around, exact, rest)
            for start in range(0, len(designs), _BLOCK):
                table = self.space.rows(designs[start : start + _BLOCK], [r])
                tables.append({k: v[:, 0] for k, v in table.columns.items()})
            counts.append(len(designs))
        if not tables:
            return []
        merged: dict[str, Any] = {k: np.concatenate([t[k] for t in tables]) for k in tables[0]}
        names = tuple(self._given.names[row[0]] for row, n in zip(plan, counts, strict=True) for _ in range(n))
        return np.split(self.row_cost(name)(LayerTable(names=names, **merged)), np.cumsum(counts)[:-1])

    def _cells(self, around: Designs, exact: list[int], rest: list[int]) -> Designs:
        """The design ``around`` with all combinations of ``exact``, then with every choice of each of ``rest``."""
        sizes = self.space.decisions.sizes
        designs = np.tile(around, (int(np.prod(sizes[exact])), 1))
        if exact:
            designs[:, exact] = np.indices(sizes[exact].tolist()).reshape(len(exact), -1).T
        singles = [np.tile(around, (int(sizes[dec]), 1)) for dec in rest]
        for dec, block in zip(rest, singles, strict=True):
            block[:, dec] = np.arange(sizes[dec])
        return np.concatenate([designs, *singles])
