"""Images to images: a cleaner one, a larger one, or the same again. The outputs are images on the scale of 0 to 1."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch

from netsmith.data.batch import Batch
from netsmith.data.collected import collected
from netsmith.data.decode import Range, check_range, range_from_metadata
from netsmith.data.naming import describe
from netsmith.data.normalise import AS_GIVEN, Normalisation, normalisation_from_metadata
from netsmith.data.parted import Parted, parted
from netsmith.data.pictured import of_files, of_memory, smaller
from netsmith.data.tables import is_tables
from netsmith.errors import InputError
from netsmith.metrics import FloatArray, Metric
from netsmith.network.outputs import describe_output, tensors_of
from netsmith.tasks.drawing import SHOWN, mosaic, pixels_of, unnormalised
from netsmith.tasks.task import Task, Weighted

_LEAST = 1e-10  #: of a mean squared error: 100 dB
_UNIT = Normalisation((0.0,), (1.0,))  #: x / 255


def _mse(rows: FloatArray) -> float:
    return float(rows[:, 1].mean()) if len(rows) else float("nan")


PSNR = Metric("psnr", "PSNR", "dB")
MSE = Metric("mse", "MSE", "", higher_is_better=False, finish=_mse)


class ImageToImage(Task):
    """The mean of the images' peak signal-to-noise ratios ranks; the mean squared error is lowered.

    Args:
        data: examples, whose rows are ``(inputs, targets)``: uint8 or floats ``(N, C, H, W)``.
        name: what they were loaded from.
        normalisation: of uint8 inputs; of floats none, which the network takes as they are.
        peak: the largest value of a target, uint8 ones being divided by 255.
        sentences: for the user.
        pixel_range: values of the files that became 0 and 255; None for files of 8 bits.
    """

    kind: ClassVar[str] = "image-to-image"
    each, read_words, misfit = "images", "its image is", "give the size it expects with --image-size"
    metrics = (PSNR, MSE)

    def __init__(
        self, data: Parted, name: str, normalisation: Normalisation, peak: float = 1.0, sentences: Sequence[str] = (),
        pixel_range: Range | None = None,
    ) -> None:  # fmt: skip
        self.pixel_range = pixel_range
        self.name, self.note, self.sentences = name, data.note, tuple(sentences)
        self.normalisation, self.peak, self._data = normalisation, peak, data
        self.train = None if data.train is None else data.train.made(self._batch)
        self.search, self.test = data.search.made(self._batch), data.test.made(self._batch)

    def _batch(self, tree: Any) -> Batch:
        images, targets = tree
        wanted = targets if targets.is_floating_point() else targets.float() / 255
        return Batch((self.normalisation(images, channels_last=True),), {}, wanted, len(images))

    def read(self, outputs: Any, batch: Batch) -> torch.Tensor:
        found = next((t for t in tensors_of(outputs) if t.shape == batch.target.shape), None)
        if found is None:
            wanted = "x".join(map(str, batch.target.shape[1:]))
            raise InputError(
                f"the network returns {describe_output(outputs)} for {batch.size} images, but an image of {wanted} is "
                "wanted of each; use a network and targets of one size"
            )
        return found

    def compared(self, outputs: Any) -> list[torch.Tensor]:
        """The image alone; what else a network returns stays its own."""
        return super().compared(outputs)[:1]

    def loss(self, outputs: Any, batch: Batch) -> Weighted:
        values = (self.read(outputs, batch).float() - batch.target).square().flatten(1).mean(dim=1)
        return values, torch.ones_like(values)

    def partial(self, outputs: Any, batch: Batch) -> FloatArray:
        """PSNR and mean squared error of each image."""
        error = (self.read(outputs, batch).double() - batch.target).square().flatten(1).mean(dim=1)
        ratio = 10 * torch.log10(self.peak**2 / error.clamp(min=_LEAST * self.peak**2))
        return torch.stack([ratio, error], dim=1).detach().cpu().numpy()

    def augmentation(self, wanted: Any) -> Any:
        """A flip of an image and its target alike, where the inputs are pictures; a crop needs what lies around."""
        return None if wanted is None or self.normalisation == AS_GIVEN else _flipped

    def for_weights(self: Self, metadata: Mapping[str, str], given: bool = False) -> Self:
        theirs = None if given or self.normalisation == AS_GIVEN else normalisation_from_metadata(metadata)
        if theirs is None:
            return self
        return type(self)(
            self._data, self.name, theirs.check(self._shape[0]), self.peak, self.sentences, self.pixel_range
        )

    @property
    def _shape(self) -> tuple[int, ...]:
        return tuple(self._data.search.groups[0][0].shape[1:])

    @property
    def built_with(self) -> dict[str, Any]:
        return {"input_shape": list(self._shape)}

    def describe(self) -> dict[str, Any]:
        given = {} if self.normalisation == AS_GIVEN else {k: list(v) for k, v in self.normalisation._asdict().items()}
        return {**super().describe(), "each": self.each, "peak": self.peak, **given}

    def pictures(self, outputs: Any, given: Any, batch: Batch) -> Iterator[tuple[str, bytes, str]]:
        """What goes in, what is wanted, what the network as given makes of it and what the result does."""
        few = slice(0, SHOWN)
        images = unnormalised(batch.inputs[0][few], self.normalisation)
        wanted = [batch.target, *(self.read(found, batch) for found in (given, outputs))]
        columns = [pixels_of(images), *(pixels_of(image[few] / self.peak * 255) for image in wanted)]
        caption = "What goes in, what is wanted, what the network as given makes of it and what the result does"
        yield "images.png", mosaic(columns), caption

    def decode(self, outputs: Any) -> Any:
        """Pixels of 8 bits, ``(size, C, H, W)``."""
        image = next(t for t in tensors_of(outputs) if t.is_floating_point())
        return (image / self.peak * 255).round().clamp(0, 255).to(torch.uint8)


def _flipped(tree: Any, rng: np.random.Generator) -> Any:
    """Each pair mirrored with probability one half."""
    turned = torch.from_numpy(rng.random(len(tree[0])) < 0.5)[:, None, None, None]
    return tuple(torch.where(turned, images.flip(-1), images) for images in tree)


def load(
    data: Any, header: Mapping[str, str] | None = None, *, seed: int = 0, mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None, image_size: int | None = None, label_column: str | None = None,
    classes: Any = None, pixel_range: Sequence[float] | None = None, search_size: int | None = None,
    train_limit: int | None = None, downscale: int | None = None, record: Path | None = None,
    report: Callable[..., None] | None = None,
) -> ImageToImage:  # fmt: skip
    """The task of images and those wanted of them; of images alone it is to return them, or larger ones.

    Args:
        data: tables with columns ``image`` and ``target``, a folder ``images`` beside a folder ``targets``, pairs in
            memory ``(inputs, targets)``, or images alone in any of these forms.
        header: of the file of the network's weights.
        mean, std: of the inputs, on x/255; left out they are x/255 itself.
        label_column: the column, or folder, of the targets.
        downscale: make the inputs of images alone so many times smaller, as for super-resolution.

    Raises:
        InputError: it cannot be read.
    """
    name, header = describe(data), header or {}
    if is_tables(data) or isinstance(data, (str, Path)):
        scale = check_range(pixel_range, "--pixel-range") or range_from_metadata(header)
        parts, notes, scale = of_files(data, image_size, label_column, scale)
    else:
        (parts, notes), scale = of_memory(data), None
    if downscale is not None:
        parts = {key: (smaller(wanted, downscale, name), wanted) for key, (_, wanted) in parts.items()}
    found = {key: collected([pair], lambda tree: Batch(tree), name) for key, pair in parts.items()}
    divided = parted(found, name, seed, search_size, train_limit)
    images, targets = (divided.train or divided.search).groups[0]
    given = None if mean is None or std is None else Normalisation(tuple(map(float, mean)), tuple(map(float, std)))
    pixels = given or normalisation_from_metadata(header) or _UNIT
    normalisation = AS_GIVEN if images.is_floating_point() else pixels.check(images.shape[1])
    peak = max(1.0, float(targets.max())) if targets.is_floating_point() else 1.0
    return ImageToImage(divided, name, normalisation, peak, notes, scale)
