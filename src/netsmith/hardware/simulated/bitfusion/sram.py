"""Energy of the on-chip memories: CACTI-7 points at 45 nm, from which other sizes are derived."""

from __future__ import annotations

import math

from netsmith.errors import InputError

#: Bytes of a bank -> nJ of reading and of writing a line of 4 bytes (the authors' simulator, CACTI-7 at 45 nm). The
#: row of 512 bytes is the output memory of their configuration bf_e.
CACTI_NJ = {
    128: (0.000684, 0.000925), 512: (0.001061, 0.002339), 1024: (0.001133, 0.003296), 2048: (0.001903, 0.003639),
    4096: (0.003430, 0.004310), 8192: (0.006392, 0.005563), 16384: (0.009982, 0.008421),
}  # fmt: skip
_LINE_BITS = 32


def sram_pj_per_bit(bank_bytes: float) -> tuple[float, float]:
    """Energy in pJ/bit of reading and of writing a memory with banks of ``bank_bytes``.

    The published constants of bf_e are these points with one bank a Fusion Unit for weights, one a row for inputs and
    one a column for outputs. Between two points both axes are logarithmic, which is our assumption.

    Raises:
        InputError: the bank is smaller or larger than all points.
    """
    sizes = sorted(CACTI_NJ)
    if not sizes[0] <= bank_bytes <= sizes[-1]:
        raise InputError(
            f"there is no published energy of a memory bank of {bank_bytes:g} bytes, only of {sizes[0]} to "
            f"{sizes[-1]}; give the energies of the memory in pJ per bit"
        )
    upper = next(s for s in sizes if s >= bank_bytes)
    lower = max((s for s in sizes if s <= bank_bytes), default=upper)
    share = 0.0 if upper == lower else math.log(bank_bytes / lower) / math.log(upper / lower)
    read, write = (
        math.exp((1 - share) * math.log(a) + share * math.log(b)) * 1e3 / _LINE_BITS
        for a, b in zip(CACTI_NJ[lower], CACTI_NJ[upper], strict=True)
    )
    return read, write


def derived_energies(rows: int, columns: int, wbuf_bytes: int, ibuf_bytes: int, obuf_bytes: int) -> dict[str, float]:
    """Energy fields of a configuration without published ones, in pJ; assumptions, to be called so.

    The core scales with the number of Fusion Units (0.4592 pJ a cycle each at 45 nm, bf_e); memories follow
    :func:`sram_pj_per_bit`.

    Raises:
        InputError: a memory's banks are outside the published points.
    """
    found = {"core_pj_per_cycle": 235.104 / 512 * rows * columns}
    for buffer, bank in (
        ("wbuf", wbuf_bytes / (rows * columns)), ("ibuf", ibuf_bytes / rows), ("obuf", obuf_bytes / columns),
    ):  # fmt: skip
        found[f"{buffer}_read_pj_per_bit"], found[f"{buffer}_write_pj_per_bit"] = sram_pj_per_bit(bank)
    return found
