"""The summary of a run: one schema for ``summary.json``, for ``--json`` and for the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from typing import Any

from netsmith.errors import InputError, shown
from netsmith.metrics import ACCURACY, Metric, metrics_of
from netsmith.runs.front_record import front_schema
from netsmith.runs.search_record import COSTS, search_schema
from netsmith.runs.task_record import TASK, drop_shape, loss_shape, score_shape, task_problem
from netsmith.shapes import MOST, Anything, Either, Flag, List, Named, Number, OrNull, Record, Text

_AMOUNT, _WHOLE = Number(low=0), Number(low=0, whole=True)
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


def _together(metric: Metric, summary: Mapping[str, Any]) -> str | None:
    """What does not fit together: losses or scores of all trials, gains of a family in what is budgeted, files."""
    trials = summary.get("trials") or []
    missing = [i for i, trial in enumerate(trials) if trial.get("loss") is None]
    if missing and any(trial.get(metric.key) is None for trial in trials):
        article = "an" if metric.name[0] in "aeiou" else "a"
        return f"trials[{missing[0]}] has no loss, and not every trial has {article} {metric.name}"
    where = f"{summary['front']['chosen']}/" if summary.get("front") else ""
    for name, place in (summary.get("files") or {}).items():
        if place != where + name:
            return f"files[{shown(name)}] is {shown(place)}, not {shown(where + name)}"
    costs = {budget["cost"] for budget in summary["budgets"]}
    for i, member in enumerate(summary.get("family") or []):
        if absent := costs - set(member["speed_up"]):
            return f"family[{i}].speed_up has no {', '.join(sorted(absent))}, which has a budget"
    return None


def _certificate_rule(metric: Metric, found: Mapping[str, Any]) -> str | None:
    asked, bound = found.get("asked") or {}, found.get("loss_bound")
    kept = True
    if asked.get("max_drop") is not None:
        kept = bound is not None and bound <= asked["max_drop"]
    if asked.get("min_score") is not None:
        kept = kept and metric.rank(found["score_bound"]) >= metric.rank(asked["min_score"])
    if found.get("met") is not None and bool(found["met"]) is not kept:
        return f"met is {'true' if found['met'] else 'false'}, which is not what its bound says of what was asked for"
    return None


def _side(metrics: Sequence[Metric]) -> Record:
    first, others = metrics[0], metrics[1:]
    return Record(
        {
            first.key: OrNull(score_shape(first)), "latency_measured_s": OrNull(_AMOUNT),
            "latency_predicted_s": OrNull(_AMOUNT), "macs": _AMOUNT, "params": _AMOUNT, "size_bytes": _AMOUNT,
        },
        {
            f"search_{first.key}": score_shape(first), **{metric.key: score_shape(metric) for metric in others},
            "energy_j": _AMOUNT, "memory_bytes": _AMOUNT, "priced_bits": List(_BITS, count=2),
            "as_given": Anything(), "mean_bits": Record({"weights": _AMOUNT, "activations": _AMOUNT}),
        },
    )  # fmt: skip


def _trial(metric: Metric) -> Record:
    return Record(
        {"latency_s": _AMOUNT},
        {
            "strategy": Text(), metric.key: score_shape(metric), "loss": Number(), "energy_j": _AMOUNT,
            "measured": Flag(), "chosen": Flag(),
        },
    )  # fmt: skip


def _certificate(metric: Metric) -> Record:
    score, loss = score_shape(metric), loss_shape(metric)
    return Record(
        {"confidence": Number(low=0.5, high=1), "examples": _COUNT, "score_after": score, "score_bound": score},
        {
            "score_before": score, "loss": loss, "loss_bound": loss, "worse": _WHOLE, "better": _WHOLE,
            "differ": _WHOLE,            "method": Text(("exact", "bootstrap")), "met": Flag(), "says": Text(),
            "asked": Record(optional={"max_drop": drop_shape(metric), "min_score": score}),
            "needed_examples": Record({"for": loss}, {"examples": _COUNT}),
        },
        partial(_certificate_rule, metric),
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


@lru_cache(maxsize=16)
def _schema(metrics: tuple[Metric, ...]) -> Record:
    """What ``summary.json`` must hold, and of what it may hold everything that is read; see :func:`check_summary`."""
    metric, side = metrics[0], _side(metrics)
    return Record(
        {
            "baseline": side, "result": side, "budgets": List(_BUDGET),
            "design": Either(Named(Anything()), List(Anything())), "frozen": Named(Text(empty=False)),
            "seed": Number(whole=True), "versions": Named(Anything()), "run": Text(),
        },
        {
            "model": Text(), "data": Either(Text(), Named(Anything())), "config": Named(Anything()), "target": Text(),
            "strategy": Text(), "methods": Either(Text(), List(Text())), "command": Text(), "files": Named(Anything()),
            "rule": Text(), "data_notes": List(Text()), "warnings": List(Text()), "simulated": Flag(),
            "loss": Number(), "bound": Number(), f"search_{metric.key}_untuned": score_shape(metric),
            f"{metric.key}_split": Anything(), "task": TASK,
            "device": Named(Anything()), "parity": PARITY, "layers": List(_LAYER), "trials": List(_trial(metric)),
            "roofline": _ROOFLINE, "specialization": search_schema(metric), "front": front_schema(metric),
            "target_limits": Named(_AMOUNT), "memory": Record(optional={"baseline": _MEMORY, "result": _MEMORY}),
            "fidelity": List(Record({"predicted_s": _AMOUNT, "measured_s": _AMOUNT})),
            "additivity": Record({"n": _AMOUNT, "spearman": Number()}),
            "doubt": Record({"kind": Text()}), "certificate": _certificate(metric),
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
        partial(_together, metric),
    )  # fmt: skip


def summary_problem(summary: Any) -> str | None:
    """What keeps a value from being the summary of a run, by the metrics of its own task; None if nothing does."""
    if (problem := task_problem(summary)) is not None:
        return problem
    return _schema(tuple(metrics_of(summary)) if isinstance(summary, Mapping) else (ACCURACY,)).problem(summary, "")


def check_summary(summary: Any, where: str = "the summary") -> None:
    """Check a summary; further keys are allowed, and so are nulls for optional ones.

    ``task`` is what the network is for, see :data:`netsmith.runs.task_record.TASK`; a summary without it is of
    classification. Scores stand under the key of the metric that ranks, the first of the task: ``accuracy``,
    ``search_accuracy`` and so on of classification, ``miou`` and ``search_miou`` of segmentation.

    ``baseline`` and ``result`` have figures of a network; measured or predicted ones are null where nothing measured
    or predicted them. They may have ``energy_j`` and ``mean_bits``, ``{"weights", "activations"}`` in the mean over
    all numbers, and ``baseline`` may have ``priced_bits``, the (weight, activation)
    widths that the network as given is priced at, which differ from its own on a target without floating point.
    ``budgets`` are ``{"cost", "limit",
    "value", "met"}`` in SI units, and ``met`` must be what value and limit say; a measured value may come with a
    ``tolerance``, the share by which repeated measurements differ (at most 0.05), which the report states. ``frozen``
    is layer name -> reason.

    Optional are ``layers`` in the order of execution, of ``{"name", "kind", "kernel", "choice", "latency_s", "macs"}``
    with costs as ``{"before", "after"}`` and choices as ``{"width", "of", "bits", "a_bits", "stored_bits", "pinned"}``:
    bits of weights and of the input (the same if ``a_bits`` is absent), what both take in ``model.onnx`` (more than
    their bits where these are simulated), and whether there was no choice of them. A removed layer has width and bits
    0. ``fidelity`` is of ``{"predicted_s", "measured_s"}``; ``trials`` of ``{"strategy", "latency_s"}``, a score
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
    supernet found, see :func:`netsmith.runs.search_record.search_schema`, and ``front`` has all networks of a front, of
    which the summary is about the chosen one, see :func:`netsmith.runs.front_record.front_schema`. ``built_with`` is
    what the network as given is built with again from ``model``: ``num_classes`` (null where it decides that itself),
    ``input_shape``, and ``code``, a digest of the user's files that it comes from. ``exported_with`` is how ranges were
    calibrated, whether ``model.nsw`` is coded, whether a layer may be left in floats, and whether operators
    were put into the order of least peak memory.

    Raises:
        InputError: names the field at fault.
    """
    if (problem := summary_problem(summary)) is not None:
        raise InputError(f"{where} is no summary of a run: {problem}; repeat the run with this netsmith")


def kept_budgets(limits: Mapping[str, float], values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The key ``budgets``: each limit and what was reached, SI units."""
    return [{"cost": n, "limit": v, "value": values[n], "met": bool(values[n] <= v)} for n, v in limits.items()]


def all_met(summary: Mapping[str, Any]) -> bool:
    """Whether every budget is met, and certified what was to be; the exit code is 0 only then."""
    certified = (summary.get("certificate") or {}).get("met") is not False
    return certified and all(budget["met"] for budget in summary["budgets"])
