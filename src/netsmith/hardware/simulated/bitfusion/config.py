"""Parameters of a Bit Fusion array."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from netsmith.errors import InputError, did_you_mean

CONFIGS = Path(__file__).parent.parent / "configs"
#: Names of the configurations in the authors' code, and of ours.
ALIASES = {
    "bitfusion": "bitfusion", "bitfusion-edge": "bitfusion", "bf_e": "bitfusion",
    "bitfusion-cloud": "bitfusion-cloud", "bf_s": "bitfusion-cloud",
    "bitfusion-small": "bitfusion-small", "small": "bitfusion-small",
}  # fmt: skip
_AT_LEAST_ONE = (
    "rows", "columns", "max_bits", "min_bits", "clock_hz", "dram_bits_per_cycle", "wbuf_bytes", "ibuf_bytes",
    "obuf_bytes", "depthwise_lanes",
)  # fmt: skip
#: Wider operands than this could not be told from floating point once they are taken in two halves.
_WIDEST = 15


@dataclass(frozen=True, kw_only=True)
class BitFusionConfig:
    """A systolic array of Fusion Units with three double-buffered memories (Sharma et al., ISCA 2018).

    Attributes:
        name: what the configuration is called.
        rows: Fusion Units along the input channels (N).
        columns: Fusion Units along the output channels (M).
        clock_hz: clock of the array in Hz.
        dram_bits_per_cycle: bits to or from main memory per clock cycle.
        wbuf_bytes: memory for weights in bytes; half of it holds the tile in use, the other half is filled.
        ibuf_bytes: memory for inputs in bytes, halved likewise.
        obuf_bytes: memory for 32-bit partial sums in bytes, halved likewise.
        core_pj_per_cycle: energy of the whole array in one compute cycle in pJ; stalled cycles cost none.
        wbuf_read_pj_per_bit: energy of reading the weight memory in pJ/bit.
        wbuf_write_pj_per_bit: energy of writing the weight memory in pJ/bit.
        ibuf_read_pj_per_bit: energy of reading the input memory in pJ/bit.
        ibuf_write_pj_per_bit: energy of writing the input memory in pJ/bit.
        obuf_read_pj_per_bit: energy of reading the output memory in pJ/bit.
        obuf_write_pj_per_bit: energy of writing the output memory in pJ/bit.
        dram_pj_per_bit: energy of main memory in pJ/bit.
        max_bits: widest operand that a Fusion Unit multiplies in one cycle; operands of up to twice that take a cycle
            for each pair of halves (an extension).
        min_bits: width of a BitBrick; narrower operands compute like it.
        im2col_channels: a dense convolution with a kernel of more than one pixel that reads at most this many input
            channels reads an image, and is unfolded (im2col) as the simulator unfolds the first layer of a network.
            Decided by the row alone, so that rows are priced independently of each other.
        depthwise_lanes: products per cycle of a depthwise convolution at ``max_bits``, an extension: 8 of the 512 units
            of a 16 x 32 array is what APQ's published table shows, a calibration and not a derivation.
        extensions: allow what the authors' simulator lacks: depthwise and grouped convolutions, products of two
            activations, operands above ``max_bits``. If false, such rows are refused.
    """

    name: str = "bitfusion"
    rows: int
    columns: int
    clock_hz: float
    dram_bits_per_cycle: int
    wbuf_bytes: int
    ibuf_bytes: int
    obuf_bytes: int
    core_pj_per_cycle: float
    wbuf_read_pj_per_bit: float
    wbuf_write_pj_per_bit: float
    ibuf_read_pj_per_bit: float
    ibuf_write_pj_per_bit: float
    obuf_read_pj_per_bit: float
    obuf_write_pj_per_bit: float
    dram_pj_per_bit: float
    max_bits: int = 8
    min_bits: int = 2
    im2col_channels: int = 4
    depthwise_lanes: int = 8
    extensions: bool = True

    def __post_init__(self) -> None:
        for f in fields(self):
            object.__setattr__(self, f.name, _checked(f.name, str(f.type), getattr(self, f.name)))
        if self.max_bits > _WIDEST:
            raise InputError(f"the key 'max_bits' must be at most {_WIDEST}, not {self.max_bits}")
        if self.min_bits > self.max_bits:
            raise InputError(f"the key 'min_bits' must be at most max_bits ({self.max_bits}), not {self.min_bits}")

    @property
    def units(self) -> int:
        """Fusion Units of the array."""
        return self.rows * self.columns

    @property
    def widest_bits(self) -> int:
        """Widest operand that can be priced."""
        return 2 * self.max_bits if self.extensions else self.max_bits


def _checked(key: str, kind: str, value: Any) -> Any:
    """The value in the type of its field; refused if it is of another type or out of range."""
    if kind == "str":
        if not isinstance(value, str) or not value:
            raise InputError(f"the key {key!r} must be a text, not {value!r}")
        return value
    if kind == "bool":
        if not isinstance(value, bool):
            raise InputError(f"the key {key!r} must be true or false, not {value!r}")
        return value
    low = 1 if key in _AT_LEAST_ONE else 0
    if kind == "int" and isinstance(value, Integral) and not isinstance(value, bool):
        number: float = int(value)
    elif kind == "float" and isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(float(value)):
        number = float(value)
    else:
        what = "whole number" if kind == "int" else "finite number"
        raise InputError(f"the key {key!r} must be a {what}, not {value!r}")
    if number < low:
        raise InputError(f"the key {key!r} must be at least {low}, not {value!r}")
    return number


def published(name: str) -> BitFusionConfig:
    """One of the configurations in the authors' code, read from its packaged file.

    Args:
        name: ``bitfusion`` (``bitfusion-edge``, ``bf_e``), ``bitfusion-cloud`` (``bf_s``) or ``bitfusion-small``.

    Raises:
        InputError: there is no such configuration.
    """
    import tomllib

    if name not in ALIASES:
        hint = did_you_mean(name, list(ALIASES))
        raise InputError(f"unknown Bit Fusion configuration {name!r}{hint}; known ones: {', '.join(ALIASES)}")
    values = tomllib.loads((CONFIGS / f"{ALIASES[name]}.toml").read_text(encoding="utf-8"))
    values.pop("family")
    return BitFusionConfig(**values)
