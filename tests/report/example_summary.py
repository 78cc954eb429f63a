"""A summary as a finished run writes it, with texts that would break a page that does not escape."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from netsmith.data.feeding import PIXEL, Feeding

HOSTILE = '<script>alert("x")</script>'


def example_config() -> dict[str, Any]:
    return {
        "job": "compress", "model": "nets/my net.py:make", "data": "digits", "target": "cpu",
        "budgets": {"latency": "0.5x", "energy": None, "size": "0.3x", "macs": None}, "methods": ["prune", "quantize"],
        "strategy": "exact", "weights": "digits.safetensors", "epochs": None, "lr": 0.03, "seed": 3, "mean": [0.5, 0.4],
        "threads": 1,
    }  # fmt: skip


#: layer, kind, kernel, bits of weights and activations (None: removed), MACs a byte
_MIXED = (
    ("stem", "conv", 3, (8, 8), 7.5), ("a.expand", "conv", 1, (6, 4), 40.0), ("a.depth", "depthwise", 3, (4, 5), 3.0),
    ("a.project", "conv", 1, (4, 3), 55.0), ("b.expand", "conv", 1, None, None), ("b.mix", "conv", 3, (5, 5), 60.0),
    ("fc", "linear", 1, (8, 8), 0.9),
)  # fmt: skip


def example_mixed_summary(run: str = "runs/mixed") -> dict[str, Any]:
    """A run on a simulated machine without floating point: a budget of energy, bits of every layer."""
    layers, moved = [], []
    for name, kind, kernel, bits, intensity in _MIXED:
        w, a = bits or (0, 0)
        layers.append({
            "name": name, "kind": kind, "kernel": [kernel, kernel],
            "choice": {"width": 32 if bits else 0, "of": 32, "bits": w, "a_bits": a,
                       "stored_bits": [8, 8] if bits else [0, 0], "pinned": name in ("stem", "fc")},
            "latency_s": {"before": 20e-6, "after": 20e-6 * w * a / 64}, "macs": {"before": 9216, "after": 9216},
        })  # fmt: skip
        if bits:
            moved += [
                {"network": "before", "name": name, "kind": kind, "bits": [8, 8], "intensity": intensity / 2,
                 "macs_per_s": 1e9},
                {"network": "after", "name": name, "kind": kind, "bits": [w, a], "intensity": intensity,
                 "macs_per_s": 2e9},
            ]  # fmt: skip
    roofs = [
        {"bits": list(bits), "macs_per_s": 64 * 5e10 / (bits[0] * bits[1]), "bytes_per_s": 2e9}
        for bits in dict.fromkeys(bits for _, _, _, bits, _ in _MIXED if bits)
    ]
    trials = [
        {"strategy": "exact", "loss": 0.02, "latency_s": 84e-6, "energy_j": 142e-6, "measured": False, "chosen": True},
        {"strategy": "weights of one layer in fewer bits", "loss": 0.001, "latency_s": 170e-6, "energy_j": 390e-6,
         "measured": False, "chosen": False},
    ]  # fmt: skip
    sides = {
        "baseline": {"accuracy": 0.9916, "search_accuracy": 0.9953, "latency_measured_s": None,
                     "latency_predicted_s": 182e-6, "energy_j": 407e-6, "macs": 4_475_520, "params": 169_354,
                     "size_bytes": 677_961, "mean_bits": {"weights": 32.0, "activations": 32.0},
                     "priced_bits": [8, 8]},
        "result": {"accuracy": 0.9888, "search_accuracy": 0.9812, "latency_measured_s": None,
                   "latency_predicted_s": 84e-6, "energy_j": 142e-6, "macs": 4_475_520, "params": 169_354,
                   "size_bytes": 98_833, "mean_bits": {"weights": 4.47, "activations": 4.17}},
    }  # fmt: skip
    return copy.deepcopy(example_summary(run) | sides | {
        "budgets": [{"cost": "energy", "limit": 143e-6, "value": 142e-6, "met": True}], "target": "bismo-edge",
        "simulated": True, "device": {"name": "bismo-edge", "simulated": True}, "timing": {}, "fidelity": [],
        "frozen": {}, "layers": layers, "roofline": {"roofs": roofs, "layers": moved}, "trials": trials,
        "search_accuracy_untuned": 0.9021, "recovery": [{"epoch": 1, "loss": 0.07}],
        "files": {"model.onnx": "model.onnx", "model.nsw": "model.nsw"},
    })  # fmt: skip


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
        "preprocessing": Feeding((3, 32, 24), ("cat", HOSTILE), PIXEL, (0.5,) * 3, (0.25,) * 3).to_dict(),
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
