"""The published algorithm of Bit Fusion's simulator, read off step by step: every tile, every one of 120 loop orders.

Nothing is shared with netsmith's form of it, and nothing is clever. Whole numbers of Python, one layer at a time.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

DEPENDS = {"inputs": ("B", "OW", "OH", "IC"), "weights": ("IC", "OC"), "outputs": ("B", "OW", "OH", "OC")}


@dataclass(frozen=True)
class Layer:
    """A dense layer; a linear one has a kernel, an output and a stride of 1."""

    kernel_h: int
    kernel_w: int
    stride: int
    c_in: int
    c_out: int
    h_out: int
    w_out: int
    batch: int
    im2col: bool
    a_bits: int
    w_bits: int


@dataclass(frozen=True)
class Option:
    """One tile in one loop order: (compute, stalls, DRAM read and write, six memory counts), energy in pJ."""

    cycles: int
    energy: float
    counts: tuple[int, ...]
    tile: tuple[int, ...]
    order: tuple[str, ...]


def ceil(a: int, b: int) -> int:
    return (a + b - 1) // b


def sizes(dimension: int, unit: int = 1) -> list[int]:
    """Doublings of ``unit`` below the dimension, and the dimension itself."""
    found = []
    while unit < dimension:
        found.append(unit)
        unit *= 2
    return [*found, dimension]


def traffic(operand: str, tile: int, half: int, order: tuple[str, ...], trips: dict[str, int]) -> tuple[int, int]:
    """Step 4 of the algorithm, from the innermost loop to the outermost: bits moved, bits resident."""
    moved = resident = tile
    growing = True
    for loop in reversed(order):
        if growing and loop in DEPENDS[operand]:
            moved *= trips[loop]
            if moved > half:
                growing = False
            else:
                resident = moved
        elif not growing:
            moved *= trips[loop]
    return moved, resident


def options(layer: Layer, config: Any) -> list[Option]:
    """Every mapping of a layer that is as fast as the fastest and within 1e-9 of the least energy of those."""
    a, w, n, m = layer.a_bits, layer.w_bits, config.rows, config.columns
    passes = (2 if a > config.max_bits else 1) * (2 if w > config.max_bits else 1)
    a_works, w_works = (min(max(bits, config.min_bits), config.max_bits) for bits in (a, w))
    p = int(config.max_bits / a_works) * int(config.max_bits / w_works)
    kernel = layer.kernel_h * layer.kernel_w
    halves = {k: getattr(config, f"{k[0]}buf_bytes") * 8 // 2 for k in ("inputs", "weights", "outputs")}
    found = []
    for b in sizes(layer.batch):
        for o in sizes(max(layer.h_out, layer.w_out)):
            oh, ow = min(o, layer.h_out), min(o, layer.w_out)
            for ic in sizes(layer.c_in):
                for oc in sizes(layer.c_out, 1 if layer.im2col else m):
                    window = (layer.kernel_h + (oh - 1) * layer.stride) * (layer.kernel_w + (ow - 1) * layer.stride)
                    tile = {
                        "inputs": (oh * ow * kernel if layer.im2col else window) * ic * b * a,
                        "weights": ceil(kernel * ic, n * p) * n * p * oc * w,
                        "outputs": oh * ow * ceil(oc, m) * m * b * 32,
                    }
                    if any(tile[k] > halves[k] for k in tile):
                        continue
                    trips = {
                        "B": ceil(layer.batch, b), "OW": ceil(layer.w_out, ow), "OH": ceil(layer.h_out, oh),
                        "IC": ceil(layer.c_in, ic), "OC": ceil(layer.c_out, oc),
                    }  # fmt: skip
                    steps = ceil(kernel * ic, n * p) if layer.im2col else kernel * ceil(ic, n * p)
                    total = trips["B"] * trips["OW"] * trips["OH"] * trips["IC"] * trips["OC"]
                    compute = b * ceil(oc, m) * oh * ow * steps * passes * total
                    for order in itertools.permutations(trips):
                        walked = {k: traffic(k, tile[k], halves[k], order, trips) for k in tile}
                        spent = account(layer, config, compute, total * b * oh * ow * oc, ic, kernel, walked)
                        found.append(Option(*spent, (b, ow, oh, ic, oc), order))
    if not found:
        return []
    fastest = min(f.cycles for f in found)
    found = [f for f in found if f.cycles == fastest]
    least = min(f.energy for f in found)
    return [f for f in found if f.energy <= least * (1 + 1e-9)]


def account(
    layer: Layer, config: Any, compute: int, outputs: int, ic: int, kernel: int, walked: dict[str, tuple[int, int]]
) -> tuple[int, float, tuple[int, ...]]:
    """Steps 5 to 7: cycles, energy in pJ, counts."""
    width = config.dram_bits_per_cycle
    write, final = walked["outputs"]
    read = sum(moved for moved, _ in walked.values())
    initial = sum(resident for _, resident in walked.values())
    latency = ceil(initial, width) + ceil(final, width)
    stalls = max(0, ceil(read + write - initial - final, width) - compute) + latency
    sums = outputs * 32 + write
    memories = {
        "wbuf_read": outputs * ic * kernel * layer.w_bits, "wbuf_write": walked["weights"][0],
        "ibuf_read": outputs * ic * kernel * layer.a_bits, "ibuf_write": walked["inputs"][0],
        "obuf_read": sums, "obuf_write": sums,
    }  # fmt: skip
    energy = compute * config.core_pj_per_cycle + (read + write) * config.dram_pj_per_bit
    energy += sum(bits * getattr(config, f"{name}_pj_per_bit") for name, bits in memories.items())
    return compute + stalls, energy, (compute, stalls, read, write, *memories.values())
