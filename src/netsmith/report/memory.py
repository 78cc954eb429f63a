"""What lies in memory while a network runs: a bar for each step, as given and of the result, with what is allowed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup, escape

from netsmith.report.charts import BOTTOM, BYTES, LOW, frame, linear, thinned, unit_of
from netsmith.units import format_bytes

_SIDES = (("baseline", "as given", "c1"), ("result", "result", "c0"))
_MOST = 250  #: steps of one network that are drawn
_HELD = 3  #: tensors that are named


def memory_plot(summary: Mapping[str, Any]) -> dict[str, Any] | None:
    """The chart and its legend, from the key ``memory`` of a summary; None if there is nothing to show.

    The steps of both networks are spread over the same width, so that what runs early stands at the left in both.
    """
    found = summary.get("memory") or {}
    both = [(name, style, found[key]) for key, name, style in _SIDES if found.get(key)]
    if not both:
        return None
    limit = next((b["limit"] for b in summary["budgets"] if b["cost"] == "memory"), None)
    unit, factor = unit_of([record["peak_bytes"] for _, _, record in both], BYTES)
    top = max([*(record["peak_bytes"] for _, _, record in both), limit or 0.0]) * factor * 1.05
    title = "Bytes in memory at each step of a run, as given and of the result"
    at, out = frame(linear(0, 1), linear(0, top), "steps of a run, in order", f"in memory ({unit})", title, LOW)
    for _, style, record in both:
        bars = list(zip(record["steps"], record["bytes"], strict=True))
        kept = thinned(list(enumerate(bars)), _MOST)
        width = at(1, 0)[0] - at(0, 0)[0]
        out.append(f'<g class="{style} bars">')
        for i, (step, size) in kept:
            x, y = at(i / len(bars), size * factor)
            height = LOW - BOTTOM - y
            out.append(
                f'<rect class="dot" x="{x}" y="{y}" width="{width / len(kept) * 0.9:.2f}" height="{height:.1f}">'
                f"<title>{escape(step)}: {format_bytes(size)}</title></rect>"
            )
        out.append("</g>")
    if limit is not None:
        (x1, y), (x2, _) = at(0, limit * factor), at(1, limit * factor)
        out.append(f'<line class="limit" x1="{x1}" x2="{x2}" y1="{y}" y2="{y}"/>')
        out.append(f'<text class="limit-name" x="{x2 - 4}" y="{y - 5}" text-anchor="end">allowed</text>')
    says = [f"{name}: {peak_sentence(record)}" for name, _, record in both]
    return {
        "plot": Markup("".join(out) + "</svg>"), "says": says,  # every text in it went through escape()
        "legend": [(name, style) for name, style, _ in both],
    }  # fmt: skip


def peak_sentence(record: Mapping[str, Any]) -> str:
    """``6.02 MB while features.2.conv.1.0 runs: x 4.82 MB, y 1.20 MB``."""
    held = [f"{name} {format_bytes(size)}" for name, size in record["held"].items()]
    more = f" and {len(held) - _HELD} more" if len(held) > _HELD else ""
    return f"{format_bytes(record['peak_bytes'])} while {record['step']} runs: {', '.join(held[:_HELD])}{more}"


def fit_lines(profile: Mapping[str, Any]) -> list[str]:
    """Whether a network fits into a target with limits of its own, and how many bytes are missing where."""
    found = profile.get("fits") or {}
    lines = []
    for cost, fit in found.items():
        where = "SRAM" if cost == "memory" else "flash"
        of = f"{format_bytes(fit['needed'])} of {format_bytes(fit['limit'])}"
        missing = f"does not fit, {fit['missing']:.0f} bytes are missing" if fit["missing"] > 0 else "fits"
        lines.append(f"{where}: {missing} ({of})")
    return lines
