"""The hand-made baselines of AMC (He et al., ECCV 2018): early or late layers are pruned more."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from netsmith.search.ranked import Ranked
from netsmith.search.ratios import ratios_of
from netsmith.search.solver.reduced import Reduced, reduce
from netsmith.search.strategy import Designs, FloatArray

SLOPES = np.arange(1, 33) / 32  #: keep ratio of one end of the network minus that of the other
_LEVELS = np.linspace(-0.5, 1.5, 641)  #: keep ratio in the middle of the network; ratios end at 0 and 1


class Ramp(Ranked):
    """Keep ratios that change linearly over depth, from gently to steeply, each at the highest level that fits.

    Decisions about channels take the nearest width, in their order; others their last choice, or, where the budgets
    cannot be met so, the highest common position that lets them be met. Without decisions about channels all of them
    are on the ramp. Least estimated loss first, one design a slope.

    Raises:
        InfeasibleError: from ``ask``, if no ramp keeps the budgets although another design might.
    """

    sign: ClassVar[float] = 0.0  #: 1 if ratios rise with depth, -1 if they fall

    def designs(self) -> Designs:
        reduced = reduce(self.problem)
        ratios = ratios_of(reduced, self.space)
        free = reduced.sizes > 1
        ramped = free & np.array([r is not None for r in ratios])
        if not ramped.any():
            ramped = free
        on = np.flatnonzero(ramped)
        x = np.repeat((reduced.sizes - 1)[None], len(SLOPES) * len(_LEVELS), axis=0)
        x[:, on] = self._ramps(reduced, [ratios[v] for v in on], on).reshape(len(x), len(on))
        places = np.linspace(1.0, 0.0, int(reduced.sizes[~ramped].max(initial=1)))
        for place in places:
            x[:, ~ramped] = np.floor(place * (reduced.sizes[~ramped] - 1) + 0.5)
            fits = self.problem.feasible(reduced.expand(x)).reshape(len(SLOPES), len(_LEVELS))
            if fits.any():
                break
        else:
            raise self.infeasible(reduced.expand(x))
        slope = np.flatnonzero(fits.any(axis=1))
        level = len(_LEVELS) - 1 - fits[slope, ::-1].argmax(axis=1)
        return reduced.expand(np.unique(x[slope * len(_LEVELS) + level], axis=0))

    def _ramps(self, reduced: Reduced, ratios: list[FloatArray | None], on: NDArray[np.intp]) -> Designs:
        """Choices of the variables ``on`` at every slope and level, ``(S, L, W)``."""
        depth = np.linspace(-0.5, 0.5, len(on)) * self.sign
        ratio = np.clip(_LEVELS[:, None] + SLOPES[:, None, None] * depth, 0.0, 1.0)
        out = np.empty(ratio.shape, dtype=np.int64)
        for i, (known, size) in enumerate(zip(ratios, reduced.sizes[on], strict=True)):
            choices = np.arange(1, size + 1) / size if known is None else known
            out[:, :, i] = np.searchsorted((choices[1:] + choices[:-1]) / 2, ratio[:, :, i])
        return out


class Shallow(Ramp):
    """Early layers are pruned more; see :class:`Ramp`."""

    name = "shallow"
    sign = 1.0


class Deep(Ramp):
    """Late layers are pruned more; see :class:`Ramp`."""

    name = "deep"
    sign = -1.0
