"""Which kind of bits a target and a method give: widths apart, 8-bit integers beside floats, or codebooks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from netsmith.compression.placement import quantizable
from netsmith.decisions.bits import Bits, Pairs
from netsmith.decisions.integers import Integers
from netsmith.decisions.registry import Given
from netsmith.errors import InputError
from netsmith.export.packed.bits import MAX_BITS
from netsmith.hardware.target import Capabilities
from netsmith.network.graph import Graph
from netsmith.network.layers import FLOAT


def bits_of(graph: Graph, pairs: Pairs, pinned: Sequence[str] = (), layers: Sequence[str] | None = None) -> Bits:
    """One decision for both sides of a layer where they are equal in every pair, else one for each."""
    kind = Integers if all(w == a for w, a in pairs) else Bits
    return kind(graph, pairs, pinned, layers=layers)


def widths_of(given: Given, method: Any) -> Bits:
    """Integers of the widths that the target has kernels for; no decisions where it has floating point alone."""
    pairs = bit_pairs(given.capabilities, method.least_bits)
    layers = list(quantizable(given.graph)) if pairs != ((FLOAT, FLOAT),) else []
    # too few weights to save anything, and every published method leaves them alone
    pinned = () if (FLOAT, FLOAT) in pairs or not layers else (layers[0], layers[-1])
    return bits_of(given.graph, pairs, pinned, layers)


def codebooks_of(given: Given, method: Any) -> Bits:
    """Indices into a codebook of each layer."""
    return Bits(given.graph, shared_pairs(method.least_bits), codebooks=True)


def bit_pairs(capabilities: Capabilities, least: int = 2) -> tuple[tuple[int, int], ...]:
    """(Weight, activation) widths that a search on a target chooses from.

    With floating point: 8-bit integers or not, if it has kernels for them. Without: every combination of the target's
    widths from ``least`` to those that a network as given runs at, if it has kernels for all of them; otherwise only
    the latter.

    Raises:
        InputError: ``least`` is more than the network as given runs at.
    """
    if (32, 32) in capabilities.bits:
        return tuple(pair for pair in ((8, 8), (FLOAT, FLOAT)) if pair in capabilities.bits)
    given = capabilities.bits[0]
    if not 1 <= least <= min(given):
        raise InputError(f"--least-bits is {least}; this target runs a network as given at {given[0]}, so 1 to that")
    pairs = {(w, a) for w, a in capabilities.bits if least <= min(w, a) and w <= given[0] and a <= given[1]}
    sides = [{pair[i] for pair in pairs} for i in (0, 1)]
    return tuple(sorted(pairs)) if len(pairs) == len(sides[0]) * len(sides[1]) else (given,)


def idle_kernels(capabilities: Capabilities, least: int = 2) -> str | None:
    """What a search leaves unused of the kernels for widths from ``least``, in one sentence; None if nothing."""
    offered = bit_pairs(capabilities, least)
    top = [max(pair[i] for pair in offered) for i in (0, 1)]
    idle = [p for p in capabilities.bits if p not in offered and least <= min(p) and p[0] <= top[0] and p[1] <= top[1]]
    if not idle:
        return None
    which = ", ".join(f"{w}x{a}" for w, a in sorted(idle, reverse=True))
    if (FLOAT, FLOAT) not in capabilities.bits:
        return f"kernels of {which} bits (weights x inputs) are not used, as some combination of these widths has none"
    if len(offered) > 1:
        return f"kernels of {which} bits (weights x inputs) are not used: beside floats, layers have 8-bit integers"
    return f"kernels of {which} bits (weights x inputs) are not used, and no layer has 8-bit integers, as it has no 8x8"


def shared_pairs(least: int = 1) -> tuple[tuple[int, int], ...]:
    """(Weight, activation) widths of shared weights: indices of ``least`` to 8 bits, activations in floating point.

    Raises:
        InputError: ``least`` is none of them.
    """
    if not 1 <= least <= MAX_BITS:
        raise InputError(f"--least-bits is {least}; an index of shared weights has 1 to {MAX_BITS}")
    return tuple((bits, FLOAT) for bits in range(least, MAX_BITS + 1))
