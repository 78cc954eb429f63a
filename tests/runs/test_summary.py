from __future__ import annotations

from typing import Any

import pytest
from example_summary import example_mixed_summary, example_summary

from netsmith.errors import InputError
from netsmith.runs.summary import all_met, check_summary


def changed(path: str, value: Any) -> dict[str, Any]:
    summary = example_summary()
    *parents, last = path.split(".")
    place: Any = summary
    for key in parents:
        place = place[int(key) if key.isdigit() else key]
    if value is KeyError:
        del place[last]
    else:
        place[last] = value
    return summary


def test_the_example_keeps_the_schema() -> None:
    check_summary(example_summary())
    assert all_met(example_summary())
    check_summary(example_mixed_summary())


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("result", KeyError, "result is missing"),
        ("seed", "0", "seed is '0', not a whole number"),
        ("seed", True, "seed is True, not a whole number"),
        ("result.macs", None, r"result\.macs is None"),
        ("result.accuracy", 97.3, r"result\.accuracy is 97\.3, not a number of at least 0 and at most 1"),
        ("baseline.latency_measured_s", KeyError, r"baseline\.latency_measured_s is missing"),
        ("baseline.latency_predicted_s", float("nan"), r"baseline\.latency_predicted_s is nan"),
        ("budgets.0.value", 0.97e-3, r"budgets\[0\]\.met is true, but 0\.00097 is above 0\.00096"),
        ("budgets.0.met", False, r"budgets\[0\]\.met is false, but 0\.00093 is within"),
        ("budgets.0.cost", "speed", r"budgets\[0\]\.cost is 'speed'"),
        ("budgets.1.tolerance", 0.5, r"budgets\[1\]\.tolerance is 0\.5"),
        ("frozen.fc", "", r"frozen\['fc'\] is '', not a text that says something"),
        ("layers.3.latency_s", [1, 2], r"layers\[3\]\.latency_s is \[1, 2\], not a mapping"),
        ("layers.3.choice", 8, r"layers\[3\]\.choice is 8, not a mapping"),
        ("layers.3.choice.bits", 4.5, r"layers\[3\]\.choice\.bits is 4\.5, not a whole number"),
        ("layers.3.choice.a_bits", 64, r"layers\[3\]\.choice\.a_bits is 64"),
        ("layers.3.choice.stored_bits", [8], r"layers\[3\]\.choice\.stored_bits has 1 entries, not 2"),
        ("result.mean_bits", {"weights": 4.0}, r"result\.mean_bits\.activations is missing"),
        ("fidelity.0.measured_s", None, r"fidelity\[0\]\.measured_s is None, not a number"),
        ("trials.2.loss", KeyError, r"trials\[2\] has no loss, and not every trial has an accuracy"),
    ],
)
def test_what_is_wrong_is_named(path: str, value: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        check_summary(changed(path, value), "runs/x/summary.json")


def test_a_budget_within_its_stated_tolerance_is_met() -> None:
    summary = changed("budgets.0.value", 0.97e-3)
    summary["budgets"][0]["tolerance"] = 0.03
    check_summary(summary)
    summary["budgets"][0]["value"] = 1.0e-3
    with pytest.raises(InputError, match="met is true"):
        check_summary(summary)


def test_nothing_measured_is_null() -> None:
    check_summary(changed("result.latency_measured_s", None))


def test_a_score_in_decibels_stands_under_its_own_key() -> None:
    """By the same rules that hold accuracies to 0..1, a score in dB is any number, and less may be better."""
    summary = example_summary()
    psnr = {"key": "psnr", "name": "PSNR", "unit": "dB", "higher_is_better": True, "share": False}
    for side in ("baseline", "result"):
        summary[side]["psnr"] = 27.0 + 100 * summary[side].pop("accuracy")
    with pytest.raises(InputError, match=r"baseline\.accuracy is missing"):
        check_summary(summary)
    summary["task"] = {"kind": "image-to-image", "metrics": [psnr], "each": "images"}
    check_summary(summary)
    record = {"confidence": 0.95, "examples": 9, "score_after": 27.0, "score_bound": 26.5, "met": False,
              "asked": {"min_score": 26.0}}  # fmt: skip
    with pytest.raises(InputError, match="met is false"):
        check_summary(summary | {"certificate": record})
    summary["task"]["metrics"][0]["higher_is_better"] = False
    check_summary(summary | {"certificate": record | {"met": True, "score_bound": 25.5}})
    with pytest.raises(InputError, match=r"task\.metrics\[0\]\.key is missing"):
        del psnr["key"]
        check_summary(summary)
