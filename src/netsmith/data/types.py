"""A data set in memory: three splits of uint8 images, or of inputs that are floats as the network takes them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from netsmith.data.augment import Augment
from netsmith.data.classes import (
    DECLARED,
    OF_WEIGHTS,
    names_from_metadata,
    order_sentence,
    positions,
    read_classes,
)
from netsmith.data.decode import range_from_metadata
from netsmith.data.examples import n_batches
from netsmith.data.feeding import PIXEL, Feeding
from netsmith.data.normalise import AS_GIVEN, Normalisation, normalisation_from_metadata
from netsmith.errors import InputError

#: where a normalisation comes from
GIVEN, OF_FILE = "as given", "as the file of the weights says"
OF_DATA = "the statistics of this data set: weights that were trained with others need them by --mean and --std"


@dataclass(frozen=True, eq=False)
class Split:
    """Images and labels of one part of a data set.

    Attributes:
        images: ``(N, C, H, W)``, uint8, or float32 where inputs are taken as given.
        labels: int64, ``(N,)``.
    """

    images: torch.Tensor
    labels: torch.Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: np.ndarray | slice | torch.Tensor) -> Split:
        """The rows at ``index``; slices share memory."""
        index = torch.from_numpy(index) if isinstance(index, np.ndarray) else index
        return Split(self.images[index], self.labels[index])

    def batches(
        self,
        batch_size: int,
        *,
        normalise: Normalisation | tuple[tuple[float, ...], tuple[float, ...]],
        shuffle_rng: np.random.Generator | None = None,
        augment: Augment | None = None,
        channels_last: bool = True,
        drop_last: bool = False,
        start: int = 0,
        part: tuple[int, int] = (0, 1),
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield float images ``(B, C, H, W)`` and labels ``(B,)``.

        Args:
            batch_size: images a batch.
            normalise: mean and standard deviation of x/255 a channel; none for inputs that are taken as given.
            shuffle_rng: source of the order and of augmentation; without it rows come in order.
            augment: random crop and flip; needs ``shuffle_rng``.
            channels_last: memory layout of the images.
            drop_last: leave out a last batch that is not full (never the only one).
            start: batches to skip; the rest is what a full pass would have yielded.
            part: ``(i, n)``: rows i, i + n, ... of every batch alone, as one of ``n`` processes that share it.
        """
        pixels = Normalisation(*normalise)
        if augment is not None and shuffle_rng is None:
            raise ValueError("augmentation needs shuffle_rng")
        n = len(self)
        order = None if shuffle_rng is None else torch.from_numpy(shuffle_rng.permutation(n))
        for number in range(n_batches(n, batch_size, drop_last)):
            rows = slice(number * batch_size, min(n, (number + 1) * batch_size))
            draw = augment.draw(rows.stop - rows.start, shuffle_rng) if augment and shuffle_rng else None
            if number < start:
                continue
            index = (
                slice(rows.start + part[0], rows.stop, part[1]) if order is None else order[rows][part[0] :: part[1]]
            )
            images, labels = self.images[index], self.labels[index]
            if augment and draw is not None:
                dy, dx, flips = draw
                mine = slice(part[0], None, part[1])
                images = augment.apply(images, (dy[mine], dx[mine], flips[mine]))
            yield pixels(images, channels_last=channels_last), labels


@dataclass(frozen=True, eq=False)
class Data:
    """A data set with its three splits.

    Attributes:
        name: the spec that it was loaded from.
        train: for gradients; None where the source has too few rows to train on (see ``note``).
        search: for every choice: early stopping, calibration, search. Held out of train.
        test: for the final figure only.
        classes: a name a class, in label order.
        classes_named: False where the source has bare integers, whose largest value is all that is known.
        input_shape: ``(C, H, W)``.
        normalisation: mean and standard deviation of x/255; ``AS_GIVEN`` where the inputs are floats that the network
            takes as they are: these are not augmented either.
        note: how the splits were made, one sentence.
        class_order: where the order of ``classes`` comes from, in words.
        pixel_range: values of the files that became 0 and 255; None where the files have 8 bits.
        notes: sentences on how the data was read, and what is odd about it.
        normalised_by: where ``normalisation`` comes from, in words; of inputs that are taken as given, what they are.
    """

    name: str
    train: Split | None
    search: Split
    test: Split
    classes: tuple[str, ...]
    input_shape: tuple[int, int, int]
    normalisation: Normalisation
    note: str
    classes_named: bool = True
    class_order: str = DECLARED
    pixel_range: tuple[float, float] | None = None
    notes: tuple[str, ...] = ()
    normalised_by: str = GIVEN

    @property
    def known_classes(self) -> int | None:
        """Number of classes; None where bare integers are all that is known, which may miss the largest ones."""
        return len(self.classes) if self.classes_named else None

    @property
    def as_given(self) -> bool:
        """Whether the inputs are floats that the network takes as they are."""
        return self.normalisation == AS_GIVEN

    @property
    def feeding(self) -> Feeding:
        """How a network for this data is fed: what its input is made of, and what its outputs stand for."""
        if self.as_given:
            return Feeding(self.input_shape, self.classes)
        mean, std = (tuple(map(float, values)) for values in self.normalisation)
        return Feeding(self.input_shape, self.classes, PIXEL, mean, std, self.pixel_range)

    @property
    def metadata(self) -> dict[str, str]:
        """What a reader of weights that were trained on it needs, for the header of their file."""
        scale = {} if self.pixel_range is None else {"pixel_range": json.dumps(list(self.pixel_range))}
        moments = {} if self.as_given else self.normalisation._asdict()
        return (
            scale
            | self.feeding.metadata
            | {key: json.dumps(list(values)) for key, values in moments.items()}
            | {
                "input_shape": json.dumps(list(self.input_shape)),
                "classes": json.dumps(list(self.classes)),
                "num_classes": str(len(self.classes)),
            }
        )

    @property
    def sentences(self) -> tuple[str, ...]:
        """What a user has to know: the classes in their order, how images were read and normalised, what is odd."""
        mean, std = _in_words(self.normalisation)
        if self.as_given:
            given = f"inputs are {self.normalised_by}, taken as given: not scaled, not normalised and not augmented"
            return (order_sentence(self.classes, self.class_order), given, *self.notes)
        normalised = f"images are normalised with mean {mean} and std {std} on the scale of x/255, {self.normalised_by}"
        return (order_sentence(self.classes, self.class_order), normalised, *self.notes)

    def need_train(self) -> Split:
        """The train split.

        Raises:
            InputError: the data set has none.
        """
        if self.train is None:
            raise InputError(f"data set {self.name!r} cannot be trained on: {self.note}; give one with a train split")
        return self.train

    def with_normalisation(self, normalisation: tuple[tuple[float, ...], tuple[float, ...]] | None) -> Data:
        """The same data under the normalisation that a file of weights says; None changes nothing."""
        if normalisation is None:
            return self
        if self.as_given:
            mean, std = _in_words(normalisation)
            return self._noting(
                f"the weights were trained on images with mean {mean} and std {std} of x/255, which inputs that are "
                "taken as given must have been normalised with"
            )
        checked = Normalisation(*normalisation).check(self.input_shape[0])
        return dataclasses.replace(self, normalisation=checked, normalised_by=OF_FILE)

    def compared_with(self, metadata: Mapping[str, str] | None) -> Data:
        """The same data, normalised as the user said, with a note where a file of weights says otherwise."""
        try:
            theirs = normalisation_from_metadata(metadata)
        except InputError:  # giving --mean and --std is the remedy for what cannot be read
            return self
        if theirs is None or self.as_given or _in_words(theirs) == _in_words(self.normalisation):
            return self
        mean, std = _in_words(theirs)
        return self._noting(
            f"warning: --mean and --std are not those of the file of the weights, mean {mean} and std {std}; drop them "
            "unless the network expects the new ones"
        )

    def with_classes(self, order: Sequence[str], where: str, class_order: str) -> Data:
        """The same data with its labels renumbered by ``order``, which may have more classes.

        Args:
            order: class names. Where the data has bare integers, these become their names.
            where: who says so, for messages.
            class_order: likewise, in words, for the user.

        Raises:
            InputError: ``order`` lacks a class.
        """
        if self.classes_named:
            index = torch.from_numpy(positions(self.classes, order, where))
        elif len(order) >= len(self.classes):
            index = torch.arange(len(self.classes))
        else:
            raise InputError(
                f"data set {self.name!r} has labels up to {len(self.classes) - 1}, more than the {len(order)} classes "
                f"of {where}; list every class of the data once"
            )

        def renumbered(split: Split) -> Split:
            return Split(split.images, index[split.labels])

        more = f"of the {len(order)} classes, {len(self.classes)} occur in the data"
        data = self if len(order) == len(self.classes) else self._noting(more)
        return dataclasses.replace(
            data, train=self.train and renumbered(self.train), search=renumbered(self.search),
            test=renumbered(self.test), classes=tuple(order), classes_named=True, class_order=class_order,
        )  # fmt: skip

    def for_weights(
        self, metadata: Mapping[str, str] | None, classes: str | Path | Sequence[str] | None = None
    ) -> Data:
        """The same data with its classes in the order that a network has, and a word on other pixels than it knows.

        Args:
            metadata: header of the network's weights file; its ``classes`` give the order if it has all of the data's.
            classes: names or a file, see ``read_classes``; goes before the metadata.

        Raises:
            InputError: the classes given lack one of the data's.
        """
        known = range_from_metadata(metadata)
        if known is not None and self.pixel_range not in (None, known):
            data = self._noting(f"the weights were trained on pixels of {known[0]:g} to {known[1]:g}")
        else:
            data = self
        if classes is not None:
            where = "the classes given" if not isinstance(classes, (str, Path)) else f"--classes {classes}"
            return data.with_classes(read_classes(classes), where, f"in the order of {where}")
        theirs = names_from_metadata(metadata)
        if theirs is None or not data.classes_named:
            return data
        if set(data.classes) <= set(theirs):
            return data.with_classes(theirs, "the weights", OF_WEIGHTS)
        return data._noting(f"the weights were trained on other classes: {order_sentence(theirs, OF_WEIGHTS)}")

    def _noting(self, sentence: str) -> Data:
        """With one more sentence for the user, once."""
        return self if sentence in self.notes else dataclasses.replace(self, notes=(*self.notes, sentence))


def _in_words(normalisation: tuple[tuple[float, ...], tuple[float, ...]]) -> tuple[str, str]:
    """The means and the standard deviations, in four digits."""
    mean, std = (", ".join(f"{v:.4g}" for v in values) for values in normalisation)
    return mean, std


def check_classes(data: Data, n_outputs: int, metadata: Mapping[str, str] | None = None) -> None:
    """Check that a network with ``n_outputs`` outputs can be scored on ``data``.

    Args:
        data: whose classes count.
        n_outputs: logits of the network.
        metadata: header of its weights file, whose ``classes`` (a JSON list) must be in the order of the data.

    Raises:
        InputError: the numbers of classes differ, or the same classes come in another order.
    """
    n = len(data.classes)
    if n != n_outputs and (data.classes_named or n > n_outputs):
        more = (
            ", or name all its classes with --classes FILE if the data has only some of them" if n < n_outputs else ""
        )
        raise InputError(
            f"data set {data.name!r} has {n} classes but the network has {n_outputs} outputs; "
            f"use weights for this data set or a network with {n} outputs{more}"
        )
    theirs = names_from_metadata(metadata)
    if not data.classes_named or theirs is None or set(theirs) != set(data.classes):
        return
    wrong = next((i for i, (a, b) in enumerate(zip(theirs, data.classes, strict=True)) if a != b), None)
    if wrong is not None:
        raise InputError(
            f"class {wrong} of data set {data.name!r} is {data.classes[wrong]!r} {data.class_order}, but the weights "
            f"call it {theirs[wrong]!r}; drop --classes, or give the order of the weights with it"
        )
