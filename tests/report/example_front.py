"""The front of a ResNet on 10,000 test images as a finished run writes it; every figure is made up."""

from __future__ import annotations

import copy
from typing import Any

from example_summary import example_mixed_summary, example_summary

#: score, loss bound, latency, half of its interval, size, MACs, divergence, proven bound on it, proven least latency
_POINTS = (
    (0.9228, 0.0026, 1.020e-3, 6e-6, 271_000, 118e6, 0.0021, 0.0020, 1.004e-3),
    (0.9214, 0.0044, 0.838e-3, 5e-6, 224_000, 96e6, 0.0089, 0.0086, 0.821e-3),
    (0.9203, 0.0048, 0.739e-3, 9e-6, 201_000, 83e6, 0.0164, 0.0161, 0.724e-3),
    (0.9157, 0.0106, 0.601e-3, 4e-6, 160_000, 64e6, 0.0480, 0.0455, 0.577e-3),
    (0.9041, 0.0229, 0.488e-3, 4e-6, 117_000, 47e6, 0.1630, 0.1520, 0.463e-3),
    (0.8712, 0.0570, 0.397e-3, 3e-6, 71_000, 29e6, 0.6100, 0.5560, 0.371e-3),
)  # fmt: skip
_GIVEN = (0.9235, 1.92e-3, 9e-6, 1_078_888, 126e6)
_EXAMPLES = 10_000


def _around(score: float) -> list[float]:
    half = 1.96 * (score * (1 - score) / _EXAMPLES) ** 0.5
    return [score - half, min(score + half, 1.0)]


def _figures(score: float, bound: float, latency: float, half: float, size: float, macs: float) -> dict[str, Any]:
    return {
        "score": score, "score_interval": _around(score), "loss": _GIVEN[0] - score, "loss_bound": bound,
        "confidence": 0.95, "latency_measured_s": latency, "latency_interval_s": [latency - half, latency + half],
        "latency_predicted_s": latency * 0.98, "costs": {"latency": latency, "size": size, "macs": macs},
    }  # fmt: skip


def example_front(asked: dict[str, float] | None = None) -> dict[str, Any]:
    """The key ``front``; with ``max_drop`` 0.005 asked points 1 to 3 are certified and point 4 is the first that is
    not."""
    points = []
    for i, (*figures, divergence, bound, least) in enumerate(_POINTS):
        certified = None if asked is None else True if i < 3 else False if i == 3 else None
        points.append(
            {"folder": f"points/{i + 1}", **_figures(*figures), "divergence": divergence, "bound": bound,
             "cost_bound": least, "certified": certified, "design": {"layer1.0.conv1.width": 16 - i}}
        )  # fmt: skip
    score, latency, half, size, macs = _GIVEN
    return copy.deepcopy({
        "points": points, "chosen": "points/3", "minimize": "latency", "asked": asked or {},
        "rule": "the cheapest network whose loss of score is certified to be at most 0.5 points",
        "marks": [
            {"name": "int8", **_figures(0.9221, 0.0031, 1.09e-3, 6e-6, 283_000, 126e6)},
            {"name": "uniform", **_figures(0.8974, 0.0297, 0.82e-3, 6e-6, 209_000, 92e6)},
        ],
        "baseline": {"score": score, "score_interval": _around(score), "latency_measured_s": latency,
                     "latency_interval_s": [latency - half, latency + half],
                     "costs": {"latency": latency, "size": size, "macs": macs}},
    })  # fmt: skip


def example_certificate(met: bool | None = True, asked: dict[str, float] | None = None) -> dict[str, Any]:
    return {
        "score_before": 0.9235, "score_after": 0.9203, "loss": 0.0032, "loss_bound": 0.0048, "score_bound": 0.9157,
        "confidence": 0.95, "method": "exact", "examples": _EXAMPLES, "worse": 71, "better": 39, "asked": asked or {},
        "met": met, "needed_examples": {"for": 0.005, "examples": 9_100},
        "says": "at 95 % confidence at most 0.48 points of 10000 test images are lost",
    }  # fmt: skip


def example_front_summary(run: str = "runs/front", met: bool = True) -> dict[str, Any]:
    asked = {"max_drop": 0.005 if met else 0.004}
    files = {name: f"points/3/{name}" for name in ("model.onnx", "model.pt2", "recipe.json")}
    chosen = _POINTS[2]
    summary = example_summary(run)
    summary["baseline"] |= {"accuracy": _GIVEN[0]}
    summary["result"] |= {"accuracy": chosen[0], "latency_measured_s": chosen[2], "size_bytes": chosen[4]}
    return summary | {
        "front": example_front(asked), "certificate": example_certificate(met, asked), "budgets": [], "files": files,
    }  # fmt: skip


def example_simulated_front_summary(run: str = "runs/mixed-front") -> dict[str, Any]:
    """A front along energy on a simulated machine, where nothing was measured and nothing was asked."""
    summary, front = example_mixed_summary(run), example_front()
    for row in (*front["points"], *front["marks"], front["baseline"]):
        latency = row["costs"]["latency"]
        row |= {"latency_measured_s": None, "latency_interval_s": None, "latency_predicted_s": latency}
        row["costs"]["energy"] = latency * 0.4
        if row.get("cost_bound"):
            row["cost_bound"] *= 0.4
    front |= {"minimize": "energy", "rule": "the cheapest network that is certified to lose at most 1 point"}
    files = {name: f"points/3/{name}" for name in summary["files"]}
    return summary | {"front": front, "certificate": example_certificate(None), "budgets": [], "files": files}
