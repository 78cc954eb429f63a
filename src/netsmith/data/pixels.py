"""One encoded image to an array of its pixels, in the depth that the file has."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from netsmith.data.arrays import read_array
from netsmith.data.room import Room
from netsmith.errors import InputError

if TYPE_CHECKING:
    from PIL import Image

_GREY = ("1", "L", "LA", "La")
MOST_BYTES = 500_000_000  #: of a file that is read as one image
_LARGE, _WORK = 2**24, 16  #: pixels, and bytes that each of them takes while it is decoded
_NPY = b"\x93NUMPY"
_TIFF_DEPTH, _TIFF_SIGN = 258, 339  # tags: bits of a sample, and whether they are unsigned (1, or absent) or signed

Row: TypeAlias = "bytes | Path | np.ndarray | Picture | Image.Image"  #: what an image is read from


@dataclass(frozen=True)
class Picture:
    """Pixels ``(H, W)`` or ``(H, W, 3)``: uint8, or another type whose scale only the data set knows.

    Attributes:
        alpha: whether the file has an alpha channel that differs from pixel to pixel; it is not in ``pixels``.
        more: whether the file has more images, as films and stacks have, than the first, which is read.
        was_flat: what ``flat`` was of an image that has been resized since.
    """

    pixels: np.ndarray
    alpha: bool = False
    more: bool = False
    was_flat: bool | None = None

    @property
    def depth(self) -> str:
        """``8 bits``, ``more than 8 bits`` or ``floats``: what has one scale of its own."""
        kind = self.pixels.dtype
        return "8 bits" if kind == np.uint8 else "floats" if kind.kind == "f" else "more than 8 bits"

    @property
    def flat(self) -> bool:
        """Whether all pixels are alike."""
        if self.was_flat is not None:
            return self.was_flat
        return bool((self.pixels == self.pixels[:1, :1]).all())


def read_picture(row: Row, name: str) -> Picture:
    """Read one image: a file's content, a file, or an array ``(H, W)``, ``(H, W, C)`` or ``(C, H, W)``, C of 1 or 3.

    Args:
        row: also one of Pillow's, or one that was read before, which stays as it is.
        name: where it came from, for messages.

    Raises:
        InputError: it cannot be read, or not without losing what it holds.
    """
    from PIL import Image, UnidentifiedImageError

    if isinstance(row, Picture):
        return row
    try:
        if isinstance(row, Path) and not row.is_file():
            raise OSError("it is no file" if row.exists() else "there is no such file")
        if isinstance(row, Path) and row.stat().st_size > MOST_BYTES:
            raise OSError(
                f"it has {row.stat().st_size / 1e6:.0f} MB, more than the {MOST_BYTES / 1e6:.0f} MB of an image"
            )
        content = row.read_bytes() if isinstance(row, Path) else row
        if isinstance(content, bytes) and not content:
            raise OSError("it is empty")
        if isinstance(content, bytes) and content.startswith(_NPY):
            content = read_array(content)
        if isinstance(content, Image.Image):
            picture = _picture(content, name)
        elif isinstance(content, np.ndarray):
            picture = Picture(_laid_out(content))
        else:
            with warnings.catch_warnings(), Image.open(io.BytesIO(content)) as image:
                warnings.simplefilter("ignore")  # on large images and odd palettes, which are read all the same
                picture = _picture(image, name)
    except UnidentifiedImageError as error:
        raise _unreadable(name, "its format is not known") from error
    except InputError:
        raise
    except Exception as error:  # readers of formats raise many kinds for damaged files
        why = getattr(error, "strerror", None) or str(error) or "it is damaged"
        raise _unreadable(name, why.splitlines()[0][:120]) from error
    if not picture.pixels.size:
        raise _unreadable(name, "it has no pixels")
    if picture.pixels.dtype.kind == "f" and not np.isfinite(picture.pixels).all():
        raise InputError(f"{name} has pixels that are NaN or infinite; give them a value or remove the image")
    return picture


def _unreadable(name: str, why: str) -> InputError:
    return InputError(f"{name} is not a readable image ({why}); repair or remove it")


def _picture(image: Image.Image, name: str) -> Picture:
    if image.width * image.height > _LARGE:  # a small file may hold a huge one
        Room(name, "make it smaller").expect(image.width * image.height * _WORK)
    more = getattr(image, "n_frames", 1) > 1
    if image.mode[:1] in ("I", "F"):  # integers of 16 or 32 bits of either byte order, and floats
        return Picture(_native(image), more=more)
    if _is_deep(image):
        raise InputError(
            f"{name} has 16 bits a channel in colour, which cannot be read without loss; convert it to 8 bits a channel"
        )
    alpha = False
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        low, high = image.convert("RGBA").getchannel("A").getextrema()
        alpha = low != high
    grey = image.mode in _GREY
    return Picture(np.asarray(image.convert("L" if grey else "RGB")), alpha, more)


def _native(image: Image.Image) -> np.ndarray:
    pixels = np.asarray(image)
    pixels = pixels.astype(pixels.dtype.newbyteorder("="))
    tags: Any = getattr(image, "tag_v2", {})
    if image.mode == "I" and tags.get(_TIFF_DEPTH) == (32,) and tuple(tags.get(_TIFF_SIGN, (1,)))[:1] == (1,):
        return pixels.view(np.uint32)  # Pillow has no unsigned type of 32 bits
    return pixels


def _is_deep(image: Image.Image) -> bool:
    """Whether Pillow drops the lower half of every sample: its decoder is told so in words such as ``RGB;16B``."""
    for tile in getattr(image, "tile", ()):
        words = tile[3] if isinstance(tile[3], tuple) else (tile[3],)
        if any(isinstance(w, str) and ";16" in w for w in words):
            return True
        if image.format == "PPM" and any(isinstance(w, int) and w > 255 for w in words):
            return True
    return False


def _laid_out(array: np.ndarray) -> np.ndarray:
    """Numbers as ``(H, W)`` or ``(H, W, 3)``."""
    if array.dtype.kind not in "biuf":
        raise ValueError(f"an array of {array.dtype}, not of numbers")
    shape = array.shape
    if array.ndim == 3 and shape[-1] not in (1, 3) and shape[0] in (1, 3):
        array = np.moveaxis(array, 0, -1)
    if array.ndim == 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim != 2 and not (array.ndim == 3 and array.shape[-1] == 3):
        raise ValueError(f"an array of shape {'x'.join(map(str, shape))}, not height x width with 1 or 3 channels")
    if array.dtype.kind == "b":
        return array.astype(np.uint8) * np.uint8(255)
    return array.astype(array.dtype.newbyteorder("="))
