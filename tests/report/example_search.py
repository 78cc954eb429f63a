"""A search over a supernet as it writes itself: 22 blocks, of which 21 chose among 6 or 7 paths."""

from __future__ import annotations

from typing import Any

import numpy as np
from example_summary import example_summary

OPERATORS = ["k3e3", "k5e3", "k7e3", "k3e6", "k5e6", "k7e6"]
#: stage -> channels, side of the map, blocks, whether its first block halves the map
_STAGES = {
    2: (24, 16, 4, 2),
    3: (40, 8, 4, 2),
    4: (80, 4, 4, 2),
    5: (96, 4, 4, 1),
    6: (192, 2, 4, 2),
    7: (320, 2, 1, 1),
}


def example_search(epochs: int = 30, until: float | None = None, seed: int = 0) -> dict[str, Any]:
    """``search.json``: finished with networks to compare, or as it stood after ``until`` epochs."""
    rng = np.random.default_rng(seed)
    blocks = [_block("stage1.block1", 1, 16, 32, 1, ["k3e1"])]
    for stage, (channels, side, count, stride) in _STAGES.items():
        for i in range(count):
            choices = ["skip", *OPERATORS] if i else list(OPERATORS)
            blocks.append(_block(f"stage{stage}.block{i + 1}", stage, channels, side, 1 if i else stride, choices))
    searched = [b for b in blocks if len(b["choices"]) > 1]
    logits = [np.zeros(len(b["choices"])) for b in searched]
    drift = [rng.normal(0.0, 0.12, len(b["choices"])) for b in searched]
    history = []
    for step in range(1, round((epochs if until is None else until) * 4) + 1):
        epoch = step / 4
        warm = epoch <= epochs / 5
        if not warm:
            logits = [a + d + rng.normal(0.0, 0.06, len(a)) for a, d in zip(logits, drift, strict=True)]
        shares = [np.exp(a - a.max()) / np.exp(a - a.max()).sum() for a in logits]
        latency = 0.2e-3 + sum(float(p @ b["latency_s"]) for p, b in zip(shares, searched, strict=True))
        history.append({
            "epoch": epoch, "warmup": warm, "loss": 2.3 / (1 + epoch / 10),
            "entropy": float(np.mean([-(p * np.log(np.maximum(p, 1e-12))).sum() for p in shares])),
            "expected": {"latency": latency, "macs": latency * 5.1e9}, "multipliers": {} if warm else {"latency": 0.4},
            "probabilities": [p.round(4).tolist() for p in shares],
        })  # fmt: skip
        for block, p in zip(searched, shares, strict=True):
            block["chosen"] = block["choices"][int(p.argmax())]
    return {
        "space": "mobile-small", "reference": "k3e6 wherever a block may be that",
        "system": "proxylessnas", "target": "cpu", "simulated": False,
        "stage": "search" if until is not None else "done", "limits": {"latency": 1e-3}, "blocks": blocks,
        "history": history, "epochs": epochs, "search_seconds": 812.0, "train_seconds": 640.0,
        "compared": [] if until is not None else _compared(blocks, rng),
    }  # fmt: skip


def example_specialization(run: str = "runs/special", accuracy: float | None = 0.724) -> dict[str, Any]:
    """The summary of a finished specialization; ``accuracy`` is that of the space's reference network."""
    summary = example_summary(run)
    for key in ("layers", "roofline", "trials", "config", "loss", "bound", "parity"):
        del summary[key]
    summary["baseline"]["accuracy"] = accuracy
    summary["result"]["accuracy"] = 0.7102
    return summary | {"frozen": {}, "specialization": example_search()}


def _block(name: str, stage: int, channels: int, side: int, stride: int, choices: list[str]) -> dict[str, Any]:
    latency = (
        None if len(choices) == 1 else [0.0 if c == "skip" else 3.4e-6 * int(c[1]) * int(c[3]) ** 0.7 for c in choices]
    )
    return {
        "name": name, "stage": stage, "channels": channels, "stride": stride, "side": side, "choices": choices,
        "chosen": choices[0], "latency_s": latency,
    }  # fmt: skip


def _compared(blocks: list[dict[str, Any]], rng: np.random.Generator) -> list[dict[str, Any]]:
    drawn = [str(rng.choice(b["choices"])) for b in blocks]
    rows = []
    for system, chosen, accuracy in (
        ("proxylessnas", [b["chosen"] for b in blocks], 0.7102), ("random", drawn, 0.6911), ("width", None, 0.7004),
    ):  # fmt: skip
        rows.append({
            "system": system, "blocks": chosen, "label": "width 0.75" if chosen is None else system,
            "accuracy": accuracy, "latency_measured_s": 0.98e-3, "latency_predicted_s": 1.01e-3, "macs": 5_000_000,
            "params": 300_000, "search_seconds": 812.0 if system == "proxylessnas" else 0.0, "train_seconds": 640.0,
        })  # fmt: skip
    return rows
