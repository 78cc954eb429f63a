"""The uniform baseline: the same relative choice for every decision of a kind."""

from __future__ import annotations

from itertools import product

import numpy as np

from netsmith.search.ranked import Ranked
from netsmith.search.ratios import CHANNELS
from netsmith.search.solver.reduced import reduce
from netsmith.search.strategy import Designs

#: Most uniform designs that are priced; with many kinds, each kind gets fewer positions.
_MOST = 200_000

#: Positions of channel counts between one choice and the next.
_FINE = 16
_GOLDEN = (5**0.5 - 1) / 2  #: multiples of it, modulo 1, are spread evenly however many there are


class Uniform(Ranked):
    """All uniform designs that keep the budgets, least estimated loss first.

    A position in 0..1 for each kind of decision picks the choice at that place of every decision of the kind; with
    several kinds every combination is tried. Without a space all decisions are of one kind. Ties and forbidden choices
    are respected (the nearest allowed choice is taken).

    Channel counts are too coarse for that to fill a budget. Between two of them, one layer after the other takes the
    larger one, spread evenly over depth.

    Raises:
        InfeasibleError: from ``ask``, if no uniform design keeps the budgets although another one might.
    """

    name = "uniform"

    def designs(self) -> Designs:
        reduced = reduce(self.problem)
        first = np.unique(reduced.variable, return_index=True)[1]
        names = [self.space.decisions[d].kind if self.space else "" for d in first]
        kinds, kind = np.unique(names, return_inverse=True)
        levels = np.array([reduced.sizes[kind == i].max() for i in range(len(kinds))])
        levels = np.where(kinds == CHANNELS, (levels - 1) * _FINE + 1, levels)
        while np.prod(levels.astype(float)) > _MOST:
            levels = np.maximum(levels - (levels == levels.max()), 2)
        grids = [np.linspace(0, 1, m) if m > 1 else np.ones(1) for m in levels]
        places = np.array(list(product(*grids)))
        # Half up, not to even: positions of one decision then map to choices without gaps.
        up = np.full(len(first), 0.5)
        channels = np.flatnonzero(np.array(names) == CHANNELS)
        up[channels] = (0.5 + np.arange(len(channels)) * _GOLDEN) % 1.0
        x = np.floor(places[:, kind] * (reduced.sizes - 1) + up).astype(np.int64)
        designs = reduced.expand(np.unique(x, axis=0))
        fits = self.problem.feasible(designs)
        if not fits.any():
            raise self.infeasible(designs)
        return np.asarray(designs[fits])
