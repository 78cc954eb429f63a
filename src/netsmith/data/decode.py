"""Encoded images to uint8 tensors, on one scale for the whole data set."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from netsmith.data.classes import plural
from netsmith.data.pixels import Picture, Row, read_picture
from netsmith.data.room import Room
from netsmith.data.sources import RawSplit
from netsmith.errors import InputError

Range = tuple[float, float]

_CROWDED = 16  #: of 256 levels hold nearly all pixels: a few far ones have stretched the range
_LONGEST = 100  #: times the side that is kept of an image
_SAMPLE = 256  #: images that a range to propose is found on


@dataclass(frozen=True)
class Decoded:
    """Images by split, uint8 ``(N, C, H, W)``, all with one number of channels and one size.

    Attributes:
        pixel_range: values of the files that became 0 and 255; None where the files have 8 bits and were kept.
        notes: sentences on how the images were read, for the user.
    """

    images: dict[str, torch.Tensor]
    pixel_range: Range | None
    notes: tuple[str, ...]


def check_range(values: Sequence[float] | None, where: str) -> Range | None:
    """Two finite numbers, the lower first; None stays None.

    Raises:
        InputError: anything else.
    """
    if values is None:
        return None
    try:
        found = tuple(float(v) for v in values)
    except (TypeError, ValueError, OverflowError):
        found = ()
    if len(found) != 2 or not all(map(math.isfinite, found)) or found[0] >= found[1]:
        raise InputError(f"{where} is {values!r}; give two numbers, the lower first, such as 0,4095")
    return found[0], found[1]


def range_from_metadata(metadata: Mapping[str, str] | None) -> Range | None:
    """The pixel range of the images that weights were trained on; None where their header does not say.

    Raises:
        InputError: it is no range.
    """
    text = (metadata or {}).get("pixel_range")
    if text is None:
        return None
    try:
        values = [float(v) for v in json.loads(text)]
    except (ValueError, TypeError, OverflowError, RecursionError):
        values = []
    return check_range(values, "pixel_range in the metadata of the weights")


def decode(splits: Mapping[str, RawSplit], image_size: int | None, pixel_range: Range | None = None) -> Decoded:
    """Decode every split.

    Greyscale stays one channel only if every image is grey. Where sizes differ, or differ from ``image_size``, the
    shorter side is resized (bilinear, antialiased) and the centre square is cut out. Images of more than 8 bits or
    floats are scaled, all splits alike, so that ``pixel_range``, by default the least and the greatest value of all
    images, becomes 0..255.

    Raises:
        InputError: an image cannot be read (the message names it), depths are mixed, all images are alike, or they take
            more memory than there is.
    """
    room = Room("the data set, decoded,", "give fewer images or a smaller --image-size")
    if image_size is not None:
        room.expect(sum(len(s.rows) for s in splits.values()) * image_size**2)
    read = {key: [_read(*row, image_size, room) for row in zip(s.rows, s.names)] for key, s in splits.items()}
    pictures = {key: [picture for picture, _ in found] for key, found in read.items()}
    sizes = [size for found in read.values() for _, size in found]
    names = [name for s in splits.values() for name in s.names]
    every = [p for found in pictures.values() for p in found]
    deep = _is_deep(every, names)
    notes = []
    scale: Range | None = None
    if deep:
        held = (min(float(p.pixels.min()) for p in every), max(float(p.pixels.max()) for p in every))
        scale = pixel_range or held
        if scale[0] < scale[1]:  # else all pixels are alike, which is refused below
            beyond = "" if scale == held else f" (these images hold {held[0]:g} to {held[1]:g})"
            notes.append(
                f"pixels of {every[0].depth}: {scale[0]:g} to {scale[1]:g} become 0 to 255, one scale for all{beyond}"
            )
    elif pixel_range is not None:
        notes.append(f"the pixel range {pixel_range[0]:g} to {pixel_range[1]:g} is not used: the images have 8 bits")
    target = _target(sizes, image_size)
    grey = all(p.pixels.ndim == 2 for p in every)
    room.expect(len(every) * (1 if grey else 3) * math.prod(target))
    images = {
        key: stack([p.pixels for p in found], splits[key].names, grey, target, scale) for key, found in pictures.items()
    }
    _need_contents(images, every, names[:1], scale, given=pixel_range is not None)
    if len(set(sizes)) > 1:
        notes.append(f"images of {len(set(sizes))} sizes: the centre of each is resized to {target[0]}x{target[1]}")
    if scale is not None and (crowd := _crowding(images, every)):
        notes.append(crowd)
    return Decoded(images, scale, (*notes, *_on_alpha(every, names), *_on_more(every, names), *_on_flat(every, names)))


def _is_deep(every: Sequence[Picture], names: Sequence[str]) -> bool:
    """Whether the images need a scale. Between images of 8 bits and others none is known."""
    first: dict[str, str] = {}
    for picture, name in zip(every, names, strict=True):
        first.setdefault(picture.depth, name)
    if len(first) > 1:
        (one, a), (other, b) = list(first.items())[:2]
        raise InputError(
            f"{a} has pixels of {one} and {b} of {other}, between which no scale is known; convert all images to one"
        )
    return "8 bits" not in first


def _read(row: Row, name: str, image_size: int | None, room: Room) -> tuple[Picture, tuple[int, int]]:
    """One image and its size in the file; where it needs no scale it is resized at once, so as not to keep it whole."""
    picture = read_picture(row, name)
    height, width = picture.pixels.shape[:2]
    if image_size is not None and picture.depth == "8 bits" and (height, width) != (image_size, image_size):
        pixels = fit(picture.pixels, (image_size, image_size), name)
        picture = Picture(pixels, picture.alpha, picture.more, was_flat=picture.flat)
    if picture is not row:
        room.take(picture.pixels.nbytes)
    return picture, (height, width)


def _target(sizes: Sequence[tuple[int, int]], image_size: int | None) -> tuple[int, int]:
    if image_size is not None:
        return (image_size, image_size)
    if len(set(sizes)) == 1:
        return sizes[0]
    side = min(224, int(np.median([min(size) for size in sizes])))
    return (side, side)


def stack(
    images: Iterable[np.ndarray], names: Sequence[str], grey: bool, target: tuple[int, int], scale: Range | None
) -> torch.Tensor:
    """Pixels of images, ``(H, W)`` or ``(H, W, 3)``, on one scale and in one size: uint8 ``(N, C, *target)``.

    Raises:
        InputError: one is too long to be resized; ``names`` says which.
    """
    images = list(images)
    out = np.empty((len(images), 1 if grey else 3, *target), dtype=np.uint8)
    for i, pixels in enumerate(images):
        array = pixels if scale is None else _scaled(pixels, scale)
        array = array if array.shape[:2] == target else fit(array, target, names[i])
        out[i] = array if array.ndim == 2 else array.transpose(2, 0, 1)  # a grey image broadcasts over channels
    return torch.from_numpy(out)


def _scaled(pixels: np.ndarray, scale: Range) -> np.ndarray:
    low, high = scale
    if low == high:
        return np.zeros(pixels.shape, dtype=np.uint8)
    shares = (pixels.astype(np.float64) / 2 - low / 2) / (high / 2 - low / 2)  # halves: the span of floats may be inf
    return np.rint(shares.clip(0.0, 1.0) * 255.0).astype(np.uint8)


def fit(array: np.ndarray, target: tuple[int, int], name: str, *, nearest: bool = False) -> np.ndarray:
    """The centre of an image in another size, its shorter side resized.

    Args:
        nearest: take values that are there, as of masks, between which there is nothing; else bilinear, antialiased.

    Raises:
        InputError: it is so long that nearly all of it would be cut off.
    """
    from PIL import Image

    height, width = array.shape[:2]
    scale = max(target[0] / height, target[1] / width)
    new = (max(target[1], round(width * scale)), max(target[0], round(height * scale)))
    if math.prod(new) > _LONGEST * math.prod(target):  # nearly all of it would be cut off, after it took gigabytes
        raise InputError(
            f"{name} has {width}x{height} pixels, of which {target[1]}x{target[0]} would show less than 1 in "
            f"{_LONGEST}; cut it or remove it"
        )
    how = Image.Resampling.NEAREST if nearest else Image.Resampling.BILINEAR
    resized = np.asarray(Image.fromarray(array).resize(new, how))
    top, left = (new[1] - target[0]) // 2, (new[0] - target[1]) // 2
    return np.ascontiguousarray(resized[top : top + target[0], left : left + target[1]])


def _need_contents(
    images: Mapping[str, torch.Tensor],
    every: Sequence[Picture],
    names: Sequence[str],
    scale: Range | None,
    *,
    given: bool,
) -> None:
    """Refuse a data set of two or more images that are all the same."""
    first = next(iter(images.values()))[:1]
    if len(every) < 2 or not all(bool((part == first).all()) for part in images.values()):
        return
    what = f"all {len(every)} images, from {names[0]} on, hold the same pixels"
    if scale is not None and given:
        raise InputError(f"{what} once {scale[0]:g} to {scale[1]:g} becomes 0 to 255; correct --pixel-range")
    if any(p.alpha for p in every):
        raise InputError(f"{what} but for their alpha channels, which are not read; draw them on a background")
    raise InputError(f"{what}, so nothing can be learnt from them; check how they were written")


def _crowding(images: Mapping[str, torch.Tensor], every: Sequence[Picture]) -> str | None:
    """A sentence where a few extreme pixels leave hardly any levels to the others."""
    counts = sum(torch.bincount(part.reshape(-1), minlength=256).double() for part in images.values())
    shares = torch.as_tensor(counts).cumsum(0) / torch.as_tensor(counts).sum()
    low, high = (int((shares < q).sum()) for q in (0.005, 0.995))
    if high - low >= _CROWDED:
        return None
    sample = np.concatenate([p.pixels.reshape(-1) for p in every[:: -(-len(every) // _SAMPLE)]])
    ends = np.percentile(sample, (0.1, 99.9))
    remedy = f"; --pixel-range {ends[0]:g},{ends[1]:g} would show them" if ends[0] < ends[1] else ""
    return f"nearly all pixels fall on {high - low + 1} of 256 levels, as a few are far from the others{remedy}"


def _on_alpha(every: Sequence[Picture], names: Sequence[str]) -> list[str]:
    with_alpha = [(p, n) for p, n in zip(every, names, strict=True) if p.alpha]
    if not with_alpha:
        return []
    empty = sum(p.flat for p, _ in with_alpha)
    more = f", and {empty} of them hold nothing else" if empty else ""
    return [
        f"{len(with_alpha)} of {plural(len(every), 'image')} with an alpha channel, which is not read{more} "
        f"(the first is {with_alpha[0][1]}); draw them on a background if it matters"
    ]


def _on_more(every: Sequence[Picture], names: Sequence[str]) -> list[str]:
    films = [n for p, n in zip(every, names, strict=True) if p.more]
    if not films:
        return []
    return [
        f"{len(films)} of {plural(len(every), 'file')} with more than one image, of which the first is read "
        f"(the first such is {films[0]}); save the others as files if they matter"
    ]


def _on_flat(every: Sequence[Picture], names: Sequence[str]) -> list[str]:
    flat = [n for p, n in zip(every, names, strict=True) if p.flat]
    if 2 * len(flat) < len(every):
        return []
    return [f"{len(flat)} of {plural(len(every), 'image')} of one flat colour (the first is {flat[0]})"]
