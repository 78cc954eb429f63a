"""Between measured channel counts: piecewise linear, only ever between, so never negative and never a guess."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable

from netsmith.network.layers import COMPUTE_CODES, KINDS

Row = tuple[int, ...]
_TIED = -3  #: in place of the groups of a depthwise convolution, which grow with its channels


class Interpolation:
    """The measured rows of a table, gathered by everything but their channel counts.

    Args:
        keys: measured rows.
        columns: names of their columns.
    """

    def __init__(self, keys: Iterable[Row], columns: tuple[str, ...]) -> None:
        self._position = {name: i for i, name in enumerate(columns)}
        self._grids: dict[Row, _Grid] = {}
        if "c_in" not in self._position or "c_out" not in self._position:
            return
        gathered: dict[Row, dict[tuple[int, int], Row]] = defaultdict(dict)
        for key in keys:
            gathered[self._rest(key)][self._channels(key)] = key
        self._grids = {rest: _Grid(points) for rest, points in gathered.items()}

    def corners(self, key: Row) -> list[tuple[Row, float]]:
        """Measured rows around ``key`` with weights that sum to 1; empty if it is not among measured ones.

        Depthwise layers and glue that keeps its channels are measured along the diagonal, all others on a grid.
        """
        grid = self._grids.get(self._rest(key)) if self._grids else None
        if grid is None:
            return []
        c_in, c_out = self._channels(key)
        diagonal = [(grid.points[c, c], w) for c, w in around(c_in, grid.diagonal)] if c_in == c_out else []
        if self._tied(key):
            return diagonal
        square = grid.corners(c_in, c_out)
        kind = self._position.get("kind")
        if kind is None:  # a table by layer names: the layer may be of any kind
            return square or diagonal
        glue = key[kind] < len(KINDS) and key[kind] not in COMPUTE_CODES
        return diagonal or square if glue else square

    def _channels(self, key: Row) -> tuple[int, int]:
        return key[self._position["c_in"]], key[self._position["c_out"]]

    def _tied(self, key: Row) -> bool:
        groups = self._position.get("groups")
        return groups is not None and key[groups] > 1 and key[groups] == self._channels(key)[0]

    def _rest(self, key: Row) -> Row:
        rest = list(key)
        if self._tied(key):
            rest[self._position["groups"]] = _TIED
        rest[self._position["c_in"]] = rest[self._position["c_out"]] = 0
        return tuple(rest)


class _Grid:
    """Rows that differ in their channel counts only."""

    def __init__(self, points: dict[tuple[int, int], Row]) -> None:
        self.points = points
        self.ins = sorted({a for a, _ in points})
        self.outs = sorted({b for _, b in points})
        self.diagonal = sorted({a for a, b in points if a == b})

    def corners(self, c_in: int, c_out: int) -> list[tuple[Row, float]]:
        found = [((a, b), u * v) for a, u in around(c_in, self.ins) for b, v in around(c_out, self.outs)]
        return [(self.points[c], w) for c, w in found] if all(c in self.points for c, _ in found) else []


def around(value: int, known: list[int]) -> list[tuple[int, float]]:
    """The nearest of the sorted counts ``known`` at or around ``value``, linear weights; empty outside of them."""
    i = bisect_left(known, value)
    if i < len(known) and known[i] == value:
        return [(value, 1.0)]
    if i in (0, len(known)):
        return []
    a, b = known[i - 1], known[i]
    return [(a, (b - value) / (b - a)), (b, (value - a) / (b - a))]
