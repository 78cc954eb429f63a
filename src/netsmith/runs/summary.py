"""The summary of a run: one schema for ``summary.json``, for ``--json`` and for the report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from netsmith.errors import InputError
from netsmith.runs.search_record import COSTS, check_search, is_number

#: Figures of a network; measured or predicted ones are null where nothing measured or predicted them.
FIGURES = ("accuracy", "latency_measured_s", "latency_predicted_s", "macs", "params", "size_bytes")
_MAY_BE_NULL = ("accuracy", "latency_measured_s", "latency_predicted_s")
_REQUIRED: dict[str, type | tuple[type, ...]] = {
    "baseline": dict, "result": dict, "budgets": list, "design": (list, dict), "frozen": dict, "seed": int,
    "versions": dict, "run": str,
}  # fmt: skip
_OPTIONAL: dict[str, type | tuple[type, ...]] = {
    "model": str, "data": (dict, str), "config": dict, "target": str, "strategy": str, "methods": (list, str),
    "command": str, "files": dict, "layers": list, "fidelity": list, "trials": list, "timing": dict, "device": dict,
    "roofline": dict, "family": list, "rule": str, "specialization": dict,
    "doubt": dict, "warnings": list, "built_with": dict,
}  # fmt: skip


def check_summary(summary: Any, where: str = "the summary") -> None:
    """Check a summary against the schema; further keys are allowed.

    ``baseline`` and ``result`` have :data:`FIGURES`; they may have ``energy_j`` and ``mean_bits``, ``{"weights",
    "activations"}`` in the mean over all numbers, and ``baseline`` may have ``priced_bits``, the (weight, activation)
    widths that the network as given is priced at, which differ from its own on a target without floating point.
    ``budgets`` are ``{"cost", "limit",
    "value", "met"}`` in SI units, and ``met`` must be what value and limit say; a measured value may come with a
    ``tolerance``, the share by which repeated measurements differ (at most 0.05), which the report states. ``frozen``
    is layer name -> reason.

    Optional are ``layers`` in the order of execution, of ``{"name", "kind", "kernel", "choice", "latency_s", "macs"}``
    with costs as ``{"before", "after"}`` and choices as ``{"width", "of", "bits", "a_bits", "stored_bits", "pinned"}``:
    bits of weights and of the input (the same if ``a_bits`` is absent), what both take in ``model.onnx`` (more than
    their bits where these are simulated), and whether there was no choice of them. A removed layer has width and bits
    0. ``fidelity`` is of ``{"predicted_s", "measured_s"}``; ``trials`` of ``{"strategy", "latency_s"}``, ``accuracy``
    or ``loss``, perhaps ``energy_j``, and the flags ``measured`` and ``chosen``. ``additivity`` is the rank
    correlation, ``spearman``, of summed losses and what ``n`` random designs lose. ``family`` has the networks that a
    step-wise trimming left on its way, the one as given first: ``{"design", "loss", "costs", "speed_up", "resource",
    "limit", "recipe", "weights"}``, and ``rule`` is how its winners were chosen.
    ``doubt`` is what speaks against the accuracy of the network as given, see :mod:`netsmith.jobs.doubt`, and
    ``warnings`` are sentences that every reader of the figures must see. ``specialization`` is what a search over a
    supernet found, see :func:`netsmith.runs.search_record.check_search`. ``built_with`` is what the network as given is
    built with again from ``model``: ``num_classes`` (null where it decides that itself), ``input_shape``, and ``code``,
    a digest of the user's files that it comes from.

    Raises:
        InputError: names the field at fault.
    """

    def fail(problem: str) -> InputError:
        return InputError(f"{where} is no summary of a run: {problem}; repeat the run with this netsmith")

    if not isinstance(summary, Mapping):
        raise fail("it is no mapping")
    for key, kind in _REQUIRED.items():
        if key not in summary:
            raise fail(f"{key!r} is missing")
        if not isinstance(summary[key], kind) or isinstance(summary[key], bool):
            raise fail(f"{key!r} has the wrong type, {type(summary[key]).__name__}")
    for key, kind in _OPTIONAL.items():
        if summary.get(key) is not None and not isinstance(summary[key], kind):
            raise fail(f"{key!r} has the wrong type, {type(summary[key]).__name__}")
    for side in ("baseline", "result"):
        for figure in FIGURES:
            value = summary[side].get(figure, "absent")
            if not (is_number(value) and value >= 0) and not (value is None and figure in _MAY_BE_NULL):
                raise fail(f"{side}.{figure} is {value!r}, not a number of 0 or more")
        accuracy = summary[side]["accuracy"]
        if accuracy is not None and accuracy > 1:
            raise fail(f"{side}.accuracy is {accuracy}, not a share of at most 1")
        mean = summary[side].get("mean_bits")
        if mean is not None and not (isinstance(mean, Mapping) and {"weights", "activations"} <= set(mean)):
            raise fail(f"{side}.mean_bits must have 'weights' and 'activations'")
    for i, budget in enumerate(summary["budgets"]):
        _check_budget(budget, f"budgets[{i}]", fail)
    for name, reason in summary["frozen"].items():
        if not isinstance(reason, str) or not reason:
            raise fail(f"frozen[{name!r}] gives no reason")
    for i, row in enumerate(summary.get("layers") or []):
        if not isinstance(row, Mapping) or not isinstance(row.get("name"), str):
            raise fail(f"layers[{i}] has no name")
        _check_choice(row.get("choice"), f"layers[{i}].choice", fail)
        for cost in ("latency_s", "macs"):
            pair = row.get(cost)
            if pair is not None and not (isinstance(pair, Mapping) and {"before", "after"} <= set(pair)):
                raise fail(f"layers[{i}].{cost} must have 'before' and 'after'")
    for i, row in enumerate(summary.get("fidelity") or []):
        if not isinstance(row, Mapping) or not all(is_number(row.get(k)) for k in ("predicted_s", "measured_s")):
            raise fail(f"fidelity[{i}] needs the numbers 'predicted_s' and 'measured_s'")
    for i, row in enumerate(summary.get("trials") or []):
        if not isinstance(row, Mapping) or not is_number(row.get("latency_s")):
            raise fail(f"trials[{i}] needs the number 'latency_s'")
        if not any(is_number(row.get(k)) for k in ("accuracy", "loss")):
            raise fail(f"trials[{i}] needs the number 'accuracy' or 'loss'")
    if summary.get("specialization") is not None:
        check_search(summary["specialization"], "specialization", fail)


def kept_budgets(limits: Mapping[str, float], values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The key ``budgets``: each limit and what was reached, SI units."""
    return [{"cost": n, "limit": v, "value": values[n], "met": bool(values[n] <= v)} for n, v in limits.items()]


def all_met(summary: Mapping[str, Any]) -> bool:
    """Whether every budget is met; the exit code is 0 only then."""
    return all(budget["met"] for budget in summary["budgets"])


def _check_choice(choice: Any, name: str, fail: Any) -> None:
    if choice is None:
        return
    if not isinstance(choice, Mapping):
        raise fail(f"{name} is no mapping")
    for key in ("bits", "a_bits"):
        bits = choice.get(key)
        if bits is not None and not (isinstance(bits, int) and not isinstance(bits, bool) and 0 <= bits <= 32):
            raise fail(f"{name}.{key} is {bits!r}, not a whole number of 0 to 32")
    stored = choice.get("stored_bits")
    if stored is not None and not (isinstance(stored, list) and len(stored) == 2 and all(map(is_number, stored))):
        raise fail(f"{name}.stored_bits is {stored!r}, not two numbers")


def _check_budget(budget: Any, name: str, fail: Any) -> None:
    if not isinstance(budget, Mapping) or not {"cost", "limit", "value", "met"} <= set(budget):
        raise fail(f"{name} needs 'cost', 'limit', 'value' and 'met'")
    cost, limit, value, met = (budget[k] for k in ("cost", "limit", "value", "met"))
    if cost not in COSTS:
        raise fail(f"{name}.cost is {cost!r}, not one of {', '.join(COSTS)}")
    if not is_number(limit) or limit <= 0 or not is_number(value) or not isinstance(met, bool):
        raise fail(f"{name} has a limit, value or met of the wrong kind")
    tolerance = budget.get("tolerance", 0.0)
    if not is_number(tolerance) or not 0 <= tolerance <= 0.05:
        raise fail(f"{name}.tolerance is {tolerance!r}, not a share of at most 0.05")
    # a hair for rounding on the way, and what is said openly; none for wishful thinking
    if met and value > limit * (1 + max(tolerance, 1e-6)):
        raise fail(f"{name} says met, but {value:g} is above {limit:g} and no tolerance is stated")
    if not met and value <= limit * (1 - 1e-6):
        raise fail(f"{name} says not met, but {value:g} is within {limit:g}")
