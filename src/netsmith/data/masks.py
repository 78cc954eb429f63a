"""Images with their masks, images whose pixels are numbers of classes."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from netsmith.data.arrays import read_array
from netsmith.data.batch import Batch
from netsmith.data.decode import Range, decode, fit
from netsmith.data.held import channels_first, finite, pair_of, read_held, whole
from netsmith.data.pairs import read_pairs
from netsmith.data.sources import IMAGE_NAMES
from netsmith.errors import InputError
from netsmith.usercode import words_of

MASKS = ("mask", "masks", "label", "labels", "annotation", "annotations", "segmentation", "target")  #: what has them
Masked = dict[str, tuple[torch.Tensor, torch.Tensor]]  #: of each part images ``(N, C, H, W)`` and masks ``(N, H, W)``
_NUMBERS = ("P", "L", "1", "I", "I;16")  #: modes of Pillow's whose pixels are numbers; of a palette, its places


def of_files(
    data: Any, image_size: int | None, column: str | None, scale: Range | None
) -> tuple[Masked, tuple[str, ...], Range | None]:
    """Images, uint8, and masks, int16, of tables or folders; sentences for the user, and the range of the pixels.

    Raises:
        InputError: they cannot be read.
    """
    pairs = read_pairs(data, column, MASKS, "masks")
    read = decode({key: part.raw() for key, part in pairs.items()}, image_size, scale)
    found = {}
    for key, part in pairs.items():
        height, width = (int(n) for n in read.images[key].shape[-2:])
        found[key] = (read.images[key], read_masks(part.targets, part.names, (height, width)))
    return found, read.notes, read.pixel_range


def of_memory(data: Any) -> tuple[Masked, tuple[str, ...]]:
    """Images, uint8 or floats, and masks, int16, that Python holds, and sentences for the user.

    Raises:
        InputError: they are something else.
    """
    parts, notes = read_held(data, lambda tree: Batch((tree,)))
    found = {}
    for key, part in parts.items():
        images, masks = pair_of(whole(part, f"the rows of {key}"), "rows of segmentation data", (IMAGE_NAMES, MASKS))
        masks = masks[:, 0] if masks.dim() == 4 and masks.shape[1] == 1 else masks
        images = channels_first(finite(images, f"the images of {key}"), f"the images of {key}")
        if masks.is_floating_point() or masks.dim() != 3 or masks.shape[1:] != images.shape[-2:]:
            raise InputError(
                f"the masks of {key} have the shape {'x'.join(map(str, masks.shape[1:]))} of {masks.dtype} and the "
                f"images {'x'.join(map(str, images.shape[1:]))}; give whole numbers of height x width"
            )
        images = images if images.is_floating_point() else images.to(torch.uint8)
        found[key] = (images, masks.to(torch.int16))
    return found, notes


def read_masks(rows: Sequence[Any], names: Sequence[str], target: tuple[int, int]) -> torch.Tensor:
    """Masks in one size, int16 ``(N, *target)``; where they have another, they are cut as their images are.

    Args:
        rows: file contents, paths or arrays ``(H, W)``.
        names: where each came from, for messages.

    Raises:
        InputError: one cannot be read, or has colours.
    """
    out = np.empty((len(rows), *target), dtype=np.int16)
    for i, (row, name) in enumerate(zip(rows, names, strict=True)):
        mask = _read(row, f"the mask of {name}")
        if mask.shape != target:
            mask = fit(mask.astype(np.int32), target, name, nearest=True)
        out[i] = mask
    return torch.from_numpy(out)


def _read(row: Any, name: str) -> np.ndarray:
    from PIL import Image

    try:
        content = row.read_bytes() if isinstance(row, Path) else row
        if isinstance(content, bytes) and content.startswith(b"\x93NUMPY"):
            content = read_array(content)
        if not isinstance(content, np.ndarray):
            with Image.open(io.BytesIO(content)) as image:
                if image.mode not in _NUMBERS:
                    raise InputError(
                        f"{name} has colours ({image.mode}); save it with the number of a class as each pixel, as an "
                        "image of 8 bits, grey or with a palette"
                    )
                content = np.asarray(image)
    except InputError:
        raise
    except Exception as error:  # readers of formats raise many kinds for damaged files
        raise InputError(f"{name} is not a readable image ({words_of(error)}); repair or remove it") from error
    mask = content[..., 0] if content.ndim == 3 and content.shape[-1] == 1 else content
    if mask.ndim != 2 or mask.dtype.kind not in "biu":
        raise InputError(f"{name} has the shape {'x'.join(map(str, mask.shape))}; give height x width whole numbers")
    if int(mask.max(initial=0)) > np.iinfo(np.int16).max:
        raise InputError(f"{name} has the number {int(mask.max())}; number the classes from 0")
    return mask
