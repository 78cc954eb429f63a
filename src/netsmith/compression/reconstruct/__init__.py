"""Least-squares repair of the layers that read pruned channels, and channels chosen by what it leaves unrepaired.

AMC (He et al., ECCV 2018) and channel pruning (He et al., ICCV 2017): what a layer gave is regressed on the input
channels that stay. Names load on first use, as they need torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netsmith.lazy import lazy_names

if TYPE_CHECKING:
    from netsmith.compression.reconstruct.consumers import Consumer, find_consumers
    from netsmith.compression.reconstruct.moments import Gram, Moments, gather
    from netsmith.compression.reconstruct.repair import Repair
    from netsmith.compression.reconstruct.selection import removal_order
    from netsmith.compression.reconstruct.solve import LayerSolver


__all__ = ["Consumer", "Gram", "LayerSolver", "Moments", "Repair", "find_consumers", "gather", "removal_order"]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "consumers": ("Consumer", "find_consumers"),
        "moments": ("Gram", "Moments", "gather"),
        "repair": ("Repair",),
        "selection": ("removal_order",),
        "solve": ("LayerSolver",),
    },
)
