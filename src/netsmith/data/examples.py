"""One part of a data set as a task sees it: examples that can be counted, taken apart and run through in batches."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch.utils._pytree import tree_leaves, tree_map

from netsmith.data.batch import Batch
from netsmith.errors import InputError


class Examples(Protocol):
    """Examples of one split.

    Attributes:
        order: ``position`` where a pass may start anywhere and is the same whenever it has the same generator;
            ``stream`` where examples come as they come, so that a training goes on at an epoch, and not exactly.
    """

    @property
    def order(self) -> str: ...

    def __len__(self) -> int: ...

    def take(self, index: Any) -> Examples:
        """The examples at ``index``: a slice or positions ``(M,)``."""
        ...

    def batches(
        self, size: int, *, rng: np.random.Generator | None = None, start: int = 0, part: tuple[int, int] = (0, 1),
        drop_last: bool = False, augment: Any = None,
    ) -> Iterator[Batch]:  # fmt: skip
        """Go through all examples once.

        Args:
            size: examples a batch.
            rng: source of the order and of augmentation; without it examples come in order.
            start: batches to skip; the rest is what a full pass would have yielded.
            part: ``(i, n)``: examples i, i + n, ... of every batch alone, as one of ``n`` processes that share it.
            drop_last: leave out a last batch that is not full (never the only one).
            augment: what is done to examples at random, as the task says; needs ``rng``.
        """
        ...

    def contents(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Names and tensors of all that is in it, for a digest."""
        ...


@dataclass(frozen=True, eq=False)
class Rows:
    """Examples that lie in memory as trees of tensors, each with a row an example.

    Attributes:
        args, kwargs, target: see :class:`netsmith.data.batch.Batch`; tensors ``(N, ...)``. What is no tensor, or has
            not N rows, is the same for every batch.
        valid: ``(N, T)``, or None.
    """

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    target: Any = None
    valid: torch.Tensor | None = None
    order: str = field(default="position", init=False)

    def __post_init__(self) -> None:
        tensors = [t for t in tree_leaves((self.args, dict(self.kwargs))) if isinstance(t, torch.Tensor) and t.dim()]
        if not tensors:
            raise InputError("examples need at least one input that is a tensor with a row for each example")

    def __len__(self) -> int:
        return len(
            next(t for t in tree_leaves((self.args, dict(self.kwargs))) if isinstance(t, torch.Tensor) and t.dim())
        )

    def _map(self, change: Any) -> dict[str, Any]:
        n = len(self)

        def of(tree: Any) -> Any:
            return tree_map(lambda t: change(t) if isinstance(t, torch.Tensor) and t.dim() and len(t) == n else t, tree)

        return {
            "args": of(self.args), "kwargs": of(dict(self.kwargs)), "target": of(self.target),
            "valid": None if self.valid is None else of(self.valid),
        }  # fmt: skip

    def take(self, index: Any) -> Rows:
        """The examples at ``index``; slices share memory."""
        index = torch.from_numpy(index) if isinstance(index, np.ndarray) else index
        return dataclasses.replace(self, **self._map(lambda t: t[index]))

    def batches(
        self, size: int, *, rng: np.random.Generator | None = None, start: int = 0, part: tuple[int, int] = (0, 1),
        drop_last: bool = False, augment: Any = None,
    ) -> Iterator[Batch]:  # fmt: skip
        """See :class:`Examples`; ``augment`` is a function from a batch and a generator to a batch, or None."""
        n = len(self)
        order = None if rng is None else torch.from_numpy(rng.permutation(n))
        for number in range(n_batches(n, size, drop_last)):
            rows = slice(number * size, min(n, (number + 1) * size))
            drawn = None if augment is None or rng is None else int(rng.integers(2**63))
            if number < start:
                continue
            index = (
                slice(rows.start + part[0], rows.stop, part[1]) if order is None else order[rows][part[0] :: part[1]]
            )
            count = len(range(*index.indices(n))) if isinstance(index, slice) else len(index)
            batch = Batch(**self._map(lambda t, i=index: t[i]), size=count)
            yield batch if drawn is None else augment(batch, np.random.default_rng([drawn, part[0]]))

    def contents(self) -> Iterator[tuple[str, torch.Tensor]]:
        tree = {"args": self.args, "kwargs": dict(self.kwargs), "target": self.target, "valid": self.valid}
        for i, tensor in enumerate(tree_leaves(tree)):
            if isinstance(tensor, torch.Tensor):
                yield f"{i}", tensor


def n_batches(n: int, batch_size: int, drop_last: bool = False) -> int:
    """Batches in a pass over ``n`` examples; at least one."""
    return max(1, n // batch_size) if drop_last else -(-n // batch_size)
