"""Keep ratios: the share of a layer's channels that each of its choices keeps."""

from __future__ import annotations

import numpy as np

from netsmith.errors import InputError
from netsmith.search.solver.reduced import Reduced
from netsmith.search.strategy import FloatArray
from netsmith.space import Space

CHANNELS = "channels"  #: the kind of decisions whose choices are channel counts, the last one all channels


def ratios_of(reduced: Reduced, space: Space | None) -> list[FloatArray | None]:
    """For each variable the shares in 0..1 that its allowed choices keep, ascending; None if it is not about channels.

    Tied decisions go by the first of them.

    Raises:
        InputError: channel counts that are not positive, ascending numbers.
    """
    out: list[FloatArray | None] = []
    for v, first in enumerate(np.unique(reduced.variable, return_index=True)[1]):
        decision = space.decisions[first] if space else None
        if decision is None or decision.kind != CHANNELS:
            out.append(None)
            continue
        numbers = [c for c in decision.choices if not isinstance(c, str)]
        counts = np.array(numbers, dtype=np.float64)
        if len(numbers) < len(decision.choices) or counts[0] <= 0 or (np.diff(counts) <= 0).any():
            raise InputError(
                f"decision {decision.name!r} has the channel counts {decision.choices}; they must be positive and "
                "ascending"
            )
        out.append((counts / counts[-1])[reduced.choices[v]])
    return out
