"""The conventions of spaces of bit-widths."""

from __future__ import annotations

from netsmith.errors import InputError
from netsmith.space import Space


def check_bits(space: Space) -> None:
    """Hold a space to the conventions of bits: ``LAYER.w_bits`` right before ``LAYER.a_bits``, choices ascending.

    Raises:
        InputError: a decision that is not one of bits, choices that do not ascend, or a layer's pair out of order.
    """
    names = [d.name for d in space.decisions]
    for i, d in enumerate(space.decisions):
        layer, _, kind = d.name.rpartition(".")
        if kind != d.kind or kind not in ("w_bits", "a_bits"):
            raise InputError(f"decision {d.name!r} of kind {d.kind!r} is not LAYER.w_bits or LAYER.a_bits of that kind")
        if not all(isinstance(c, int) for c in d.choices) or list(d.choices) != sorted(d.choices, key=float):
            raise InputError(f"decision {d.name!r} has choices {d.choices}; they must be ascending numbers of bits")
        if kind == "a_bits" and f"{layer}.w_bits" in names and names[max(i - 1, 0)] != f"{layer}.w_bits":
            raise InputError(f"decision {d.name!r} must come right after {layer}.w_bits")
