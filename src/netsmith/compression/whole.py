"""Whether channels that leave take whole groups of a convolution, or whole heads, along."""

from __future__ import annotations

import numpy as np

from netsmith.compression.channels import ChannelGroup, Member


def takes_whole(group: ChannelGroup, layer: str, per: int) -> bool:
    """Whether every unit of ``group`` is made of whole sets of ``per`` consecutive channels of ``layer``."""
    members = [m for m in (*group.inputs, *group.outputs) if m.layer == layer and m.size % per == 0]
    return bool(members) and all(_whole(m, group.unit, per) for m in members if m.size > per)


def _whole(member: Member, unit: int, per: int) -> bool:
    first = member.index[member.root < unit]
    sets, counts = np.unique(first // per, return_counts=True)
    return len(sets) > 0 and bool((counts == per).all())
