"""Search spaces of given networks, and what their kinds need, in one call each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netsmith.accuracy.candidates import Candidates
from netsmith.compression.branches import Branch
from netsmith.compression.channels import ChannelGroup, GroupReport
from netsmith.compression.mixed import LayerQuantizer
from netsmith.compression.quantize import Calibration
from netsmith.compression.reconstruct import Repair
from netsmith.decisions.bits import Bits
from netsmith.decisions.branches import Branches
from netsmith.decisions.channels import WIDTHS, Channels
from netsmith.decisions.given import GivenSpace
from netsmith.decisions.kind import Kind
from netsmith.decisions.tools import AtHand
from netsmith.decisions.widths import bits_of
from netsmith.network.graph import Graph


def space_of(
    graph: Graph, report: GroupReport | None = None, branches: Sequence[Branch] = (), *, quantize: bool = True,
    multiple: int = 1, bits: Sequence[tuple[int, int]] = ((8, 8), (32, 32)), pinned: Sequence[str] = (),
    codebooks: bool = False, widths: int = WIDTHS,
) -> GivenSpace:  # fmt: skip
    """Channels of the groups, the branches, and bits of a pair of widths."""
    kinds: list[Kind] = [] if report is None else [Channels(graph, report, multiple, widths), Branches(graph, branches)]
    if quantize:
        kinds.append(Bits(graph, bits, pinned, codebooks=True) if codebooks else bits_of(graph, bits, pinned))
    return GivenSpace(graph, tuple(kinds))


def candidates_of(
    space: GivenSpace, calibration: Calibration, quantizer: LayerQuantizer, importance: Mapping[str, Any],
    repair: Repair | None = None, settle: bool = False,
) -> Candidates:  # fmt: skip
    """Candidates with these tools."""
    return Candidates(space, AtHand(importance, repair, settle, calibration, quantizer))


def groups_in(space: GivenSpace) -> tuple[ChannelGroup, ...]:
    """The channel groups that are decided about, in order; their decisions come first."""
    channels = space.kind(Channels)
    return channels.groups if channels is not None else ()


def branches_in(space: GivenSpace) -> tuple[Branch, ...]:
    """The branches that are decided about, in order; their decisions come after those of groups."""
    branches = space.kind(Branches)
    return branches.branches if branches is not None else ()


def kept_by(space: GivenSpace, design: NDArray[np.int64]) -> dict[str, int]:
    """Group -> kept channels, of the groups that a design makes smaller."""
    channels = space.kind(Channels)
    return channels.kept(design[: len(channels.groups)]) if channels is not None else {}


def dropped_by(space: GivenSpace, design: NDArray[np.int64]) -> tuple[Branch, ...]:
    """The branches that a design drops."""
    first, branches = len(groups_in(space)), branches_in(space)
    return tuple(b for b, k in zip(branches, design[first:], strict=False) if k == 0)
