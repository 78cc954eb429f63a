"""The networks that a step-wise trimming leaves on its way, and how the next one is chosen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from netsmith.search.strategy import FloatArray

Rule = Literal["accuracy", "ratio"]
RULES = ("accuracy", "ratio")


@dataclass(frozen=True)
class Member:
    """One network of a family.

    Attributes:
        design: ``(D,)`` choice indices.
        costs: its budgeted costs, SI units.
        resource: the most violated budget's cost as a share of that budget; 1 or less keeps all of them.
        limit: what ``resource`` had to meet when it was made; infinite for the network as given.
        loss: as told.
    """

    design: tuple[int, ...]
    costs: Mapping[str, float]
    resource: float
    limit: float
    loss: float

    def speed_ups(self, given: Member) -> dict[str, float]:
        """What was achieved, not what was asked for: each cost of the network as given over this one's."""
        return {name: given.costs[name] / cost for name, cost in self.costs.items()}

    def to_dict(self) -> dict[str, Any]:
        return {
            "design": list(self.design), "costs": dict(self.costs), "resource": self.resource, "limit": self.limit,
            "loss": self.loss,
        }  # fmt: skip

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> Member:
        design = tuple(int(k) for k in d["design"])
        return cls(design, dict(d["costs"]), float(d["resource"]), float(d["limit"]), float(d["loss"]))


def winner(rule: Rule, drops: FloatArray, saved: FloatArray) -> int:
    """The candidate that is carried on; of equals the one that saves most.

    "accuracy", as in both papers: the least loss. "ratio", as in NetAdapt's released code: the least
    ``(drop + 1e-6) / (saved + 1e-5)``, which prefers a larger step at the same price a step.

    Args:
        drops: what each candidate loses more than the network before it, ``(N,)``.
        saved: what it saves, as a share of the initial resource, ``(N,)``.
    """
    score = drops if rule == "accuracy" else (drops + 1e-6) / (saved + 1e-5)
    return int(np.lexsort((-saved, score))[0])
