"""Parameters of a Bit Fusion array."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from netsmith.errors import InputError, did_you_mean
from netsmith.schema import parameter, validate

CONFIGS = Path(__file__).parent.parent / "configs"
#: Names of the configurations in the authors' code, and of ours.
ALIASES = {
    "bitfusion": "bitfusion", "bitfusion-edge": "bitfusion", "bf_e": "bitfusion",
    "bitfusion-cloud": "bitfusion-cloud", "bf_s": "bitfusion-cloud",
    "bitfusion-small": "bitfusion-small", "small": "bitfusion-small",
}  # fmt: skip
#: Wider operands than this could not be told from floating point once they are taken in two halves.
_WIDEST = 15


@dataclass(frozen=True, kw_only=True)
class BitFusionConfig:
    """A systolic array of Fusion Units with three double-buffered memories (Sharma et al., ISCA 2018)."""

    name: str = parameter("what the configuration is called", default="bitfusion")
    rows: int = parameter("Fusion Units along the input channels (N)", low=1)
    columns: int = parameter("Fusion Units along the output channels (M)", low=1)
    clock_hz: float = parameter("clock of the array", "Hz", low=1)
    dram_bits_per_cycle: int = parameter("bits to or from main memory per clock cycle", "bit", low=1)
    wbuf_bytes: int = parameter(
        "memory for weights; half of it holds the tile in use, the other half is filled", "B", low=1
    )
    ibuf_bytes: int = parameter("memory for inputs, halved likewise", "B", low=1)
    obuf_bytes: int = parameter("memory for 32-bit partial sums, halved likewise", "B", low=1)
    core_pj_per_cycle: float = parameter(
        "energy of the whole array in one compute cycle; stalled cycles cost none", "pJ", low=0
    )
    wbuf_read_pj_per_bit: float = parameter("energy of reading the weight memory", "pJ/bit", low=0)
    wbuf_write_pj_per_bit: float = parameter("energy of writing the weight memory", "pJ/bit", low=0)
    ibuf_read_pj_per_bit: float = parameter("energy of reading the input memory", "pJ/bit", low=0)
    ibuf_write_pj_per_bit: float = parameter("energy of writing the input memory", "pJ/bit", low=0)
    obuf_read_pj_per_bit: float = parameter("energy of reading the output memory", "pJ/bit", low=0)
    obuf_write_pj_per_bit: float = parameter("energy of writing the output memory", "pJ/bit", low=0)
    dram_pj_per_bit: float = parameter("energy of main memory", "pJ/bit", low=0)
    max_bits: int = parameter(
        "widest operand that a Fusion Unit multiplies in one cycle; operands of up to twice that take a cycle for each "
        "pair of halves (an extension)", "bit", default=8, low=1, high=_WIDEST,
    )  # fmt: skip
    min_bits: int = parameter("width of a BitBrick; narrower operands compute like it", "bit", default=2, low=1)
    im2col_channels: int = parameter(
        "a dense convolution with a kernel of more than one pixel that reads at most this many input channels reads an "
        "image, and is unfolded (im2col) as the simulator unfolds the first layer of a network. Decided by the row "
        "alone, so that rows are priced independently of each other", default=4, low=0,
    )  # fmt: skip
    depthwise_lanes: int = parameter(
        "products per cycle of a depthwise convolution at `max_bits`, an extension: 8 of the 512 units of a 16 x 32 "
        "array is what APQ's published table shows, a calibration and not a derivation", default=8, low=1,
    )  # fmt: skip
    extensions: bool = parameter(
        "allow what the authors' simulator lacks: depthwise and grouped convolutions, products of two activations, "
        "operands above `max_bits`. If false, such rows are refused", default=True,
    )  # fmt: skip

    def __post_init__(self) -> None:
        validate(self)
        if self.min_bits > self.max_bits:
            raise InputError(f"the key 'min_bits' must be at most max_bits ({self.max_bits}), not {self.min_bits}")

    @property
    def units(self) -> int:
        """Fusion Units of the array."""
        return self.rows * self.columns

    @property
    def buffer_bytes(self) -> int:
        """The three memories together."""
        return self.wbuf_bytes + self.ibuf_bytes + self.obuf_bytes

    def following(self, other: BitFusionConfig) -> dict[str, float]:
        """What an array of another size takes along: energy a cycle and depthwise lanes are so much for each unit."""
        larger = other.units / self.units
        return {
            "core_pj_per_cycle": self.core_pj_per_cycle * larger,
            "depthwise_lanes": max(round(self.depthwise_lanes * larger), 1),
        }

    @property
    def widest_bits(self) -> int:
        """Widest operand that can be priced."""
        return 2 * self.max_bits if self.extensions else self.max_bits


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
