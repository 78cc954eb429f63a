"""Rows and batches of a user's own, as trees of tensors: tuples, dicts and named tuples of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils._pytree import tree_leaves, tree_map

from netsmith.errors import InputError, shown

Shapes = tuple[Any, ...]  #: what trees that can lie in one have in common: names, shapes, types
_WORDS = (str, bytes)


def tree_of(value: Any, where: str, left_out: set[str]) -> Any:
    """A row or a batch with a tensor for everything that is a number, an array or a list of numbers.

    Args:
        where: what it is, for messages.
        left_out: takes the keys of mappings whose values are text, which no network reads.

    Raises:
        InputError: a part of it is neither numbers nor made of parts; names it.
    """
    if isinstance(value, torch.Tensor):
        if value.layout is not torch.strided or value.is_quantized or value.is_meta:
            raise InputError(f"{where} has a sparse or quantized tensor, or one without values; give a dense one")
        return value.detach().cpu()
    if isinstance(value, (np.ndarray, np.generic, bool, int, float)):
        return _numbers(value, where)
    if value is None:
        return None
    if isinstance(value, Mapping):
        words = {key for key, part in value.items() if _is_text(part)}
        left_out |= {str(key) for key in words}
        return {key: tree_of(part, where, left_out) for key, part in value.items() if key not in words}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(tree_of(part, where, left_out) for part in value))
    if isinstance(value, (list, tuple)):
        if value and _is_nested_numbers(value):
            return _numbers(value, where)
        return tuple(tree_of(part, where, left_out) for part in value)
    if hasattr(value, "__array__"):  # images of Pillow and columns of other libraries
        return _numbers(np.asarray(value), where)
    raise InputError(
        f"{where} has {shown(value, 40)} of type {type(value).__name__}, which is no tensor, array or number; leave it "
        "out, or make a tensor of it in the loader's collate_fn"
    )


def rows_of(tree: Any, where: str) -> int:
    """How many rows a batch has: the length that all its tensors have in common.

    Raises:
        InputError: there is no tensor, or their first axes differ.
    """
    tensors = [t for t in tree_leaves(tree) if isinstance(t, torch.Tensor)]
    counts = {len(t) if t.dim() else 0 for t in tensors}
    if len(counts) != 1 or 0 in counts:
        shapes = ", ".join("x".join(map(str, t.shape)) or "one number" for t in tensors[:6]) or "no tensor"
        raise InputError(
            f"{where} has {shapes}; every tensor of it needs a row for each example, as many as all others: pad what "
            "has more for some examples than for others"
        )
    return counts.pop()


def shapes_of(tree: Any, *, rows: bool) -> Shapes:
    """What trees need to have in common to lie in one.

    Args:
        rows: of trees of rows, whose first axes may have any length.
    """
    each = [
        (tuple(t.shape[1:] if rows else t.shape), t.dtype) if isinstance(t, torch.Tensor) else shown(t)
        for t in tree_leaves(tree)
    ]
    return (*each, str(_names(tree)))


def joined_rows(trees: Sequence[Any]) -> Any:
    """One tree of several that have rows and the same shapes behind them."""
    if len(trees) == 1:
        return trees[0]
    return tree_map(lambda *t: torch.cat(t) if isinstance(t[0], torch.Tensor) else t[0], *trees)


def stacked(trees: Sequence[Any]) -> Any:
    """One tree with a row for each of several of the same shapes."""
    return tree_map(lambda *t: torch.stack(t) if isinstance(t[0], torch.Tensor) else t[0], *trees)


def taken(tree: Any, index: Any) -> Any:
    """The rows of a tree at ``index``."""
    return tree_map(lambda t: t[index] if isinstance(t, torch.Tensor) else t, tree)


def size_of(tree: Any) -> int:
    """Bytes that its tensors take."""
    return sum(t.nbytes for t in tree_leaves(tree) if isinstance(t, torch.Tensor))


def _names(tree: Any) -> Any:
    """The keys of its mappings, and which of its parts are what."""
    if isinstance(tree, Mapping):
        return {key: _names(part) for key, part in tree.items()}
    return tuple(_names(part) for part in tree) if isinstance(tree, tuple) else ""


def _is_text(value: Any) -> bool:
    return isinstance(value, _WORDS) or (
        isinstance(value, (list, tuple)) and bool(value) and all(isinstance(part, _WORDS) for part in value)
    )


def _is_nested_numbers(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return bool(value) and all(map(_is_nested_numbers, value))
    return isinstance(value, (bool, int, float, np.generic))


def _numbers(value: Any, where: str) -> torch.Tensor:
    try:
        array = np.asarray(value)
        if array.dtype.kind not in "biuf":
            raise ValueError(f"{array.dtype} are no numbers")
        floats = array.dtype == np.float64 and not isinstance(value, np.ndarray)
        return torch.from_numpy(np.array(array, dtype=np.float32 if floats else array.dtype, order="C"))
    except (ValueError, TypeError) as error:
        raise InputError(f"{where} has {shown(value, 40)}, of which no tensor can be made ({error})") from error
