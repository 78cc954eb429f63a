"""Fine-grained sparsity: of a weight only the numbers of largest magnitude stay, and a file stores no others.

Pruning by magnitude, then training what is left, as in Deep Compression (Han et al., ICLR 2016, section 2). How many
numbers stay follows from the size of the weight alone, so a search knows what a file takes before any is chosen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.utils import parametrize

from netsmith.compression.steps import Step, register_step
from netsmith.errors import InputError
from netsmith.export.packed import largest
from netsmith.shapes import Named, Number, Record

Sparse = Mapping[str, int]  #: parameter name -> how many of its numbers stay


@register_step
@dataclass(frozen=True)
class SparseStep:
    """Weights become sparse. The zeros lie in the weights themselves: a replay finds that there is a place for them.

    Attributes:
        entries: parameter name -> how many of its numbers stay.
    """

    do: ClassVar[str] = "sparsify"
    shape: ClassVar[Record] = Record({"entries": Named(Number(low=1, high=10**12, whole=True))})
    entries: Sparse

    def __bool__(self) -> bool:
        return bool(self.entries)

    def to_dict(self) -> dict[str, Any]:
        return {"entries": dict(self.entries)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> SparseStep:
        return cls(dict(data["entries"]))

    def apply(self, model: nn.Module) -> None:
        for name, entries in self.entries.items():
            try:
                count = model.get_parameter(name).numel()
            except AttributeError as error:
                raise InputError(
                    f"the recipe names the parameter {name!r}, which this model does not have; use the same MODEL"
                ) from error
            if entries > count:
                raise InputError(
                    f"the recipe keeps {entries} numbers of {name!r}, which has {count}; use the same MODEL"
                )


def sparse_of(steps: Iterable[Step]) -> dict[str, int]:
    """How many numbers of which parameters stay after the steps of a recipe."""
    return {name: n for step in steps if isinstance(step, SparseStep) for name, n in step.entries.items()}


def entries_of(weights: Any, share: Any) -> NDArray[np.int64]:
    """How many of so many weights stay at a ``share`` of them, arrays that broadcast: at least one, and 0 of none.

    A share of 1 keeps the weight as it is, of which a file stores no positions: 0 as well, as in a layer table.
    """
    count = np.ceil(np.asarray(weights, dtype=np.float64) * np.asarray(share, dtype=np.float64) - 1e-6)
    return np.where(np.asarray(share) >= 1, 0, np.maximum(count, np.minimum(weights, 1))).astype(np.int64)


def kept_numbers(weight: torch.Tensor, entries: int) -> torch.Tensor:
    """Which numbers of a weight stay, the ``entries`` largest; bool, in its shape."""
    kept = np.zeros(weight.numel(), dtype=bool)
    kept[largest(weight.detach().cpu().float().numpy(), entries)] = True
    return torch.from_numpy(kept).reshape(weight.shape).to(weight.device)


def make_sparse(model: nn.Module, sparse: Sparse) -> None:
    """Make all numbers of sparse weights zero, in place, but those that stay."""
    for name, entries in sparse.items():
        weight = model.get_parameter(name)
        with torch.no_grad():
            weight.mul_(kept_numbers(weight, entries))


class ZerosKept(nn.Module):
    """A parametrization under which a weight is zero where it was, however it is trained."""

    kept: torch.Tensor

    def __init__(self, kept: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("kept", kept)

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return weight * self.kept


@contextmanager
def zeros_kept(model: nn.Module, sparse: Sparse) -> Iterator[None]:
    """While this lasts, training leaves the zeros of sparse weights zero; afterwards they are plain parameters again.

    Weights that something else parametrizes are left to it.
    """
    held = []
    for name, entries in sparse.items():
        path, _, leaf = name.rpartition(".")
        module = model.get_submodule(path)
        if parametrize.is_parametrized(module, leaf):
            continue
        kept = kept_numbers(getattr(module, leaf), entries)
        parametrize.register_parametrization(module, leaf, ZerosKept(kept))
        held.append((module, leaf))
    try:
        yield
    finally:
        for module, leaf in held:
            parametrize.remove_parametrizations(module, leaf, leave_parametrized=True)
