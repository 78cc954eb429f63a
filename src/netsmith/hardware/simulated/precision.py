"""Rates and energies per pair of bit-widths: what a machine executes, and what it does with the other widths."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netsmith.errors import InputError
from netsmith.hardware.target import FloatArray

WIDEST = 32
Pair = tuple[int, int]
_PAIR = re.compile(r"^([1-9]\d?)x([1-9]\d?)$")


def parse_pairs(table: Mapping[str, float], key: str) -> dict[Pair, float]:
    """``{"8x4": value}`` to ``{(8, 4): value}``: weight bits first, then activation bits.

    Raises:
        InputError: a name that is no pair of widths of 1 to 32 bits.
    """
    pairs = {}
    for name, value in table.items():
        match = _PAIR.match(name)
        if match is None or max(int(match[1]), int(match[2])) > WIDEST:
            raise InputError(
                f"the key '{key}.{name}' must be weight bits x activation bits of 1 to 32, for instance \"8x4\""
            )
        pairs[int(match[1]), int(match[2])] = value
    return pairs


@dataclass(frozen=True)
class Kernels:
    """What runs where, as tables over (weight bits, activation bits), each ``(33, 33)``.

    Attributes:
        pairs: widths with a kernel of their own; the first is what a network as given runs at.
        supported: whether some kernel holds the widths.
        w_bits, a_bits: widths of the kernel that they run in.
        macs_per_s: its peak.
        energy_per_mac_j: its energy, or None without an energy model.
    """

    pairs: tuple[Pair, ...]
    supported: NDArray[np.bool_]
    w_bits: NDArray[np.int64]
    a_bits: NDArray[np.int64]
    macs_per_s: FloatArray
    energy_per_mac_j: FloatArray | None


def kernels(peaks: Mapping[Pair, float], energies: Mapping[Pair, float], scaling: str, scaled_bits: int) -> Kernels:
    """Tables of a machine.

    Args:
        peaks: multiply-accumulates a second of the listed pairs.
        energies: joules a multiply-accumulate of the same pairs, or empty.
        scaling: "none": a pair that is not listed runs in the fastest listed kernel that holds both operands;
            "bit-serial": the peak falls with w * a; "linear": with max(w, a). Both start at the one listed pair within
            ``scaled_bits`` and give every pair up to that width a kernel; energy follows w * a.
        scaled_bits: widest operand that is scaled.

    Raises:
        InputError: the pairs do not fit each other or the scaling.
    """
    if not peaks:
        raise InputError("the table 'peak_macs_per_s' is empty; give at least one pair, for instance \"8x8\" = 1e12")
    if energies and set(energies) != set(peaks):
        odd = sorted(set(energies) ^ set(peaks))[0]
        raise InputError(
            f"the pair \"{odd[0]}x{odd[1]}\" is in one of 'peak_macs_per_s' and 'energy_per_mac_j', not in the other; "
            "give both, or no energies at all"
        )
    listed = {p: (rate, energies.get(p, 0.0)) for p, rate in peaks.items()}
    if scaling != "none":
        listed = _scaled(listed, scaling, scaled_bits)
    # the fastest kernel that holds both operands; of equals, the narrowest
    order = sorted(listed, key=lambda p: (-listed[p][0], p[0] + p[1]))
    side = np.arange(WIDEST + 1)
    shape = (WIDEST + 1, WIDEST + 1)
    chosen = np.full(shape, -1, dtype=np.int64)
    for i, (w, a) in enumerate(order):
        held = (side[:, None] <= w) & (side[None, :] <= a)
        chosen = np.where((chosen < 0) & held, i, chosen)
    columns = np.array([(w, a, *listed[w, a]) for w, a in order], dtype=np.float64)
    at = np.maximum(chosen, 0)
    supported = (chosen >= 0) & (side[:, None] > 0) & (side[None, :] > 0)
    return Kernels(
        pairs=tuple(sorted(listed, key=_rank)), supported=supported,
        w_bits=columns[at, 0].astype(np.int64), a_bits=columns[at, 1].astype(np.int64),
        macs_per_s=columns[at, 2], energy_per_mac_j=columns[at, 3] if energies else None,
    )  # fmt: skip


def _rank(pair: Pair) -> tuple[bool, bool, int, int, int]:
    """Order of pairs: first what a network as given runs at (floating point, or 8 bits), then the widest."""
    return pair != (32, 32), pair != (8, 8), -min(pair), -sum(pair), -pair[0]


def _scaled(listed: dict[Pair, tuple[float, float]], scaling: str, scaled_bits: int) -> dict[Pair, tuple[float, float]]:
    inside = [p for p in listed if max(p) <= scaled_bits]
    if len(inside) != 1:
        raise InputError(
            f"scaling {scaling!r} starts at one pair of 'peak_macs_per_s' within {scaled_bits} bits, and there are "
            f'{len(inside)}; list one there, or leave scaling at "none"'
        )
    (w0, a0), (rate, energy) = inside[0], listed[inside[0]]
    out = {p: v for p, v in listed.items() if p not in inside}
    for w in range(1, scaled_bits + 1):
        for a in range(1, scaled_bits + 1):
            share = w * a / (w0 * a0) if scaling == "bit-serial" else max(w, a) / max(w0, a0)
            out[w, a] = (rate / share, energy * w * a / (w0 * a0))
    return out


def pairs_in_words(pairs: tuple[Pair, ...]) -> str:
    """Widths for a message: all of a few, the widest and the narrowest of many."""
    names = [f"{w}x{a}" for w, a in pairs]
    listed = ", ".join(names) if len(names) <= 9 else f"{names[0]} to {names[-1]}"
    return f"weights x activations of {listed} bits, and narrower ones in those"
