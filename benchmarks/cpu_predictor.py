"""How true are latencies predicted for this CPU, on networks that were never measured whole? A minute a network.

Architectures of ``any_network.py`` with random weights, fp32 and with every quantizable layer in int8. Predicted twice:
from the table of measured layers, added up with the conversions between them; and by a predictor that was trained on
the measured layers of the *other* networks only, so that it never saw a layer of the one it is asked about.
"""

from __future__ import annotations

from typing import Any

import common
import numpy as np
from any_network import BATCH, NETWORKS, build, warm
from common import Store, table

CHOSEN = (
    "timm:resnet18", "timm:resnet26d", "timm:seresnet18", "timm:vgg11_bn", "timm:mobilenetv1_100",
    "timm:mobilenetv2_100", "timm:mobilenetv3_small_100", "timm:mobilenetv3_large_100", "timm:efficientnet_b0",
    "timm:mnasnet_100", "timm:ghostnet_100", "torchvision:squeezenet1_1", "timm:regnetx_002", "timm:regnety_002",
    "timm:convnext_atto", "timm:vit_tiny_patch16_224", "timm:repvgg_a0", "timm:fbnetc_100", "timm:lcnet_050",
    "timm:tinynet_e", "timm:ese_vovnet19b_dw", "timm:selecsls42b", "timm:dla34", "timm:densenet121",
)  # fmt: skip


SESSIONS = 4  #: half of them before the layers are measured and half after


def measure(spec: str, args: Any) -> dict[str, Any]:
    """Both forms of a network: measured whole, predicted from the table, and the keys of their rows."""
    import torch

    from netsmith.compression.build import integerise
    from netsmith.decisions.demand import rows_asked
    from netsmith.decisions.given import GivenSpace
    from netsmith.decisions.integers import Integers
    from netsmith.decisions.pricing import Pricing
    from netsmith.export.onnx import to_onnx
    from netsmith.hardware.measured.cpu import CpuTarget
    from netsmith.hardware.table.keys import keys_of
    from netsmith.network.graph import trace

    side = NETWORKS[spec]
    images = torch.randn(2 * BATCH, 3, side, side, generator=torch.Generator().manual_seed(1))
    model = build(spec, args.seed)
    warm(model, images)
    graph = trace(model, (3, side, side))
    folder = args.results / "cpu_predictor"
    folder.mkdir(parents=True, exist_ok=True)
    target = CpuTarget(args.threads)
    space = GivenSpace(graph, (Integers(graph, ((8, 8), (32, 32))),))
    pricing = Pricing(space, target)
    _, quantized = integerise(
        model, (3, side, side), dict.fromkeys(space.quantized, (8, 8)), images, "minmax", batch=BATCH
    )
    assert quantized is not None
    contents = {"fp32": to_onnx(graph), "int8": to_onnx(quantized.graph, quantized.weight_scales)}
    files = {}
    for form, content in contents.items():
        files[form] = folder / f"{spec.replace(':', '-')}-{form}.onnx"
        files[form].write_bytes(content.SerializeToString())

    def session(seed: int) -> dict[str, Any]:
        return common.time_interleaved(files, args.threads, args.seconds / SESSIONS, seed=seed)

    timed = [session(i) for i in range(SESSIONS // 2)]
    target.prepare(rows_asked(pricing))
    timed += [session(i) for i in range(SESSIONS // 2, SESSIONS)]
    designs = {"fp32": space.reference, "int8": np.zeros_like(space.reference)}
    found: dict[str, Any] = {"int8_layers": len(space.quantized), "layers": int(graph.layers.is_compute.sum())}
    for form, design in designs.items():
        rows = pricing.rows(design)
        found[form] = {
            "measured_s": min(t[form]["quiet_ms"] for t in timed) / 1e3,
            "sessions_s": [t[form]["quiet_ms"] / 1e3 for t in timed],
            "median_s": float(np.median([t[form]["ms"] for t in timed])) / 1e3,
            "predicted_s": float(pricing.predict(design)[0]),
            "rows": rows.to_dict(), "keys": keys_of(rows).tolist(),
        }  # fmt: skip
        files[form].unlink()
    return found


def main() -> None:
    options = common.parser(__doc__ or "")
    options.set_defaults(seconds=4.0)
    options.add_argument("--networks", nargs="+", default=list(CHOSEN), choices=list(NETWORKS))
    options.add_argument("--kind", default="trees", help="of the predictor: ridge, trees, mlp or best")
    args = options.parse_args()
    common.allow_torchvision()
    store = Store(args.results, "cpu_predictor")
    settings = {"threads": args.threads, "seed": args.seed}
    found = {spec: store.cell(spec, settings, lambda s=spec: measure(s, args)) for spec in args.networks}
    unseen = {
        spec: store.cell(f"unseen {spec}", [args.kind, *sorted(found)], lambda s=spec: held_out(s, found, args))
        for spec in found
    }
    report(store, args, found, unseen)


def held_out(spec: str, found: dict[str, Any], args: Any) -> dict[str, Any]:
    """Both forms of ``spec`` by a predictor trained on measured layers that it does not have.

    Rows of a kind that no other network has cannot be priced; they count as nothing, and how many there are is noted.
    """
    from dataclasses import replace

    from netsmith.hardware.measured.cpu import CpuTarget
    from netsmith.hardware.predictor import fit_layers
    from netsmith.hardware.predictor.target import PredictorTarget
    from netsmith.network.layers import LayerTable

    table = CpuTarget(args.threads).table
    own = {tuple(k) for form in ("fp32", "int8") for k in found[spec][form]["keys"]}
    others = {tuple(k) for s in found if s != spec for form in ("fp32", "int8") for k in found[s][form]["keys"]}
    known = {k: e for k, e in table.entries.items() if tuple(k) in others - own}
    target = PredictorTarget(fit_layers(replace(table, entries=known), args.kind, seed=args.seed))
    prices = {}
    for form in ("fp32", "int8"):
        rows = LayerTable.from_dict(found[spec][form]["rows"])
        lacking = set(target.unpriced(rows))
        cost = target.cost(rows.take(np.array([n not in lacking for n in rows.names])))
        count = sum(n in lacking for n in rows.names)
        prices[form] = {"seconds": float(cost.latency_s.sum() + cost.fixed_s), "unpriced": count}
    return prices


def report(store: Store, args: Any, found: dict[str, Any], unseen: dict[str, Any]) -> None:
    from scipy.stats import kendalltau

    rows, scores = [], []
    for spec, f in found.items():
        cells = [spec, f"{f['int8_layers']} of {f['layers']}"]
        for form in ("fp32", "int8"):
            m = f[form]["measured_s"]
            other = unseen[spec][form]
            lacking = f" ({other['unpriced']} rows lack)" if other["unpriced"] else ""
            off = [f"{100 * (p / m - 1):+.1f} %" for p in (f[form]["predicted_s"], other["seconds"])]
            cells += [f"{m * 1e3:.3f}", off[0], off[1] + lacking]
        rows.append(cells)
    head = ["network", "int8 layers", "fp32, ms", "table", "unseen layers", "int8, ms", "table", "unseen layers"]
    lines = [*table(head, rows), ""]
    for form in ("fp32", "int8"):
        for name, predicted in (
            ("table of measured layers", {s: f[form]["predicted_s"] for s, f in found.items()}),
            ("predictor, layers of other networks only", {s: u[form]["seconds"] for s, u in unseen.items()}),
        ):
            p = np.array(list(predicted.values()))
            m = np.array([found[s][form]["measured_s"] for s in predicted])
            error = np.abs(p / m - 1)
            scores.append([
                form, name, len(p), *(f"{100 * v:.1f} %" for v in (error.mean(), np.median(error), error.max())),
                f"{100 * (error <= 0.1).mean():.0f} %", f"{kendalltau(p, m).statistic:.3f}",
            ])  # fmt: skip
    lines += table(
        ["form", "predicted by", "networks", "MAPE", "median", "worst", "within 10 %", "Kendall tau"], scores
    )
    notes = [
        f"{len(found)} architectures with random weights at the side lengths of any_network.py, batch 1; measured: "
        f"the least disturbed of {SESSIONS} sessions, half before and half after the layers' own (Timing.quiet_s; the "
        "time of a layer is the same statistic of its samples).",
        "table: every layer of the network measured alone, added up, with conversions and glue; the whole network was "
        "never timed before. unseen layers: no layer with equal shape, bits and surroundings was in the training set; "
        "rows of a kind, activation and precision that no other network has count as nothing.",
    ]
    store.fragment("Latency predicted for this CPU", lines, args.threads, notes)


if __name__ == "__main__":
    main()
