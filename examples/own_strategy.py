"""A search strategy of your own, in a real job: it knows nothing but what it is told of the designs it asked for.

    netsmith compress zoo:digits --data digits --target bismo-edge --latency 0.5x --methods quantize \
        --strategy examples/own_strategy.py:Elite

Run as a script, this file compresses a network with ``Elite``, and with a twin that asks alike but never listens.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from netsmith.search import register_strategy

BEST = 6  #: designs told so far that the next ones are drawn after
DRAWS = 5000  #: until one keeps the budgets


@register_strategy("elite", evaluations=48, batch=6)
class Elite:
    """The cross-entropy method: designs drawn at random, each choice as often as the best ones so far have it."""

    def __init__(self, problem: Any, space: Any, seed: int = 0) -> None:
        self.problem, self.rng = problem, np.random.default_rng(seed)
        self.allowed = np.isfinite(problem.loss).astype(float)  # (D, K): which choices there are
        self.told: dict[tuple[int, ...], float] = {}

    def ask(self, n: int) -> Any:
        """Up to n designs ``(n, D)`` that keep the budgets."""
        often = 0.3 * self.allowed
        for design in sorted(self.told, key=lambda design: self.told[design])[:BEST]:
            often[np.arange(len(design)), design] += 1.0
        up_to = (often / often.sum(axis=1, keepdims=True)).cumsum(axis=1)
        draws = (self.rng.random((DRAWS, len(often), 1)) > up_to).sum(axis=2)
        draws = np.minimum(draws, often.shape[1] - 1)
        for group in self.problem.tied:  # decisions that share one choice
            draws[:, group] = draws[:, group[:1]]
        fits = draws[self.problem.feasible(draws) & np.isfinite(self.problem.estimate(draws))]
        new = [d for d in dict.fromkeys(map(tuple, fits.tolist())) if d not in self.told]
        return np.array(new[:n], dtype=np.int64).reshape(-1, len(often))

    def tell(self, designs: Any, results: Any) -> None:
        """Remember what became of designs."""
        self.told |= {tuple(d): float(y) for d, y in zip(designs.tolist(), results.loss, strict=True)}

    def state_dict(self) -> dict[str, Any]:
        """Everything that decides what is asked next, as JSON values."""
        return {"told": [[list(d), y] for d, y in self.told.items()], "rng": self.rng.bit_generator.state}

    def load_state_dict(self, state: Any) -> None:
        """Go on as the strategy that the state is of."""
        self.told = {tuple(design): loss for design, loss in state["told"]}
        self.rng.bit_generator.state = state["rng"]


@register_strategy("deaf", evaluations=48, batch=6)
class Deaf(Elite):
    """The twin that is never told anything."""

    def tell(self, designs: Any, results: Any) -> None:
        """Do not listen."""


def losses(folder: Path, evaluations: int = 48, **network: Any) -> dict[str, float]:
    """What the designs that each of the two finds lose on the search split: the divergence from the given network."""
    import netsmith

    job = {"data": "digits", "target": "bismo-edge", "latency": "0.5x", "methods": "quantize", "epochs": 0}
    return {
        name: netsmith.compress(
            strategy=name, evaluations=evaluations, out=folder / name, **(job | network)
        ).summary["loss"]
        for name in ("elite", "deaf")
    }  # fmt: skip


if __name__ == "__main__":
    import netsmith

    with tempfile.TemporaryDirectory() as place:
        weights = Path(place) / "digits.safetensors"
        netsmith.train("zoo:digits", "digits", epochs=6, out=weights)
        found = losses(Path(place), model="zoo:digits", weights=str(weights))
    print(f"told what became of its designs: loss {found['elite']:.4f}; never told: {found['deaf']:.4f}")
    sys.exit(found["elite"] >= found["deaf"])
