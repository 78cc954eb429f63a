"""Images and those that are wanted of them, as two tensors."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional as F

from netsmith.data.batch import Batch
from netsmith.data.decode import Range, decode
from netsmith.data.held import channels_first, finite, pair_of, read_held, whole
from netsmith.data.pairs import read_pairs
from netsmith.data.sources import IMAGE_NAMES
from netsmith.errors import InputError

TARGETS = ("target", "targets", "output", "outputs", "clean", "label", "labels", "high", "hr")  #: what has them
Wanted = dict[str, tuple[torch.Tensor, torch.Tensor]]  #: of each part images and targets ``(N, C, H, W)``


def of_files(
    data: Any, image_size: int | None, column: str | None, scale: Range | None
) -> tuple[Wanted, tuple[str, ...], Range | None]:
    """Images and targets, uint8, of tables or folders, of images alone each its own; sentences, the pixels' range.

    Raises:
        InputError: they cannot be read.
    """
    pairs = read_pairs(data, column, TARGETS, "targets", alone=True)
    sides = [
        {key: part.raw(targets=side) for key, part in pairs.items() if part.targets or not side}
        for side in (False, True)
    ]
    images = decode(sides[0], image_size, scale)
    if not sides[1]:
        return {key: (found, found) for key, found in images.images.items()}, images.notes, images.pixel_range
    targets = decode(sides[1], None, scale)
    return (
        {key: (images.images[key], targets.images[key]) for key in pairs},
        (*images.notes, *targets.notes),
        images.pixel_range,
    )


def of_memory(data: Any) -> tuple[Wanted, tuple[str, ...]]:
    """Likewise of what Python holds, uint8 or floats.

    Raises:
        InputError: they are something else.
    """
    parts, notes = read_held(data, lambda tree: Batch((tree,)))
    found = {}
    for key, part in parts.items():
        tree = whole(part, f"the images of {key}")
        alone = isinstance(tree, torch.Tensor)
        pair = (tree, tree) if alone else pair_of(tree, "rows of images to images", (IMAGE_NAMES, TARGETS))
        sides = [channels_first(finite(t, f"the images of {key}"), f"the images of {key}") for t in pair]
        sides = [t if t.is_floating_point() else t.to(torch.uint8) for t in sides]
        found[key] = (sides[0], sides[1])
    return found, notes


def smaller(images: torch.Tensor, times: int, name: str) -> torch.Tensor:
    """Images with sides that are so many times shorter, by a bicubic filter without aliasing; the type stays.

    Raises:
        InputError: their sides are no multiples of it.
    """
    height, width = images.shape[-2:]
    if times < 2 or height % times or width % times:
        raise InputError(
            f"images of {name!r} have {width}x{height} pixels, which cannot be made {times} times smaller; give a "
            "whole number above 1 that divides both, or another size with --image-size"
        )
    size = (height // times, width // times)
    made = [
        F.interpolate(part.float(), size, mode="bicubic", antialias=True, align_corners=False)
        for part in images.split(1024)
    ]
    found = torch.cat(made)
    return found if images.is_floating_point() else found.round().clamp(0, 255).to(torch.uint8)
