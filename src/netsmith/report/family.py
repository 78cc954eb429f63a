"""The networks that a step-wise trimming left on its way, as a plot: what each gained and what it lost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from netsmith.report.charts import Point, Series, linear, scatter, wide

_RULES = {"accuracy": "the candidate that lost least won", "ratio": "the least loss for each saved share won"}


def family_plot(summary: Mapping[str, Any]) -> dict[str, Any] | None:
    """Loss over achieved gain of every winner; None where nothing was trimmed step by step."""
    members = summary.get("family") or []
    budgets = [b["cost"] for b in summary["budgets"]]
    if len(members) < 2 or not budgets:
        return None
    cost = max(budgets, key=lambda name: members[-1]["speed_up"].get(name, 0.0))
    name = "MACs" if cost == "macs" else cost
    points = [
        Point(
            m["speed_up"][cost], m["loss"], f"iteration {i}: {m['speed_up'][cost]:.3f} times less {name}, "
            f"loss {m['loss']:.4g}", chosen=i == len(members) - 1,
        )
        for i, m in enumerate(members)
    ]  # fmt: skip
    gains = [p.x for p in points]
    pad = (max(gains) - min(gains)) * 0.05
    plot = scatter(
        [Series("family", points)], linear(min(gains) - pad, max(gains) + pad), wide([p.y for p in points]),
        x_label=f"{name} as given / {name} (achieved)", y_label="loss (less is better)",
        title="Gain and loss of every network of the family",
    )  # fmt: skip
    files = sum(bool(m.get("recipe")) for m in members)
    trained = sum(bool(m.get("weights")) for m in members)
    return {
        "plot": plot, "count": len(members), "rule": _RULES.get(str(summary.get("rule")), ""), "recipes": files,
        "trained": trained,
    }  # fmt: skip
