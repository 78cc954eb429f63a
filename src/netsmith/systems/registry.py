"""Systems that find a network of a family, each with what it says of itself; this module loads none of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class System:
    """A way to a network of a family.

    Attributes:
        trains: it trains a network of all paths first, and chooses among these with its weights.
        learns: it learns how probable each path is while it trains; others take all alike.
        update: how it learns that.
    """

    name: str
    trains: bool = False
    learns: bool = False
    update: Literal["gradient", "reinforce"] = "gradient"


SYSTEMS = {system.name: system for system in (
    System("proxylessnas", trains=True, learns=True),
    System("proxylessnas-r", trains=True, learns=True, update="reinforce"),
    System("oneshot", trains=True),
    System("random"),
    System("multiplier"),
)}  # fmt: skip
