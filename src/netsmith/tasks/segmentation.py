"""Segmentation: of which class each pixel of an image is. The outputs are logits of each pixel."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch.nn import functional as F

from netsmith.data.augment import Augment, default_augment
from netsmith.data.batch import Batch
from netsmith.data.classes import names_from_metadata, read_classes
from netsmith.data.collected import collected
from netsmith.data.decode import Range, check_range, range_from_metadata
from netsmith.data.masks import of_files, of_memory
from netsmith.data.naming import describe
from netsmith.data.normalise import AS_GIVEN, Normalisation, normalisation_from_metadata, statistics
from netsmith.data.parted import Parted, parted
from netsmith.data.tables import is_tables
from netsmith.errors import InputError
from netsmith.metrics import FloatArray, Metric
from netsmith.network.outputs import logits_among
from netsmith.tasks.drawing import SHOWN, mosaic, painted, pixels_of, unnormalised
from netsmith.tasks.logits import LogitsTask

IGNORE = 255  #: the usual number of pixels that count for nothing


def _miou(rows: FloatArray) -> float:
    """The mean over classes that occur of intersection over union, of all pixels together."""
    classes = (rows.shape[1] - 1) // 2
    both, either = rows[:, 1 : 1 + classes].sum(axis=0), rows[:, 1 + classes :].sum(axis=0)
    there = either > 0
    return float((both[there] / either[there]).mean()) if there.any() else float("nan")


def _right(rows: FloatArray) -> float:
    """The share of pixels of the right class."""
    classes = (rows.shape[1] - 1) // 2
    return float(rows[:, 1 : 1 + classes].sum() / max(rows[:, 0].sum(), 1.0))


MIOU = Metric("miou", "mIoU", "%", finish=_miou)
PIXELS = Metric("pixel_accuracy", "pixel accuracy", "%", finish=_right)


class Segmentation(LogitsTask):
    """mIoU ranks; cross-entropy of the pixels is lowered. Logits in another size are resized to that of the masks.

    Args:
        data: examples, whose rows are ``(images, masks)``: uint8 or floats ``(N, C, H, W)``, and whole numbers
            ``(N, H, W)``.
        name: what they were loaded from.
        classes: how many there are.
        normalisation: of uint8 images; of floats none, which the network takes as they are.
        ignore: the number of pixels that count for nothing.
        names: of the classes, where they are known.
        sentences: for the user.
        pixel_range: values of the files that became 0 and 255; None for files of 8 bits.
    """

    kind: ClassVar[str] = "segmentation"
    positions: ClassVar[int] = 2
    each, read_words, misfit = "images", "its logits of pixels are", "give the size it expects with --image-size"
    metrics = (MIOU, PIXELS)

    def __init__(
        self, data: Parted, name: str, classes: int, normalisation: Normalisation = AS_GIVEN, ignore: int = IGNORE,
        names: Sequence[str] = (), sentences: Sequence[str] = (), pixel_range: Range | None = None,
    ) -> None:  # fmt: skip
        self.pixel_range = pixel_range
        self.name, self.note, self.sentences, self.classes = name, data.note, tuple(sentences), classes
        self.ignore, self.names, self.normalisation, self._data = ignore, tuple(names), normalisation, data
        self.train = None if data.train is None else data.train.made(self._batch)
        self.search, self.test = data.search.made(self._batch), data.test.made(self._batch)

    def _batch(self, tree: Any) -> Batch:
        images, masks = tree
        return Batch((self.normalisation(images, channels_last=True),), {}, masks.long(), len(images))

    def read(self, outputs: Any, batch: Batch) -> torch.Tensor:
        found = super().read(outputs, batch)
        size = batch.target.shape[-2:]
        return found if found.shape[-2:] == size else F.interpolate(found.float(), size, mode="bilinear")

    def partial(self, outputs: Any, batch: Batch) -> FloatArray:
        """How many pixels count, then of each class how many are in both and in either of what is said and wanted."""
        said, wanted, kept = self.read(outputs, batch)[:, : self.classes].argmax(1), batch.target, self._kept(batch)
        counts = torch.zeros(batch.size, 3, self.classes, dtype=torch.float64, device=said.device)
        for row, numbers in enumerate((said, wanted.clamp(0, self.classes - 1))):
            each = numbers.flatten(1)
            counts[:, row].scatter_add_(1, each, kept.flatten(1).double())
        counts[:, 2].scatter_add_(1, said.flatten(1), (kept & (said == wanted)).flatten(1).double())
        both, either = counts[:, 2], counts[:, 0] + counts[:, 1] - counts[:, 2]
        pixels = kept.flatten(1).sum(dim=1, keepdim=True).double()
        return torch.cat([pixels, both, either], dim=1).cpu().numpy()

    def augmentation(self, wanted: Any) -> Any:
        """A crop and a flip of an image and its mask alike; what a crop adds counts for nothing."""
        side = int(self.search.groups[0][0].shape[-1])  # type: ignore[attr-defined]
        how = default_augment(side) if wanted == "auto" and self.normalisation != AS_GIVEN else wanted
        return _Alike(how, int(self.ignore or 0)) if isinstance(how, Augment) else None

    def for_weights(self: Self, metadata: Mapping[str, str], given: bool = False) -> Self:
        theirs = None if given or self.normalisation == AS_GIVEN else normalisation_from_metadata(metadata)
        if theirs is None:
            return self
        return type(self)(
            self._data, self.name, self.classes, theirs.check(self._shape[0]), int(self.ignore or 0), self.names,
            self.sentences, self.pixel_range,
        )  # fmt: skip

    @property
    def _shape(self) -> tuple[int, ...]:
        return tuple(self.search.groups[0][0].shape[1:])  # type: ignore[attr-defined]

    @property
    def built_with(self) -> dict[str, Any]:
        return {"num_classes": self.classes, "input_shape": list(self._shape)}

    def describe(self) -> dict[str, Any]:
        given = {} if self.normalisation == AS_GIVEN else {k: list(v) for k, v in self.normalisation._asdict().items()}
        said = {"each": self.each, "classes": self.classes, "ignore": self.ignore, "names": list(self.names), **given}
        return {**super().describe(), **said}

    def pictures(self, outputs: Any, given: Any, batch: Batch) -> Iterator[tuple[str, bytes, str]]:
        """Images, what is wanted of them, what the network as given says and what the result says."""
        few = slice(0, SHOWN)
        images = unnormalised(batch.inputs[0][few], self.normalisation)
        masks = [batch.target, *(self.read(found, batch)[:, : self.classes].argmax(1) for found in (given, outputs))]
        columns = [pixels_of(images), *(painted(mask[few], self.classes) for mask in masks)]
        caption = "Test images, the classes that are wanted, those of the network as given and those of the result"
        yield "masks.png", mosaic(columns), caption

    def decode(self, outputs: Any) -> Any:
        """The class of each pixel, ``(size, H, W)``."""
        return logits_among(outputs).argmax(1).to(torch.uint8 if self.classes <= 256 else torch.int16)


@dataclasses.dataclass(frozen=True)
class _Alike:
    """A random crop and flip of images and of their masks, with the same draw."""

    augment: Augment
    ignore: int

    def __call__(self, tree: Any, rng: np.random.Generator) -> Any:
        images, masks = tree
        draw = self.augment.draw(len(images), rng)
        shifted = self.augment.apply((masks.int() - self.ignore)[:, None], draw)[:, 0] + self.ignore
        return self.augment.apply(images, draw), shifted.to(masks.dtype)


def load(
    data: Any, header: Mapping[str, str] | None = None, *, seed: int = 0, mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None, image_size: int | None = None, label_column: str | None = None,
    classes: str | Path | Sequence[str] | None = None, pixel_range: Sequence[float] | None = None,
    search_size: int | None = None, train_limit: int | None = None, ignore: int = IGNORE,
    record: Path | None = None, report: Callable[..., None] | None = None,
) -> Segmentation:  # fmt: skip
    """The task of images and masks.

    Args:
        data: tables with a column of images and one of masks, a folder ``images`` beside a folder ``masks`` with files
            of the same names, or pairs in memory: images ``(N, C, H, W)`` and masks ``(N, H, W)``, or loaders of these.
        header: of the file of the network's weights.
        label_column: the column, or folder, of the masks.
        classes: names, or a file of them; they say how many there are where the masks do not have them all.
        ignore: the number of pixels that count for nothing.

    Raises:
        InputError: it cannot be read.
    """
    name, header = describe(data), header or {}
    if is_tables(data) or isinstance(data, (str, Path)):
        scale = check_range(pixel_range, "--pixel-range") or range_from_metadata(header)
        parts, notes, scale = of_files(data, image_size, label_column, scale)
    else:
        (parts, notes), scale = of_memory(data), None
    known = list(read_classes(classes)) if classes is not None else list(names_from_metadata(header) or ())
    counts = [int(m[m != ignore].max()) for _, m in parts.values() if bool((m != ignore).any())]
    lowest = min(int(masks.min()) for _, masks in parts.values())
    if not counts or lowest < min(0, ignore):
        raise InputError(
            f"the masks of {name!r} have {'no pixel that counts' if not counts else f'the number {lowest}'}; number "
            f"the classes from 0, and with {ignore} what counts for nothing"
        )
    most = max(counts) + 1
    if known and len(known) < most:
        raise InputError(f"the masks of {name!r} have a class {most - 1}, but {len(known)} classes are named; name all")
    found = {key: collected([pair], lambda tree: Batch(tree), name) for key, pair in parts.items()}
    divided = parted(found, name, seed, search_size, train_limit)
    pixels = _normalisation(divided, mean, std, header)
    return Segmentation(divided, name, max(most, len(known)), pixels, ignore, known, notes, scale)


def _normalisation(
    divided: Parted, mean: Sequence[float] | None, std: Sequence[float] | None, header: Mapping[str, str]
) -> Normalisation:
    images = (divided.train or divided.search).groups[0][0]
    if images.is_floating_point():
        return AS_GIVEN
    said = None if mean is None or std is None else Normalisation(tuple(map(float, mean)), tuple(map(float, std)))
    return (said or normalisation_from_metadata(header) or statistics(images)).check(images.shape[1])
