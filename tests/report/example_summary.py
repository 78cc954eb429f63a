"""A summary as a finished run writes it, with texts that would break a page that does not escape."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

HOSTILE = '<script>alert("x")</script>'


def example_config() -> dict[str, Any]:
    return {
        "job": "compress", "model": "nets/my net.py:make", "data": "digits", "target": "cpu",
        "budgets": {"latency": "0.5x", "energy": None, "size": "0.3x", "macs": None}, "methods": ["prune", "quantize"],
        "strategy": "exact", "weights": "digits.safetensors", "epochs": None, "lr": 0.03, "seed": 3, "mean": [0.5, 0.4],
        "threads": 1,
    }  # fmt: skip


def example_summary(run: str = "runs/example") -> dict[str, Any]:
    rng = np.random.default_rng(0)
    layers = []
    for i in range(14):
        of = 16 * 2 ** (i // 5)
        width = 0 if i == 6 else int(of * rng.choice([0.25, 0.5, 0.75, 1.0]))
        bits = 32 if i in (0, 13) else 8
        before = float(rng.uniform(40e-6, 240e-6))
        after = before * width / of * (0.4 if bits == 8 else 1.0)
        layers.append({
            "name": f"layer{i // 5 + 1}.{i % 5}.conv1", "kind": "conv",
            "choice": {"width": width, "of": of, "bits": bits},
            "latency_s": {"before": before, "after": after},
            "macs": {"before": 2_359_296, "after": 2_359_296 * width // of},
        })  # fmt: skip
    trials = [
        {"strategy": "exact", "loss": 0.21, "latency_s": 1.02e-3, "measured": True, "chosen": False},
        {"strategy": "exact", "loss": 0.26, "latency_s": 0.93e-3, "measured": True, "chosen": True},
    ]  # fmt: skip
    for name, n in (("one group narrower", 60), ("one layer int8", 20)):
        for loss, t in zip(rng.exponential(0.05, n), rng.uniform(1.5e-3, 1.92e-3, n)):
            trials.append({"strategy": name, "loss": float(loss), "latency_s": float(t), "measured": False})
    return copy.deepcopy({
        "schema": 1,
        "baseline": {"accuracy": 0.9783, "latency_measured_s": 1.92e-3, "latency_predicted_s": 1.88e-3,
                     "macs": 40_800_000, "params": 269_722, "size_bytes": 1_078_888},
        "result": {"accuracy": 0.9731, "latency_measured_s": 0.93e-3, "latency_predicted_s": 0.91e-3,
                   "macs": 18_100_000, "params": 121_004, "size_bytes": 131_244},
        "budgets": [
            {"cost": "latency", "limit": 0.96e-3, "value": 0.93e-3, "met": True},
            {"cost": "size", "limit": 323_666.4, "value": 131_244, "met": True},
        ],
        "design": {"layer1.0.conv1.width": 8}, "seed": 3, "run": run, "target": "cpu", "simulated": False,
        "frozen": {"fc": "not pruned: its outputs are the classes", "conv1": f"not pruned: {HOSTILE}"},
        "versions": {"python": "3.11.7", "torch": "2.13.0", "onnxruntime": "1.31.1"}, "layers": layers,
        "fidelity": [{"predicted_s": p, "measured_s": m} for p, m in ((0.95e-3, 1.02e-3), (0.91e-3, 0.93e-3))],
        "trials": trials,
        "timing": {"ratio": 0.484, "ratio_ci": [0.481, 0.489], "rounds": 900, "baseline_median_s": 1.92e-3,
                   "baseline_iqr_s": 0.05e-3, "model_median_s": 0.93e-3, "model_iqr_s": 0.03e-3},
        "device": {"processor": "Example CPU (6/85/7)", "flags": ["avx2", "avx512_vnni"], "cores": 2, "threads": 1},
        "parity": {"relative_error": 0.021, "agreement": 0.99, "ok": True},
        "data": {"name": "digits", "note": "1797 images"},
        "roofline": {
            "roofs": [{"bits": [32, 32], "macs_per_s": 6e10, "bytes_per_s": 2e10},
                      {"bits": [8, 8], "macs_per_s": 2e11, "bytes_per_s": 2e10}],
            "layers": [
                {"network": "before", "name": f"conv1 {HOSTILE}", "kind": "conv", "bits": [32, 32], "intensity": 9.0,
                 "macs_per_s": 5e10},
                {"network": "after", "name": "conv1", "kind": "conv", "bits": [8, 8], "intensity": 30.0,
                 "macs_per_s": 1.5e11},
                {"network": "after", "name": "dw", "kind": "depthwise", "bits": [8, 8], "intensity": 2.0,
                 "macs_per_s": 3e10},
            ],
        },
        "loss": 0.26, "bound": 0.26, "accuracy_split": "test", "config": example_config(),
    })  # fmt: skip
