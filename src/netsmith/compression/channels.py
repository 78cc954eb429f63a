"""Channel groups as data: which channels of which layers leave together; found by groups.py, cut by prune.py."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Member:
    """One side of a layer, and which of its channels follow which channel of the group.

    Attributes:
        layer: module path, or path of a bare parameter.
        size: channels of this side today, whether or not they belong to the group.
        index, root: ``(n,)`` each; channel ``index[j]`` of the layer stays while channel ``root[j]`` of the group does.
        dim: dimension of a bare parameter; ``None`` for a module.
    """

    layer: str
    size: int
    index: IntArray
    root: IntArray
    dim: int | None = None


@dataclass(frozen=True, eq=False)
class PaddedEnd:
    """Channels of one value that a module lays before or behind those that it hands on, as far as they are a group's.

    Attributes:
        layer: path of the module, which has no weight for them: its output is cut.
        dim: dimension of its output.
        behind: whether they lie behind the others.
        root: ``(n,)``; each of them stays while this channel of the group does.
    """

    layer: str
    dim: int
    behind: bool
    root: IntArray


@dataclass(frozen=True, eq=False)
class ChannelGroup:
    """Channels that leave the network together.

    Attributes:
        name: path of the layer that produces them (the first one).
        channels: their number; kept channels are indices into ``range(channels)``.
        unit: so many consecutive channels stay or go together (an attention head, a convolution group).
        outputs: layers whose outputs shrink; norms and depthwise convolutions, which have one side, are here.
        inputs: layers whose inputs shrink.
        attributes: ``(module path, attribute, value)`` of counts that shrink in proportion (``num_heads``).
        meeting: whether its channels meet each other elsewhere than in a layer that reads them (an L2 norm, a product
            of queries and keys): then they are masked where they are produced, too.
        padded: ends of padded shortcuts that are added to its channels.
    """

    name: str
    channels: int
    unit: int
    outputs: tuple[Member, ...]
    inputs: tuple[Member, ...]
    attributes: tuple[tuple[str, str, int], ...] = ()
    meeting: bool = False
    padded: tuple[PaddedEnd, ...] = ()


@dataclass(frozen=True, eq=False)
class GroupReport:
    """What of a network can be pruned.

    Attributes:
        groups: in the order of the network's modules.
        frozen: path of each convolution and linear layer none of whose outputs can be pruned -> the reason.
        counts: path of each convolution and linear layer -> ``(c_in, c_out)`` today.
    """

    groups: list[ChannelGroup]
    frozen: dict[str, str]
    counts: dict[str, tuple[int, int]]

    def __getitem__(self, name: str) -> ChannelGroup:
        return next(g for g in self.groups if g.name == name)
