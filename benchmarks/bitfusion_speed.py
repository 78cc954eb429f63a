"""How fast Bit Fusion prices networks, mapping search included: every layer at every pair of bit-widths.

Seconds on one core. All layers of ResNet-50 and MobileNetV2 (224 pixels) at the 49 pairs of 2 to 8 bits on a target
that has seen nothing; and, for scale, one of these layers by the exhaustive transcription that the tests compare with.
"""

from __future__ import annotations

import dataclasses
import os
import resource
import statistics
import sys
import time
from typing import Any

import common
import numpy as np
from common import ROOT, Store, table

from netsmith.hardware.simulated.bitfusion import BitFusion, published
from netsmith.network.layers import KIND, LayerTable

Row = dict[str, Any]
BITS = [(w, a) for w in range(2, 9) for a in range(2, 9)]
CONFIGS = ("bitfusion", "bitfusion-cloud", "bitfusion-small")


def conv(name: str, c_in: int, c_out: int, kernel: int, out: int, stride: int = 1, groups: int = 1) -> Row:
    return {
        "name": name, "kind": KIND["conv"], "c_in": c_in, "c_out": c_out, "kernel_h": kernel, "kernel_w": kernel,
        "stride": stride, "groups": groups, "h_in": out * stride, "w_in": out * stride, "h_out": out, "w_out": out,
    }  # fmt: skip


def resnet50() -> list[Row]:
    """54 layers: stride in the 3 x 3 convolution, as torchvision has it (4.09 GMACs)."""
    rows, c_in = [conv("conv1", 3, 64, 7, 112, 2)], 64
    for stage, (width, depth) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3))):
        out = 56 >> stage
        for block in range(depth):
            name, stride = f"layer{stage + 1}.{block}", 2 if stage and not block else 1
            rows += [
                conv(f"{name}.conv1", c_in, width, 1, out * stride),
                conv(f"{name}.conv2", width, width, 3, out, stride),
                conv(f"{name}.conv3", width, 4 * width, 1, out),
            ]
            if not block:
                rows.append(conv(f"{name}.downsample", c_in, 4 * width, 1, out, stride))
            c_in = 4 * width
    return [*rows, {"name": "fc", "kind": KIND["linear"], "c_in": c_in, "c_out": 1000}]


def mobilenet_v2() -> list[Row]:
    """53 layers (0.301 GMACs)."""
    rows, c_in, out = [conv("conv1", 3, 32, 3, 112, 2)], 32, 112
    stages = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
    for expansion, c_out, depth, stride in stages:
        for block in range(depth):
            name, wide = f"stage{c_out}.{block}", expansion * c_in
            if expansion > 1:
                rows.append(conv(f"{name}.expand", c_in, wide, 1, out))
            step = 1 if block else stride
            out //= step
            rows.append(conv(f"{name}.depthwise", wide, wide, 3, out, step, wide))
            rows.append(conv(f"{name}.project", wide, c_out, 1, out))
            c_in = c_out
    rows.append(conv("last", c_in, 1280, 1, out))
    return [*rows, {"name": "fc", "kind": KIND["linear"], "c_in": 1280, "c_out": 1000}]


def at_all_bits(layers: LayerTable) -> LayerTable:
    """A population of one design for each pair of widths."""
    bits, shape = np.array(BITS), (len(BITS), len(layers))
    return layers.replace(w_bits=np.broadcast_to(bits[:, :1], shape), a_bits=np.broadcast_to(bits[:, 1:], shape))


def price(name: str, batch: int, repeats: int) -> dict[str, Any]:
    """Both networks at every pair of widths on a fresh target, and once more on the one that has seen them."""
    rows = [row for layers in (resnet50(), mobilenet_v2()) for row in layers]
    designs = at_all_bits(LayerTable.from_rows([row | {"name": f"layer{i}"} for i, row in enumerate(rows)]))
    BitFusion(published(name)).cost(LayerTable.from_rows([rows[0] | {"w_bits": 8, "a_bits": 8}]))  # imports
    found: dict[str, list[float]] = {"seconds": [], "cpu": [], "again": []}
    for _ in range(repeats):
        target = BitFusion(published(name))
        start, cpu = time.perf_counter(), time.process_time()
        cost = target.cost(designs, batch)
        found["seconds"].append(time.perf_counter() - start)
        found["cpu"].append(time.process_time() - cpu)
        cpu = time.process_time()
        target.cost(designs, batch)
        found["again"].append(time.process_time() - cpu)
    distinct = np.unique(np.stack([c.ravel() for c in designs.columns.values()]), axis=1)
    return {k: statistics.median(v) for k, v in found.items()} | {
        "rows": cost.latency_s.size, "distinct": distinct.shape[1], "load": os.getloadavg()[0],
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }  # fmt: skip


def exhaustive() -> dict[str, Any]:
    """One layer by the literal transcription of the published algorithm, every tile and all 120 orders in Python."""
    sys.path.insert(0, str(ROOT / "tests"))
    from bitfusion_exhaustive import Layer, options

    row = next(r for r in resnet50() if r["name"] == "layer2.1.conv2")
    config = published("bitfusion")
    layer = Layer(3, 3, 1, row["c_in"], row["c_out"], row["h_out"], row["w_out"], 1, False, 8, 8)
    start = time.process_time()
    best = options(layer, config)[0]
    seconds = time.process_time() - start
    ours = BitFusion(config).cost(LayerTable.from_rows([row | {"w_bits": 8, "a_bits": 8}]))
    assert ours.cycles is not None and int(ours.cycles[0]) == best.cycles
    return {"layer": f"ResNet-50 {row['name']}", "cpu": seconds}


def main() -> None:
    options = common.parser(__doc__ or "")
    options.add_argument("--repeats", type=int, default=5, help="times that each cell is timed; the median counts")
    options.add_argument("--batches", nargs="+", type=int, default=[1, 16])
    args = options.parse_args()
    for rows, count, macs in ((resnet50(), 54, 4_089_184_256), (mobilenet_v2(), 53, 300_774_272)):
        assert (len(rows), LayerTable.from_rows(rows).macs.sum()) == (count, macs)
    store, lines = Store(args.results, "bitfusion_speed"), []
    slow = store.cell("exhaustive", {"bits": [8, 8]}, exhaustive)
    for name in CONFIGS:
        for batch in args.batches:
            settings = {"target": dataclasses.asdict(published(name)), "batch": batch, "repeats": args.repeats}
            r = store.cell(f"{name} {batch}", settings, lambda n=name, b=batch: price(n, b, args.repeats))
            each = r["cpu"] / r["distinct"]
            lines.append([
                name, batch, r["rows"], r["distinct"], f"{r['cpu']:.3f}", f"{r['seconds']:.3f}", f"{1e6 * each:.0f}",
                f"{slow['cpu'] / each:.0f}" if (name, batch) == ("bitfusion", 1) else "", f"{r['again']:.3f}",
                f"{r['memory'] / 1e6:.0f}", f"{r['load']:.1f}",
            ])  # fmt: skip
    head = ["target", "batch", "rows", "distinct", "CPU seconds", "seconds", "us a distinct row", "times as fast",
            "CPU seconds again", "memory of the process, MB", "load"]  # fmt: skip
    notes = [
        f"All layers of ResNet-50 and MobileNetV2 at {len(BITS)} pairs of weight and activation bits; the best of all "
        f"tiles and loop orders for each. Medians of {args.repeats} fresh targets; *again*: the same table on "
        "the same target.",
        f"Times as fast: than the exhaustive transcription in pure Python, {slow['cpu'] * 1e3:.0f} ms of CPU for "
        f"{slow['layer']} at 8 bits, which finds the same cycles.",
        "Load: of the machine after the cell; above the number of cores, seconds are longer than CPU seconds.",
    ]
    store.fragment("Pricing networks on Bit Fusion", table(head, lines), 1, notes)


if __name__ == "__main__":
    main()
