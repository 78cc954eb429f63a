"""A batch: everything that a network takes for some examples, and what is wanted of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils._pytree import tree_leaves, tree_map


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

    def __call__(self, model: Callable[..., Any]) -> Any:
        """What a network makes of it."""
        return model(*self.args, **self.kwargs)
