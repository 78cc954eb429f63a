"""Parts of data that Python holds, as trees of tensors, for tasks that know what their rows are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from netsmith.data.collected import Collected, Make
from netsmith.data.parts import PartReader
from netsmith.data.sources import SPLIT_WORDS
from netsmith.errors import InputError

_WORDS = {**SPLIT_WORDS, "search": "validation", "all": "all"}


def read_held(data: Any, make: Make) -> tuple[dict[str, Collected], tuple[str, ...]]:
    """The parts by their usual names, and sentences for the user.

    Args:
        data: a dict of parts, or one part; see :data:`netsmith.data.parts.FORMS`.
        make: what makes a batch of rows.

    Raises:
        InputError: it cannot be read.
    """
    found, notes = {}, list[str]()
    for key, part in parts_of(data).items():
        reader = PartReader(key if key != "all" else "data", make)
        read = reader.read(part, anew=False)
        assert isinstance(read, Collected)  # a stream is read anew, which nothing here is
        found[key], notes = read, notes + reader.notes
    return found, tuple(notes)


def parts_of(data: Any) -> dict[str, Any]:
    """The parts of a dict by their usual names; anything else is ``all``.

    Raises:
        InputError: a part is named twice.
    """
    if callable(data) and not hasattr(data, "__getitem__") and not isinstance(data, torch.nn.Module):
        data = data()
    if not isinstance(data, Mapping) or not data or not all(str(key).lower() in _WORDS for key in data):
        return {"all": data}
    parts = {_WORDS[str(key).lower()]: part for key, part in data.items()}
    if len(parts) < len(data):
        raise InputError(f"{', '.join(map(str, data))} name one part twice; give train, search and test once")
    return parts


def whole(part: Collected, what: str) -> Any:
    """All rows of a part as one tree.

    Raises:
        InputError: they have several shapes.
    """
    if len(part.groups) > 1:
        raise InputError(f"{what} have {len(part.groups)} different shapes; give all of them in one")
    return part.groups[0]


def pair_of(tree: Any, what: str, names: tuple[tuple[str, ...], tuple[str, ...]]) -> tuple[torch.Tensor, torch.Tensor]:
    """The two tensors of rows ``(input, target)``, or of dicts with such.

    Args:
        names: of the inputs and of the targets in dicts.

    Raises:
        InputError: rows are something else.
    """
    if isinstance(tree, Mapping):
        first, second = (next((tree[n] for n in usual if n in tree), None) for usual in names)
        if isinstance(first, torch.Tensor) and isinstance(second, torch.Tensor):
            return first, second
    elif isinstance(tree, tuple) and len(tree) == 2 and all(isinstance(t, torch.Tensor) for t in tree):
        return tree[0], tree[1]
    has = (
        ", ".join(map(str, tree))
        if isinstance(tree, Mapping)
        else f"{len(tree) if isinstance(tree, tuple) else 1} part(s)"
    )
    raise InputError(
        f"{what} have {has}; give pairs of tensors, or dicts with {' or '.join(names[0])} and {' or '.join(names[1])}"
    )


def channels_first(images: torch.Tensor, what: str) -> torch.Tensor:
    """Images as networks take them, ``(N, C, H, W)``; grey ones get a channel.

    Raises:
        InputError: they have another shape.
    """
    if images.dim() == 3:
        images = images[:, None]
    if images.dim() == 4 and images.shape[-1] in (1, 3) and images.shape[1] not in (1, 3):
        images = images.permute(0, 3, 1, 2)
    if images.dim() != 4:
        shape = "x".join(map(str, images.shape[1:]))
        raise InputError(f"{what} have the shape {shape}; give channels x height x width")
    return images.contiguous()


def finite(values: torch.Tensor, what: str) -> torch.Tensor:
    """The same, where all of them are numbers.

    Raises:
        InputError: one is NaN or infinite; names its row.
    """
    if values.is_floating_point():
        bad = np.flatnonzero(~torch.isfinite(values).reshape(len(values), -1).all(dim=1).numpy())
        if len(bad):
            raise InputError(f"row {bad[0]} of {what} has NaN or infinite values; repair or remove it")
    return values
