"""How a run was measured, in words: no key of a file, no figure without what it is of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from netsmith.metrics import metric_of
from netsmith.report.scores import each_of
from netsmith.runs.summary import PARITY
from netsmith.units import format_seconds

_DEVICE = {
    "name": "device", "flags": "instruction sets", "cores": "processor cores", "os": "system", "python": "Python",
}  # fmt: skip
_TOOK = {"search": "search_seconds", "training": "train_seconds"}  #: parts of a specialization
_PARITY = {"relative_error", "agreement", "ok"}


def facts_of(summary: Mapping[str, Any], config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Names and values of what a run says of how it was come by."""
    facts: list[tuple[str, str]] = []
    device = summary.get("device") or {}
    if device and not (summary.get("simulated") and set(device) <= {"name", "simulated"}):
        facts += [(_DEVICE.get(k, spaced(k)), plain(v)) for k, v in device.items() if v not in (None, "", [])]
    target = summary.get("target") or config.get("target")
    if target and summary.get("simulated"):
        facts.append(("costs", f"predicted by target {target}, simulated: the network itself did not run on it"))
    elif target:
        facts.append(("target", str(target)))
    threads = config.get("threads")
    if threads is not None and "threads" not in device and not summary.get("simulated"):
        facts.append(("threads", str(threads)))
    facts += _timing(summary)
    found = summary.get("specialization")
    if found:
        facts += [("space", str(found["space"])), ("system", str(found["system"]))]
        took = ", ".join(f"{name} {format_seconds(found[key])}" for name, key in _TOOK.items() if found.get(key))
        facts += [("time", took)] if took else []
    data = summary.get("data")
    if isinstance(data, Mapping):
        facts.append(("data", " – ".join(str(v) for v in data.values() if v)))
    elif data or config.get("data"):
        facts.append(("data", str(data or config.get("data"))))
    facts += [("data, as read", sentence) for sentence in summary.get("data_notes") or []]
    metric = metric_of(summary)
    if summary.get(f"{metric.key}_split"):
        facts.append((f"{metric.name} on", plain(summary[f"{metric.key}_split"])))
    given = summary["baseline"].get("as_given")
    if given:
        facts.append(("network as given", plain(given)))
    if summary.get("parity"):
        facts.append(("exported file against torch", parity_in_words(summary["parity"], each_of(summary))))
    fusion = summary.get("fusion") or {}
    if fusion.get("expected"):
        fused = min(fusion.get("fused", 0), fusion["expected"])
        facts.append(("integer layers", f"{fused} of {fusion['expected']} run in integer kernels"))
    return [*facts, *_loss(summary), ("seed", str(summary["seed"]))]


def parity_in_words(parity: Mapping[str, Any], each: str = "images") -> str:
    """How well an exported file agrees with the network that it was made of, on examples that are called ``each``."""
    error, agreement = parity["relative_error"], parity.get("agreement")
    words = f"outputs differ by {'less than 0.1 %' if error < 1e-3 else f'{100 * error:.2g} %'} of their spread"
    if agreement is not None:
        same = f"every {each.removesuffix('s')}" if agreement >= 1 else f"{100 * agreement:.3g} % of the {each}"
        words += f", the same class for {same} that was compared" if agreement >= 1 else f", the same class for {same}"
    if parity.get("jitter"):
        words += f"; the network's own move by {100 * parity['jitter']:.2g} % when its weights do by a millionth"
    return words if parity.get("ok", True) else f"{words}: too much"


def plain(value: Any, seconds: bool = False) -> str:
    """A value of a file as text; keys that end in ``_s`` are seconds, two numbers are an interval."""
    if isinstance(value, Mapping):
        if set(value) >= _PARITY and PARITY.problem(value, "") is None:
            return parity_in_words(value)
        return ", ".join(f"{spaced(k)} {plain(v, str(k).endswith('_s'))}" for k, v in value.items() if v is not None)
    if isinstance(value, (list, tuple)):
        interval = len(value) == 2 and all(isinstance(v, float) for v in value)
        return (" to " if interval else ", ").join(plain(v, seconds) for v in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return format_seconds(value) if seconds else f"{value:.4g}"
    return str(value)


def spaced(key: Any) -> str:
    """``latency_s`` -> ``latency``, ``batch_size`` -> ``batch size``."""
    return str(key).removesuffix("_s").replace("_", " ")


def _timing(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What was timed against what; the latencies of the table are not the medians that stand here, and why."""
    timing = dict(summary.get("timing") or {})
    facts = []
    ratio, interval = timing.pop("ratio", None), timing.pop("ratio_ci", None)
    sessions, rounds = timing.pop("session_ratios", []), timing.pop("rounds", None)
    if ratio is not None:
        words = [f"{ratio:.3g} of the latency before" + (f", 95 % interval {plain(interval)}" if interval else "")]
        if rounds:
            words.append(f"both in turn, {rounds} rounds" + (f" in {len(sessions)} sessions" if sessions else ""))
        facts.append(("timed against each other", "; ".join(words)))
    medians = []
    for name, key in (("before", "baseline"), ("after", "model")):
        median, spread = timing.pop(f"{key}_median_s", None), timing.pop(f"{key}_iqr_s", None)
        if median is not None:
            around = f" (half of the rounds within {format_seconds(spread)})" if spread is not None else ""
            medians.append(f"{name} {format_seconds(median)}{around}")
    if medians:
        facts.append(("medians of one session", ", ".join(medians)))
    before, after = (summary[side].get("latency_measured_s") for side in ("baseline", "result"))
    if before and after and ratio is not None:
        facts.append((
            "latencies above", f"{format_seconds(before)} before is the network alone, in the quietest of its sessions "
            f"and before the search, since budgets refer to it; {format_seconds(after)} after is that times the ratio",
        ))  # fmt: skip
    return facts + [(spaced(k), plain(v, k.endswith("_s"))) for k, v in timing.items()]


def _loss(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The loss that was searched by; a bound is one on sums, and no bound on a loss that was found by running."""
    loss, bound = summary.get("loss"), summary.get("bound")
    run = bool(summary.get("additivity"))
    facts = []
    if loss is not None:
        facts.append(
            ("loss of the design, as run" if run else "estimated loss (of single choices, summed)", plain(loss))
        )
    if bound is not None:
        name = "least sum of losses of single choices, proven" if run else "proven lower bound of that sum"
        facts.append((name, plain(bound)))
    return facts
