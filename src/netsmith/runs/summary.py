"""The summary of a run: one schema for ``summary.json``, for ``--json`` and for the report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from netsmith.errors import InputError, shown
from netsmith.runs.front_record import FRONT
from netsmith.runs.search_record import COSTS, SEARCH
from netsmith.shapes import MOST, Anything, Either, Flag, List, Named, Number, OrNull, Record, Text

_AMOUNT, _WHOLE, _SHARE = Number(low=0), Number(low=0, whole=True), Number(low=0, high=1)
_POSITIVE, _COUNT = Number(low=1 / MOST), Number(low=1, whole=True)
_BITS = Number(low=0, high=32, whole=True)
_PAIR = Record({"before": OrNull(_AMOUNT), "after": OrNull(_AMOUNT)})
_MEASURED = 0.05  #: the most by which repeated measurements may differ, as a share


def _budget_rule(budget: Mapping[str, Any]) -> str | None:
    limit, value, tolerance = budget["limit"], budget["value"], budget.get("tolerance") or 0.0
    # a hair for rounding on the way, and what is said openly; none for wishful thinking
    if budget["met"] and value > limit * (1 + max(tolerance, 1e-6)):
        return f"met is true, but {value:g} is above {limit:g} and no tolerance is stated"
    if not budget["met"] and value <= limit * (1 - 1e-6):
        return f"met is false, but {value:g} is within {limit:g}"
    return None


def _together(summary: Mapping[str, Any]) -> str | None:
    """What does not fit together: losses or accuracies of all trials, gains of a family in what is budgeted, files."""
    trials = summary.get("trials") or []
    missing = [i for i, trial in enumerate(trials) if trial.get("loss") is None]
    if missing and any(trial.get("accuracy") is None for trial in trials):
        return f"trials[{missing[0]}] has no loss, and not every trial has an accuracy"
    where = f"{summary['front']['chosen']}/" if summary.get("front") else ""
    for name, place in (summary.get("files") or {}).items():
        if place != where + name:
            return f"files[{shown(name)}] is {shown(place)}, not {shown(where + name)}"
    costs = {budget["cost"] for budget in summary["budgets"]}
    for i, member in enumerate(summary.get("family") or []):
        if absent := costs - set(member["speed_up"]):
            return f"family[{i}].speed_up has no {', '.join(sorted(absent))}, which has a budget"
    return None


def _certificate_rule(found: Mapping[str, Any]) -> str | None:
    asked, bound = found.get("asked") or {}, found.get("loss_bound")
    kept = True
    if asked.get("max_drop") is not None:
        kept = bound is not None and bound <= asked["max_drop"]
    if asked.get("min_score") is not None:
        kept = kept and found["score_bound"] >= asked["min_score"]
    if found.get("met") is not None and bool(found["met"]) is not kept:
        return f"met is {'true' if found['met'] else 'false'}, which is not what its bound says of what was asked for"
    return None


_SIDE = Record(
    {
        "accuracy": OrNull(_SHARE), "latency_measured_s": OrNull(_AMOUNT), "latency_predicted_s": OrNull(_AMOUNT),
        "macs": _AMOUNT, "params": _AMOUNT, "size_bytes": _AMOUNT,
    },
    {
        "search_accuracy": _SHARE, "energy_j": _AMOUNT, "memory_bytes": _AMOUNT, "priced_bits": List(_BITS, count=2),
        "as_given": Anything(), "mean_bits": Record({"weights": _AMOUNT, "activations": _AMOUNT}),
    },
)  # fmt: skip
_BUDGET = Record(
    {"cost": Text(COSTS), "limit": _POSITIVE, "value": Number(), "met": Flag()},
    {"tolerance": Number(low=0, high=_MEASURED)}, _budget_rule,
)  # fmt: skip
_LAYER = Record(
    {"name": Text()},
    {
        "kind": Text(), "kernel": List(_WHOLE), "latency_s": _PAIR, "macs": _PAIR,
        "choice": Record(optional={
            "width": _WHOLE, "of": _WHOLE, "bits": _BITS, "a_bits": _BITS, "stored_bits": List(_WHOLE, count=2),
            "pinned": Flag(),
        }),
    },
)  # fmt: skip
_TRIAL = Record(
    {"latency_s": _AMOUNT},
    {
        "strategy": Text(), "accuracy": _SHARE, "loss": Number(), "energy_j": _AMOUNT, "measured": Flag(),
        "chosen": Flag(),
    },
)  # fmt: skip
_MEMORY = Record(
    {"peak_bytes": _AMOUNT, "step": Text(), "at": _WHOLE, "held": Named(_AMOUNT), "steps": List(Text(), least=1),
     "bytes": List(_AMOUNT, least=1)}
)  # fmt: skip
_ROOFLINE = Record({
    "layers": List(Record(
        {"network": Text(), "name": Text(), "bits": List(_BITS, count=2), "intensity": _POSITIVE,
         "macs_per_s": _POSITIVE},
        {"kind": Text(), "kernel": List(_WHOLE)},
    )),
    "roofs": List(Record({"bits": List(_BITS, count=2), "macs_per_s": _POSITIVE, "bytes_per_s": _POSITIVE}), least=1),
}, {"short": _WHOLE})  # fmt: skip
#: how well an exported file agrees with the network that it was made of
PARITY = Record({"relative_error": _AMOUNT}, {"agreement": _AMOUNT, "jitter": _AMOUNT, "ok": Flag()})

_CERTIFICATE = Record(
    {"confidence": Number(low=0.5, high=1), "examples": _COUNT, "score_after": _SHARE, "score_bound": _SHARE},
    {
        "score_before": _SHARE, "loss": Number(low=-1, high=1), "loss_bound": Number(low=-1, high=1), "worse": _WHOLE,
        "better": _WHOLE, "method": Text(("exact", "bootstrap")), "met": Flag(), "says": Text(),
        "asked": Record(optional={"max_drop": _SHARE, "min_score": _SHARE}),
        "needed_examples": Record({"for": Number(low=-1, high=1)}, {"examples": _COUNT}),
    },
    _certificate_rule,
)  # fmt: skip

#: What ``summary.json`` must hold, and of what it may hold everything that is read; see :func:`check_summary`.
SUMMARY = Record(
    {
        "baseline": _SIDE, "result": _SIDE, "budgets": List(_BUDGET),
        "design": Either(Named(Anything()), List(Anything())), "frozen": Named(Text(empty=False)),
        "seed": Number(whole=True), "versions": Named(Anything()), "run": Text(),
    },
    {
        "model": Text(), "data": Either(Text(), Named(Anything())), "config": Named(Anything()), "target": Text(),
        "strategy": Text(), "methods": Either(Text(), List(Text())), "command": Text(), "files": Named(Anything()),
        "rule": Text(), "data_notes": List(Text()), "warnings": List(Text()), "simulated": Flag(),
        "loss": Number(), "bound": Number(), "search_accuracy_untuned": _SHARE, "accuracy_split": Anything(),
        "device": Named(Anything()), "parity": PARITY, "layers": List(_LAYER), "trials": List(_TRIAL),
        "roofline": _ROOFLINE, "specialization": SEARCH, "front": FRONT,
        "target_limits": Named(_AMOUNT), "memory": Record(optional={"baseline": _MEMORY, "result": _MEMORY}),
        "fidelity": List(Record({"predicted_s": _AMOUNT, "measured_s": _AMOUNT})),
        "additivity": Record({"n": _AMOUNT, "spearman": Number()}),
        "doubt": Record({"kind": Text()}), "certificate": _CERTIFICATE,
        "built_with": Record(optional={
            "num_classes": _COUNT, "input_shape": List(_COUNT, least=1), "code": Text(),
        }),
        "exported_with": Record(optional={
            "calibration": Text(), "huffman": Flag(), "floats": Flag(), "reorder": Flag(),
        }),
        "fusion": Record(optional={"fused": _WHOLE, "expected": _WHOLE}),
        "timing": Record(optional={
            "ratio": _AMOUNT, "ratio_ci": List(_AMOUNT), "rounds": _WHOLE, "session_ratios": List(_AMOUNT),
            **{f"{side}_{what}_s": _AMOUNT for side in ("baseline", "model") for what in ("median", "iqr")},
        }),
        "family": List(Record({"loss": Number(), "speed_up": Named(_AMOUNT)})),
    },
    _together,
)  # fmt: skip


def check_summary(summary: Any, where: str = "the summary") -> None:
    """Check a summary against :data:`SUMMARY`; further keys are allowed, and so are nulls for optional ones.

    ``baseline`` and ``result`` have figures of a network; measured or predicted ones are null where nothing measured
    or predicted them. They may have ``energy_j`` and ``mean_bits``, ``{"weights",
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
    ``certificate`` is what the test examples prove of the loss of score, see :mod:`netsmith.certificates`.
    ``memory`` is of both networks what lies in memory at each ``steps`` of a run, in ``bytes``, its ``peak_bytes``,
    where it is (``at``, ``step``) and the tensors ``held`` there. ``target_limits`` is what the target has room for, by
    cost; these are budgets as well.
    ``doubt`` is what speaks against the accuracy of the network as given, see :mod:`netsmith.jobs.doubt`, and
    ``warnings`` are sentences that every reader of the figures must see. ``specialization`` is what a search over a
    supernet found, see :data:`netsmith.runs.search_record.SEARCH`, and ``front`` has all networks of a front, of which
    the summary is about the chosen one, see :data:`netsmith.runs.front_record.FRONT`. ``built_with`` is what the
    network as given is built with again from ``model``: ``num_classes`` (null where it decides that itself),
    ``input_shape``, and ``code``, a digest of the user's files that it comes from. ``exported_with`` is how ranges were
    calibrated, whether ``model.nsw`` is coded, whether a layer may be left in floats, and whether operators
    were put into the order of least peak memory.

    Raises:
        InputError: names the field at fault.
    """
    problem = SUMMARY.problem(summary, "")
    if problem:
        raise InputError(f"{where} is no summary of a run: {problem}; repeat the run with this netsmith")


def kept_budgets(limits: Mapping[str, float], values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The key ``budgets``: each limit and what was reached, SI units."""
    return [{"cost": n, "limit": v, "value": values[n], "met": bool(values[n] <= v)} for n, v in limits.items()]


def all_met(summary: Mapping[str, Any]) -> bool:
    """Whether every budget is met, and certified what was to be; the exit code is 0 only then."""
    certified = (summary.get("certificate") or {}).get("met") is not False
    return certified and all(budget["met"] for budget in summary["budgets"])
