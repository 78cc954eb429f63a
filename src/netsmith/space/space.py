"""A space is a list of decisions; a design is one choice index for each of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netsmith.errors import InputError, did_you_mean, shown
from netsmith.files import parse_json

Designs = NDArray[np.int64]
Choice = int | float | str
_REMEDY = "give what Space.to_json wrote"


@dataclass(frozen=True)
class Decision:
    """One thing to choose.

    Attributes:
        name: unique, such as ``layer3.0.conv1.w_bits``.
        kind: what sort of thing it is (``width``, ``w_bits``, ``kernel``); decisions of a kind share a meaning.
        choices: its values, from the cheapest to the dearest where they have an order.

    Raises:
        InputError: no choices, or one value twice.
    """

    name: str
    kind: str
    choices: tuple[Choice, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "choices", tuple(self.choices))
        if not self.choices:
            raise InputError(f"decision {shown(self.name)} has no choices; give it at least one")
        if len(set(self.choices)) < len(self.choices):
            raise InputError(f"decision {shown(self.name)} lists a choice twice: {shown(self.choices)}")


@dataclass(frozen=True)
class Space:
    """The decisions of a problem and which of them share one choice. Designs are ``(n, D)`` choice indices.

    Attributes:
        decisions: D decisions with unique names.
        tied: disjoint groups of decision indices that always take the same choice index.

    Raises:
        InputError: a name twice, or a tie that is out of range, overlaps another or joins unequal choice counts.
    """

    decisions: tuple[Decision, ...]
    tied: tuple[tuple[int, ...], ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "decisions", tuple(self.decisions))
        object.__setattr__(self, "tied", tuple(tuple(int(i) for i in group) for group in self.tied))
        if len(self._position) < len(self.decisions):
            names = [d.name for d in self.decisions]
            twice = next(n for i, n in enumerate(names) if self._position[n] != i)
            raise InputError(f"decision {shown(twice)} appears twice; names must be unique")
        seen: set[int] = set()
        for group in self.tied:
            if any(not 0 <= i < len(self.decisions) for i in group):
                raise InputError(f"tied group {shown(group)} names a decision outside 0..{len(self.decisions) - 1}")
            if len(set(group)) < len(group) or seen & set(group):
                raise InputError(f"tied group {shown(group)} names a decision twice or overlaps another group")
            if len({len(self.decisions[i].choices) for i in group}) > 1:
                names = [self.decisions[i].name for i in group]
                raise InputError(f"tied decisions {shown(names)} have different numbers of choices")
            seen |= set(group)

    def __len__(self) -> int:
        return len(self.decisions)

    @cached_property
    def _position(self) -> dict[str, int]:
        return {d.name: i for i, d in enumerate(self.decisions)}

    @cached_property
    def sizes(self) -> Designs:
        """Number of choices of each decision, ``(D,)``."""
        return np.array([len(d.choices) for d in self.decisions], dtype=np.int64)

    @cached_property
    def leader(self) -> Designs:
        """For each decision the first of its tied group, or itself, ``(D,)``."""
        leader = np.arange(len(self.decisions))
        for group in self.tied:
            leader[list(group)] = group[0]
        return leader

    @property
    def count(self) -> int:
        """How many designs there are (a Python integer, as it is often astronomical)."""
        total = 1
        for i in np.unique(self.leader):
            total *= int(self.sizes[i])
        return total

    def index(self, name: str) -> int:
        """Position of the decision ``name``."""
        if name not in self._position:
            raise InputError(f"no decision {shown(name)} in this space{did_you_mean(name, list(self._position))}")
        return self._position[name]

    def sample(self, rng: np.random.Generator, n: int) -> Designs:
        """``n`` designs, uniform over choices, ``(n, D)``."""
        return rng.integers(0, self.sizes, size=(n, len(self)), dtype=np.int64)[:, self.leader]

    def mutate(self, rng: np.random.Generator, designs: Designs, rate: float) -> Designs:
        """Give each decision (each tied group) with probability ``rate`` another choice than it has."""
        designs = np.atleast_2d(designs)
        change = (rng.random(designs.shape) < rate)[:, self.leader]
        step = rng.integers(1, np.maximum(self.sizes, 2), size=designs.shape)[:, self.leader]
        return np.where(change, (designs + step) % self.sizes, designs)

    def crossover(self, rng: np.random.Generator, a: Designs, b: Designs) -> Designs:
        """Uniform crossover: each decision (each tied group) from ``a`` or from ``b``, both ``(n, D)``."""
        a, b = np.atleast_2d(a), np.atleast_2d(b)
        return np.where((rng.random(a.shape) < 0.5)[:, self.leader], a, b)

    def encode(self, designs: Designs) -> NDArray[np.float64]:
        """One-hot code, ``(n, D)`` to ``(n, sum K)``."""
        designs = np.atleast_2d(designs)
        code = np.zeros((len(designs), int(self.sizes.sum())))
        offset = np.concatenate([[0], np.cumsum(self.sizes)[:-1]])
        code[np.arange(len(designs))[:, None], offset + designs] = 1.0
        return code

    def valid(self, designs: Designs) -> NDArray[np.bool_]:
        """Which designs are in range and keep the ties, ``(n,)``."""
        designs = np.atleast_2d(designs)
        if designs.shape[1] != len(self):
            return np.zeros(len(designs), dtype=bool)
        in_range = ((designs >= 0) & (designs < self.sizes)).all(axis=1)
        return np.asarray(in_range & (designs == designs[:, self.leader]).all(axis=1))

    def describe(self, design: Designs) -> dict[str, Choice]:
        """One design, ``(D,)``, as decision name -> chosen value."""
        if not self.valid(design)[0]:
            raise InputError(f"{np.asarray(design).tolist()} is not a design of this space of {len(self)} decisions")
        return {d.name: d.choices[int(k)] for d, k in zip(self.decisions, design, strict=True)}

    def design(self, values: Mapping[str, Choice]) -> Designs:
        """The inverse of ``describe``: decision name -> value, to ``(D,)``.

        Raises:
            InputError: a name or a value that the space does not have, a decision left out, or a broken tie.
        """
        design = np.full(len(self), -1, dtype=np.int64)
        for name, value in values.items():
            decision = self.decisions[self.index(name)]
            if value not in decision.choices:
                raise InputError(
                    f"decision {shown(name)} has no choice {shown(value)}; it has {shown(list(decision.choices))}"
                )
            design[self.index(name)] = decision.choices.index(value)
        if (design < 0).any():
            missing = [d.name for d, k in zip(self.decisions, design, strict=True) if k < 0]
            raise InputError(f"no value for decision {shown(missing[0])} ({len(missing)} of {len(self)} left out)")
        if not self.valid(design)[0]:
            i = int(np.flatnonzero(design != design[self.leader])[0])
            names = self.decisions[self.leader[i]].name, self.decisions[i].name
            raise InputError(f"decisions {names[0]!r} and {names[1]!r} are tied but were given different choices")
        return design

    def to_json(self) -> str:
        """The space as JSON text."""
        decisions = [{"name": d.name, "kind": d.kind, "choices": list(d.choices)} for d in self.decisions]
        return json.dumps({"decisions": decisions, "tied": [list(g) for g in self.tied]})

    @classmethod
    def from_json(cls, text: str) -> Space:
        """The space that ``to_json`` wrote.

        Raises:
            InputError: it did not write that.
        """
        data = parse_json(text, "the space", _REMEDY)
        if not isinstance(data, dict) or not isinstance(data.get("decisions"), list):
            raise InputError(f"the space is {shown(data)}, not a mapping with a list of decisions; {_REMEDY}")
        tied = data.get("tied", [])
        if not isinstance(tied, list) or not all(isinstance(g, list) and g and all(map(_is_index, g)) for g in tied):
            raise InputError(f"the ties of the space are {shown(tied)}, not lists of positions; {_REMEDY}")
        return cls(tuple(map(_read_decision, data["decisions"])), tuple(tuple(g) for g in tied))


def _read_decision(record: Any) -> Decision:
    choices = record.get("choices") if isinstance(record, dict) else None
    if not isinstance(choices, list) or not all(isinstance(c, int | float | str) for c in choices):
        raise InputError(f"{shown(record)} is no decision with a list of choices; {_REMEDY}")
    if not isinstance(record.get("name"), str) or not isinstance(record.get("kind"), str):
        raise InputError(f"the name and the kind of a decision are texts, unlike those of {shown(record)}; {_REMEDY}")
    return Decision(record["name"], record["kind"], tuple(choices))


def _is_index(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
