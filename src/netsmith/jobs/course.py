"""The course of a search: how each block's probabilities went, in a file that a report follows while it runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from netsmith.decisions.family import SearchedFamily
from netsmith.decisions.search_space import Designs
from netsmith.runs.folder import Run
from netsmith.runs.search_record import SEARCH_FILE
from netsmith.search.strategy import FloatArray

WRITE_S = 5.0  #: seconds between two writes


@dataclass
class Course:
    """What is known of a search so far.

    Attributes:
        run: folder of the run.
        family: what is searched.
        head: what does not change: system, target, limits, epochs.
        latency: of every choice, ``(D, K)``, seconds; in the end by what measured networks differ from predictions.
        correction: that factor.
        watch: called with the run folder after each write.
        history: records of where the search stood, in order.
    """

    run: Run
    family: SearchedFamily
    head: Mapping[str, Any]
    latency: FloatArray
    correction: float
    watch: Callable[[Path], Any] | None = None
    history: list[dict[str, Any]] = field(default_factory=list)
    spoken: float = 0.0

    def record(self, record: Mapping[str, Any]) -> None:
        """Add where the search stands, as ``proxylessnas`` tells it."""
        if self.history and self.history[-1]["epoch"] >= record["epoch"]:  # resumed from a checkpoint before it
            self.history = [r for r in self.history if r["epoch"] < record["epoch"]]
        sizes = self.family.decisions.sizes.tolist()
        kept = [[round(v, 4) for v in row[:n]] for row, n in zip(record["probabilities"], sizes, strict=True)]
        expected = dict(record["expected"])
        allowed = dict(record.get("allowed", {}))
        for costs in (expected, allowed):
            if "latency" in costs:
                costs["latency"] *= self.correction
        own = {"probabilities": kept, "expected": expected, "allowed": allowed}
        self.history.append({**record, **own})
        if time.monotonic() - self.spoken > WRITE_S:
            self.write()

    def write(self) -> None:
        """Write the file."""
        self.spoken = time.monotonic()
        last = self.history[-1]["probabilities"] if self.history else []
        design = np.array([int(np.argmax(row)) for row in last]) if last else self.family.reference
        self.run.write_json(SEARCH_FILE, self.summary("search", design))
        if self.watch is not None:
            self.watch(self.run.folder)

    def summary(self, stage: str, design: Designs) -> dict[str, Any]:
        """All of it, in the schema of ``netsmith.runs.search_record``; ``design (D,)`` is what was chosen."""
        costs = iter(self.latency)
        blocks = []
        for place in self.family.places(design):
            n = len(place["choices"])
            blocks.append({**place, "latency_s": next(costs)[:n].tolist() if n > 1 else None})
        return {**self.head, "stage": stage, "blocks": blocks, "history": self.history}
