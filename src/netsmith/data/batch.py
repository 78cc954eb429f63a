"""A batch: everything that a network takes for some examples, and what is wanted of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch.utils._pytree import tree_leaves, tree_map


def detached(tree: Any) -> Any:
    """The tensors of a tree without their history of gradients."""
    return tree_map(lambda t: t.detach() if isinstance(t, torch.Tensor) else t, tree)


class Some(Protocol):
    """Some examples, which go through a network in batches: those of a split, or of one batch."""

    def __len__(self) -> int: ...

    def batches(self, size: int) -> Iterator[Batch]:
        """In batches of at most ``size``, whose tensors may differ in shape from one to the next."""
        ...


def some(examples: Any) -> Some:
    """Examples as they are, or those of a single tensor of inputs."""
    return Batch((examples,)) if isinstance(examples, torch.Tensor) else examples


@dataclass(frozen=True, eq=False)
class Batch:
    """Some examples.

    Attributes:
        args: what the network's forward is called with; any trees of tensors, the batch axis first.
        kwargs: likewise, by name.
        target: what the loss and the score need beside the outputs; any tree of tensors, the batch axis first.
        size: how many examples.
        valid: ``(size, T)``, which of T positions of an example are no padding; None where there is none. Padding never
            enters ranges, moments, norms or losses.
    """

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    target: Any = None
    size: int = 0
    valid: torch.Tensor | None = None

    def __post_init__(self) -> None:
        if not self.size:
            first = next((t for t in self.inputs if t.dim()), None)
            object.__setattr__(self, "size", 0 if first is None else len(first))

    @classmethod
    def of(cls, inputs: Any) -> Batch:
        """A batch as it is, or one of a single tensor of inputs."""
        return inputs if isinstance(inputs, cls) else cls((inputs,))

    @property
    def inputs(self) -> list[torch.Tensor]:
        """All tensors of the arguments, in order."""
        return [t for t in tree_leaves((self.args, dict(self.kwargs))) if isinstance(t, torch.Tensor)]

    def map(self, change: Callable[[torch.Tensor], torch.Tensor], *, inputs_only: bool = False) -> Batch:
        """The same with every tensor changed.

        Args:
            inputs_only: leave the target as it is.
        """

        def of(tree: Any) -> Any:
            return tree_map(lambda t: change(t) if isinstance(t, torch.Tensor) else t, tree)

        return dataclasses.replace(
            self, args=of(self.args), kwargs=of(dict(self.kwargs)),
            target=self.target if inputs_only else of(self.target), valid=of(self.valid),
        )  # fmt: skip

    def to(self, device: torch.device | str) -> Batch:
        """The same on another device."""
        return self.map(lambda t: t.to(device, non_blocking=True))

    def take(self, index: Any) -> Batch:
        """The examples at ``index``, a slice or positions; what has no batch axis stays."""
        count = len(torch.arange(self.size)[index])
        taken = self.map(lambda t: t[index] if t.dim() and len(t) == self.size else t)
        return dataclasses.replace(taken, size=count)

    def __len__(self) -> int:
        return self.size

    def batches(self, size: int) -> Iterator[Batch]:
        """The same in batches of at most ``size`` examples."""
        return (self.take(slice(start, start + size)) for start in range(0, self.size, size))

    def unpadded(self, value: torch.Tensor) -> torch.Tensor:
        """What of a value that a network computes for the batch is no padding: ``(positions, ...)``, or all of it.

        A value with an axis of positions, or whose first axis has those of all examples, is cut; of one without, as
        of what a pool makes of a sequence, nothing is padding.
        """
        if self.valid is None or value.dim() < 2:
            return value
        count, length = self.valid.shape
        if len(value) == count * length:
            return value[self.valid.reshape(-1)]
        axes = [d for d in range(1, value.dim()) if value.shape[d] == length] if len(value) == count else []
        return value.movedim(axes[0], 1)[self.valid] if axes else value

    def __call__(self, model: Callable[..., Any]) -> Any:
        """What a network makes of it."""
        return model(*self.args, **self.kwargs)
