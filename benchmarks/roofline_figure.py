"""Why bits differ by layer and by machine: MobileNetV2 under the roofs of an edge and a cloud accelerator. Seconds.

The reading of HAQ (Wang et al., CVPR 2019): depthwise layers are bound by memory, pointwise ones by compute, so halving
the bits of weights or of activations pays in different layers. All of it is simulated. Writes a picture a machine.
"""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

import common
import numpy as np
from common import Store, table

_PALETTE = ("#1f62c9", "#d97706", "#0f766e", "#a21caf", "#64748b", "#b91c1c", "#7c5a3a", "#0e7490")
_STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#5b6474}.axis{fill:#1b2230}.grid{stroke:#e3e6ec}"
    ".roof{fill:none;stroke:#5b6474;stroke-width:1.5}.hollow{fill:none;stroke-width:1.3}.dot{fill-opacity:.75;stroke:none}"
)
KINDS = ("depthwise", "pointwise", "stem", "classifier")


def kinds_of(layers: Any) -> np.ndarray:
    pointwise = (layers.kernel_h == 1) & (layers.groups == 1)
    named = np.where(layers.is_depthwise, "depthwise", np.where(pointwise, "pointwise", "stem"))
    return np.asarray(np.where(layers.h_out * layers.w_out == 1, "classifier", named))


def study(spec: str, batch: int, side: int) -> dict[str, Any]:
    """Latency, intensity and bound of every kind of layer at 8 bits, and what fewer bits change."""
    from netsmith.hardware import get_target
    from netsmith.hardware.target import roof_of
    from netsmith.network.graph import trace
    from netsmith.network.load import load_model

    layers = trace(load_model("zoo:mobilenet_v2").model, (3, side, side)).layers
    layers = layers.take(layers.is_compute)
    target, kinds = get_target(spec), kinds_of(layers)
    costs = {wa: target.cost(at(layers, *wa), batch) for wa in ((8, 8), (4, 8), (8, 4), (4, 4), (2, 2))}
    base = costs[8, 8]
    found: dict[str, Any] = {"seconds": {f"{w}/{a}": float(c.latency_s.sum()) for (w, a), c in costs.items()}}
    for kind in KINDS:
        here = kinds == kind
        memory = (base.bound == "memory") & here
        found[kind] = {
            "layers": int(here.sum()), "share": float(base.latency_s[here].sum() / base.latency_s.sum()),
            "intensity": np.percentile((layers.macs * batch / base.traffic_bytes)[here], [0, 50, 100]).tolist(),
            "memory": int(memory.sum()), "memory_4": int(((costs[4, 4].bound == "memory") & here).sum()),
            "w4": float(costs[4, 8].latency_s[here].sum() / base.latency_s[here].sum()),
            "a4": float(costs[8, 4].latency_s[here].sum() / base.latency_s[here].sum()),
            "both4": float(costs[4, 4].latency_s[here].sum() / base.latency_s[here].sum()),
        }  # fmt: skip
    roof = roof_of(target, 8, 8)
    assert roof is not None, f"{spec} has no kernel of 8 bits"
    found["ridge"] = roof.ridge
    return found


def at(layers: Any, w_bits: int, a_bits: int) -> Any:
    return layers.replace(w_bits=np.full(len(layers), w_bits), a_bits=np.full(len(layers), a_bits))


def standing_alone(roofline: dict[str, Any], title: str) -> str:
    """The plot as an SVG file that needs nothing else."""
    from netsmith.report.roofline import roofline_plot

    drawn = roofline_plot(roofline)
    assert drawn is not None
    styles = _STYLE + "".join(f".c{n}{{fill:{c};stroke:{c}}}" for n, c in enumerate(_PALETTE))
    names = "".join(
        f'<tspan class="{style}" stroke="none" dx="12">● {escape(name)}</tspan>' for name, style, _ in drawn["legend"]
    )
    head = f'<text class="axis" x="8" y="-26">{escape(title)}</text><text x="-4" y="-8">{names}</text>'
    svg = str(drawn["plot"]).replace('viewBox="0 0 520 340"', 'viewBox="0 -44 520 384" width="780"', 1)
    svg = svg.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    start = svg.index(">") + 1
    return (
        f'{svg[:start]}<style>{styles}</style><rect y="-44" width="520" height="384" fill="#fff"/>{head}{svg[start:]}\n'
    )


def picture(spec: str, batch: int, side: int, folder: Path) -> Path:
    """An SVG that stands alone: layers at 8 bits hollow, at 4 bits filled, under the roofs of both."""
    from netsmith.hardware import get_target
    from netsmith.jobs.roofline import roofline
    from netsmith.network.graph import trace
    from netsmith.network.load import load_model

    layers = trace(load_model("zoo:mobilenet_v2").model, (3, side, side)).layers
    layers = layers.take(layers.is_compute)
    drawn = roofline(get_target(spec), batch=batch, before=at(layers, 8, 8), after=at(layers, 4, 4))
    assert drawn is not None
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"mobilenet_v2-{spec}.svg"
    path.write_text(standing_alone(drawn, f"MobileNetV2 on {spec}, batch {batch}: 8 bits hollow, 4 bits filled"))
    return path


def main() -> None:
    options = common.parser(__doc__ or "")
    options.add_argument("--targets", nargs="+", default=["bismo-edge=1", "bismo-cloud=16"], help="TARGET=BATCH")
    options.add_argument("--side", type=int, default=224)
    options.add_argument("--figures", type=Path, default=common.ROOT / "docs/figures", help="folder of the pictures")
    args = options.parse_args()
    store, rows, totals, pictures = Store(args.results, "roofline_figure"), [], [], []
    for word in args.targets:
        spec, _, batch = word.partition("=")
        found = store.cell(word, {"side": args.side}, lambda s=spec, b=batch: study(s, int(b or 1), args.side))
        for kind in KINDS:
            k = found[kind]
            low, middle, high = k["intensity"]
            rows.append([
                f"{spec}, batch {batch or 1}", kind, k["layers"], f"{100 * k['share']:.0f} %",
                f"{middle:.1f} ({low:.1f} to {high:.1f})", f"{k['memory']} of {k['layers']}",
                f"{k['memory_4']} of {k['layers']}", f"{k['w4']:.2f}x", f"{k['a4']:.2f}x", f"{k['both4']:.2f}x",
            ])  # fmt: skip
        base = found["seconds"]["8/8"]
        totals.append([spec, f"{found['ridge']:.0f}", *(f"{s / base:.2f}x" for s in found["seconds"].values())])
        pictures.append(picture(spec, int(batch or 1), args.side, args.figures))
    head = ["machine", "layers", "number", "share of time", "MACs/byte at 8 bits", "bound by memory at 8/8", "at 4/4",
            "weights to 4", "activations to 4", "both to 4"]  # fmt: skip
    lines = [*table(head, rows), "", *table(["machine", "ridge at 8/8", "8/8", "4/8", "8/4", "4/4", "2/2"], totals), ""]
    lines += [f"![MobileNetV2 under the roofs of a machine](figures/{p.name})" for p in pictures]
    notes = [
        f"MobileNetV2 at {args.side} pixels; widths as weights/activations; latency over that at 8/8. Simulated: none "
        "of these machines was measured, and their constants are assumptions (docs/hardware.md).",
        "MACs/byte: median, smallest and largest. Ridge: MACs a byte from which a layer can be bound by compute.",
    ]
    store.fragment("Why bits differ by layer and by machine", lines, args.threads, notes)


if __name__ == "__main__":
    main()
