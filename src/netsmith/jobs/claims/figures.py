"""Claims that follow from each other: budgets from figures, figures from what the stages of the run stored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from netsmith.jobs.claims.claim import Claim, compared, unchecked, unit_of
from netsmith.jobs.claims.evidence import Evidence
from netsmith.units import COST_NAMES

_UNITS = {"latency": "s", "energy": "J", "size": "B", "macs": "count", "memory": "B"}
_KEYS = {"energy": "energy_j", "size": "size_bytes", "macs": "macs", "memory": "memory_bytes"}
#: figures of a result that its stage stored -> what they are, and their unit
_STORED = {
    "macs": ("MACs", "count"), "params": ("parameters", "count"), "size_bytes": ("size", "B"),
    "latency_measured_s": ("latency", "s"),
}  # fmt: skip


def budgets(seen: Evidence) -> Iterator[Claim]:
    """Each budget's value is the figure of the network, and ``met`` is what value and limit say."""
    for budget in seen.summary["budgets"]:
        name, unit = COST_NAMES.get(budget["cost"], budget["cost"]), _UNITS.get(budget["cost"], "")
        value, limit = budget["value"], budget["limit"]
        yield compared(f"value of the budget of {name}", value, cost_of(seen.summary["result"], budget["cost"]), unit)
        keeps = value <= limit * (1 + max(float(budget.get("tolerance") or 0.0), 1e-6))
        yield compared(f"budget of {name} met", budget["met"], keeps, why=f"{value:g} against {limit:g}")


def cost_of(side: Mapping[str, Any], cost: str) -> float | None:
    """A cost of a network by name, as its budget is held against it: latency as measured where it was."""
    if cost == "latency" and side.get("latency_measured_s") is not None:
        return float(side["latency_measured_s"])
    found = side.get("latency_predicted_s" if cost == "latency" else _KEYS.get(cost, ""))
    return None if found is None else float(found)


def stored(seen: Evidence) -> Iterator[Claim]:
    """Figures of the result are those that a stage stored when it built the network."""
    after, built = seen.summary["result"], seen.stages("build-")
    if not built:
        return
    metric = seen.metric
    score = {f"search_{metric.key}": (f"{metric.name} on the search split", unit_of(metric))}
    for key, (what, unit) in (_STORED | score).items():
        values = [stage[key] for stage in built if key in stage]
        if values and after.get(key) is not None:
            found = after[key] if after[key] in values else values[-1]
            yield compared(f"{what}, as its stage stored it", after[key], found, unit)


def priced(seen: Evidence) -> Iterator[Claim]:
    """What a target that only models hardware says of both networks, priced again layer by layer."""
    from netsmith.files import read_json
    from netsmith.hardware.target import as_run, get_target, price
    from netsmith.network.layers import LayerTable

    if not seen.summary.get("simulated") or not seen.has("layers.json"):
        return
    tables, spec = read_json(seen.file("layers.json"), "repeat the run"), str(seen.summary["target"])
    target = get_target(spec)
    if not target.capabilities.by_row:
        yield unchecked("costs on the target", None, f"{spec} prices whole networks only")
        return
    for side, when in (("result", ""), ("baseline", " as given")):
        table = LayerTable.from_dict(tables[side])
        if side == "result":
            said = seen.summary[side]["macs"]
            yield compared("MACs of layers.json", said, int(table.macs.sum()), "count", tolerance=0.0)
        cost = price(target, as_run(table, target.capabilities))
        latency = float(cost.latency_s.sum() + cost.fixed_s)
        joules = None if cost.energy_j is None else float(cost.energy_j.sum())
        for what, key, found, unit in (
            ("latency", "latency_predicted_s", latency, "s"), ("energy", "energy_j", joules, "J"),
        ):  # fmt: skip
            if seen.summary[side].get(key) is not None:
                name = f"{what}{when}, simulated by {spec}"
                yield compared(name, seen.summary[side][key], found, unit, tolerance=1e-6)
