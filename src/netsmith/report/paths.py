"""How the blocks of a supernet decided: probabilities of their paths, expected costs, and what was found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

from markupsafe import Markup, escape

from netsmith.metrics import ACCURACY, Metric
from netsmith.report.charts import BYTES, COUNTS, JOULES, SECONDS, curve, linear, thinned, unit_of
from netsmith.report.figures import compared_table
from netsmith.report.networks import SKIP, Paint, networks_plot, paints
from netsmith.units import COST_NAMES, format_cost

_UNITS = {"latency": SECONDS, "energy": JOULES, "macs": COUNTS, "size": BYTES, "memory": BYTES}
_WIDE, _HIGH = 300, 100  #: of one block's areas, before the page stretches them
_STEPS = 48  #: epochs of one block's areas that are drawn


def paths_sections(found: Mapping[str, Any] | None, metric: Metric = ACCURACY) -> dict[str, Any] | None:
    """What a page shows of a search over a supernet, finished or not; None if a run is none.

    Args:
        found: ``specialization`` of a summary, or ``search.json``.
        metric: of the summary.
    """
    if not found:
        return None
    blocks, history = found["blocks"], found["history"]
    searched = [b for b in blocks if len(b["choices"]) > 1]
    colours = paints(c for b in blocks for c in b["choices"])
    shown = sorted({c for b in searched for c in b["choices"]}, key=lambda c: (c == SKIP, list(colours).index(c)))
    end = max(found["epochs"], history[-1]["epoch"]) if history else found["epochs"]
    warm = [h["epoch"] for h in history if h.get("warmup")]
    head, rows = compared_table(found, metric)
    own = [(found["system"] if found["stage"] == "done" else f"{found['system']}, most probable so far", blocks)]
    networks = _compared(found) if rows else own
    return {
        "space": found["space"], "state": search_state(found), "charts": _curves(found, end, max(warm, default=None)),
        "decided": [
            _decided(block, colours, [h["probabilities"][i] for h in history], [h["epoch"] for h in history],
                     max(warm, default=0.0) / end, end)
            for i, block in enumerate(searched)
        ] if history else [],
        "legend": [(choice, colours[choice].attributes) for choice in shown], "warmup": bool(warm), "epochs": end,
        "networks": networks_plot(networks) if networks else "", "head": head, "rows": rows,
    }  # fmt: skip


def is_searched(found: Mapping[str, Any]) -> bool:
    """Whether a search is over, its network perhaps not built yet."""
    history = found["history"]
    return found["stage"] == "done" or bool(history and history[-1]["epoch"] >= found["epochs"])


def search_state(found: Mapping[str, Any]) -> str:
    """How far a search is: ``epoch 12.5 of 30, expected latency 1.23 ms of 1.00 ms``."""
    if is_searched(found):
        return f"the search of {found['epochs']:g} epochs is done, networks are being built and trained"
    if not found["history"]:
        return "the search has begun, nothing is known of its paths yet"
    last = found["history"][-1]
    parts = [f"{'warm-up, ' if last.get('warmup') else ''}epoch {round(last['epoch'], 1):g} of {found['epochs']:g}"]
    for cost, limit in found["limits"].items():
        if cost in last["expected"]:
            now, most = (format_cost(cost, v) for v in (last["expected"][cost], limit))
            so_far = last.get("allowed", {}).get(cost, limit)
            allowed = f" ({format_cost(cost, so_far)} so far)" if so_far > limit else ""
            parts.append(f"expected {COST_NAMES[cost]} {now} of {most}{allowed}")
    return ", ".join(parts)


def _compared(found: Mapping[str, Any]) -> list[tuple[str, list[dict[str, Any]]]]:
    """The networks that were compared, as far as they are of blocks of this space."""
    return [
        (row["label"], [{**b, "chosen": c} for b, c in zip(found["blocks"], row["blocks"], strict=True)])
        for row in found.get("compared") or [] if row.get("blocks")
    ]  # fmt: skip


def _decided(
    block: Mapping[str, Any], colours: Mapping[str, Paint], rows: Sequence[Sequence[float]], epochs: Sequence[float],
    warm: float, end: float,
) -> dict[str, Any]:  # fmt: skip
    """One block of the grid: what it chose, and the probability of every choice as an area over the epochs."""
    choices, chosen = block["choices"], block["chosen"]
    kept = thinned(list(zip(epochs, rows, strict=True)), _STEPS)
    if len(kept) == 1:
        kept = [(0.0, kept[0][1]), *kept]
    xs = [round(_WIDE * epoch / end) for epoch, _ in kept]
    order = sorted(range(len(choices)), key=lambda i: choices[i] == SKIP)  # always on top, as not every block has it
    sums = [list(accumulate(row[i] for i in order)) for _, row in kept]
    out = []
    for place, i in reversed(list(enumerate(order))):  # each is drawn down to the bottom, those below come over it
        top = " ".join(f"{x},{_HIGH * (1 - min(s[place], 1.0)):.1f}" for x, s in zip(xs, sums, strict=True))
        said = f"{choices[i]}: {rows[0][i]:.0%} at first, {rows[-1][i]:.0%} at last"
        out.append(
            f'<polygon {colours[choices[i]].attributes} points="{xs[0]},{_HIGH} {top} {xs[-1]},{_HIGH}">'
            f"<title>{escape(said)}</title></polygon>"
        )
    if warm:
        out.append(f'<rect class="shade" x="0" y="0" width="{_WIDE * min(warm, 1.0):.0f}" height="{_HIGH}"/>')
    name = f"{block['name']}: probabilities of its choices over the epochs"
    svg = (
        f'<svg viewBox="0 0 {_WIDE} {_HIGH}" preserveAspectRatio="none" role="img" aria-label="{escape(name)}" '
        f'class="areas">{"".join(out)}</svg>'
    )
    return {
        "name": block["name"], "chosen": chosen, "share": f"{rows[-1][choices.index(chosen)]:.0%}",
        "paint": colours[chosen].attributes, "plot": Markup(svg),  # every text in it went through escape()
    }  # fmt: skip


def _curves(found: Mapping[str, Any], end: float, warm: float | None) -> list[dict[str, Any]]:
    """Expected costs that have a limit, then the entropy of the paths, each over the epochs."""
    shaded = None if warm is None else (0.0, warm, "warm-up")
    time, charts = linear(0.0, end), list[dict[str, Any]]()
    for cost, limit in found["limits"].items():
        points = [(h["epoch"], h["expected"][cost]) for h in found["history"] if cost in h["expected"]]
        if not points:
            continue
        values = [v for _, v in points]
        unit, scale = unit_of([*values, limit], _UNITS[cost])
        pad = (max(*values, limit) - min(*values, limit)) * 0.14 or limit * 0.14
        name = COST_NAMES[cost]
        plot = curve(
            [(epoch, v * scale) for epoch, v in points], time,
            linear((min(*values, limit) - pad) * scale, (max(*values, limit) + pad) * scale), x_label="epoch",
            y_label=f"expected {name}{'' if unit == '1' else ', ' + unit}", title=f"Expected {name} over the epochs",
            level=(limit * scale, f"limit {format_cost(cost, limit)}"), shaded=shaded,
        )  # fmt: skip
        charts.append({"title": f"Expected {name}", "plot": plot})
    points = [(h["epoch"], h["entropy"]) for h in found["history"] if h.get("entropy") is not None]
    if points:
        plot = curve(
            points, time, linear(0.0, max(v for _, v in points) * 1.08), x_label="epoch",
            y_label="mean entropy, nats", title="Mean entropy of the paths over the epochs", shaded=shaded,
        )  # fmt: skip
        charts.append({"title": "How undecided the blocks were", "plot": plot})
    return charts
