"""The memory of an agent: a ring of transitions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from netsmith.search.agents.ddpg.packing import Float32, pack, unpack

#: states ``(n, W)``, actions ``(n,)``, rewards ``(n,)``, next states ``(n, W)``, 1 where there is a next state ``(n,)``
Batch = tuple[Float32, Float32, Float32, Float32, Float32]


class Replay:
    """The last ``capacity`` transitions of episodes with states of ``width`` numbers."""

    def __init__(self, capacity: int, width: int) -> None:
        self.capacity, self.width = capacity, width
        self.count = 0  #: transitions added so far, those that were overwritten too
        self._rows = np.zeros((capacity, 2 * width + 3), dtype=np.float32)

    def __len__(self) -> int:
        return min(self.count, self.capacity)

    def add(self, states: ArrayLike, actions: ArrayLike, rewards: ArrayLike) -> None:
        """Add an episode: states ``(T, W)``, actions ``(T,)`` and rewards ``(T,)``; the last transition ends it."""
        states, w = np.asarray(states, dtype=np.float32), self.width
        rows = np.zeros((len(states), self._rows.shape[1]), dtype=np.float32)
        rows[:, :w], rows[:-1, w : 2 * w] = states, states[1:]
        rows[:, -3], rows[:, -2], rows[:-1, -1] = actions, rewards, 1.0
        kept = rows[-self.capacity :]
        first = self.count + len(rows) - len(kept)
        self._rows[(first + np.arange(len(kept))) % self.capacity] = kept
        self.count += len(rows)

    def sample(self, rng: np.random.Generator, n: int) -> Batch:
        """``n`` transitions, drawn uniformly with replacement."""
        rows = self._rows[rng.integers(0, len(self), size=n)]
        w = self.width
        return rows[:, :w], rows[:, -3], rows[:, -2], rows[:, w : 2 * w], rows[:, -1]

    def state_dict(self) -> dict[str, Any]:
        return {"count": self.count, "rows": pack(self._rows[: len(self)])}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.count = int(state["count"])
        rows = unpack(state["rows"])
        self._rows[: len(rows)] = rows
