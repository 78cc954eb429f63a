"""Bit-widths of a run in words, and which of them the exported file only simulates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

SIMULATED = "stored in {} bits in model.onnx: simulated"


def widths(choice: Mapping[str, Any]) -> tuple[int, int] | None:
    """(Weight, activation) bits of a layer; None if the run does not say or the layer was removed."""
    w = choice.get("bits")
    if not w:
        return None
    a = choice.get("a_bits")
    return int(w), int(w if a is None else a)


def in_words(w: int, a: int) -> str:
    """``8 bits``, or ``w4 a3`` where weights and activations differ."""
    return f"{w} bits" if w == a else f"w{w} a{a}"


def simulated(choice: Mapping[str, Any]) -> str:
    """What to say of a layer whose numbers take more bits in the file than they have; empty if none do."""
    both = widths(choice)
    stored = choice.get("stored_bits")
    if both is None or stored is None:
        return ""
    wider = [int(s) for bits, s in zip(both, stored, strict=True) if s > bits]
    return SIMULATED.format(max(wider)) if wider else ""


def simulated_note(layers: Iterable[Mapping[str, Any]]) -> str:
    """One sentence on all layers whose widths the file only simulates; empty if there are none."""
    found = [words for words in (simulated(row.get("choice") or {}) for row in layers) if words]
    if not found:
        return ""
    which = "1 layer has" if len(found) == 1 else f"{len(found)} layers have"
    return f"{which} widths that are {found[0]}"
