"""Rows and batches of a user's own loader, gathered into one part of a data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from netsmith.data.pixels import Picture, read_picture
from netsmith.data.room import Room
from netsmith.data.sources import IMAGE_NAMES, LABEL_NAMES, Column
from netsmith.errors import InputError

_EACH = 500  #: bytes that a row takes beside its pixels, for Python's objects around them
_INPUT_NAMES = ("pixel_values", "inputs", "input", "x", *IMAGE_NAMES)
#: what a source gives: one input and label, several, whichever of them the label shows, or everything at once
ROW, BATCH, EITHER, WHOLE = "row", "batch", "item", "whole"


@dataclass
class Gathered:
    """What was read of one part so far.

    Attributes:
        where: the part, for messages, such as ``train``; empty if there is only one.
        room: memory that is left.
        label_column: key of the labels in rows that are mappings.
        floats: inputs as the network takes them, chunks of float32 ``(n, C, H, W)``.
        images: rows with pixels of a file's kind.
        labels: one a row.
    """

    where: str
    room: Room
    label_column: str | None = None
    floats: list[torch.Tensor] = field(default_factory=list)
    images: list[Picture | np.ndarray] = field(default_factory=list)
    labels: list[Any] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Bytes that the inputs take."""
        images = sum(i.nbytes if isinstance(i, np.ndarray) else i.pixels.nbytes for i in self.images)
        return images + sum(chunk.nbytes for chunk in self.floats)

    def column(self) -> Column:
        """All rows.

        Raises:
            InputError: there are none.
        """
        if not self.labels:
            raise InputError(f"{self.name(0, WHOLE)} is empty; give inputs with labels (a generator gives them once)")
        names = [self.name(i) for i in range(len(self.labels))]
        if not self.floats:
            return Column(self.images, self.labels, names)
        return Column(torch.cat(self.floats) if len(self.floats) > 1 else self.floats[0], self.labels, names)

    def name(self, number: int, unit: str = ROW) -> str:
        """``row 3 of train``."""
        if unit == WHOLE:
            return f"the {self.where} part" if self.where else "the data"
        return f"{unit} {number} of {self.where}" if self.where else f"{unit} {number}"

    def add(self, item: Any, number: int, unit: str, *, copy: bool = True) -> None:
        """Take a row or a batch: ``(input, label)`` or a mapping of such.

        Args:
            number: of the row or batch, for messages.
            unit: one of the words above.
            copy: whether the source may write into its tensors later.

        Raises:
            InputError: it is something else; names it.
        """
        name = self.name(number, unit)
        given, label = (_known(value) for value in self._parts(item, name))
        labels = _labels(label, name)
        if unit == ROW and labels.many:
            raise InputError(
                f"the label of {name} has {len(labels.values)} values; give the number of one class, as argmax makes "
                "of a one-hot label"
            )
        count = len(labels.values)
        if not labels.many and unit == BATCH:
            raise InputError(f"{name} has one label, {str(labels.values[0])[:40]!r}, no batch of them; give one a row")
        if not labels.many:
            self._row(given, self.name(len(self.labels)), copy=copy)
        elif isinstance(given, (torch.Tensor, np.ndarray)) and given.ndim:
            _same_count(len(given), count, name)
            if count:
                self._batch(given, len(self.labels), copy=copy)
        elif isinstance(given, (list, tuple)):
            _same_count(len(given), count, name)
            for i, one in enumerate(given):
                self._row(one, self.name(len(self.labels) + i), copy=copy)
        else:
            raise InputError(
                f"{name} has {count} labels and as inputs {_kind(given)}; give a tensor with a row for each"
            )
        self.labels.extend(labels.values)

    def _parts(self, item: Any, name: str) -> tuple[Any, Any]:
        if isinstance(item, Mapping):
            keys = ", ".join(str(k)[:30] for k in list(item)[:10])
            labels = [self.label_column] if self.label_column is not None else LABEL_NAMES
            label = next((k for k in labels if k in item), None)
            given = next((k for k in _INPUT_NAMES if k in item and k != label), None)
            if label is None or given is None:
                missing = f"labels ({', '.join(labels)})" if label is None else f"inputs ({', '.join(_INPUT_NAMES)})"
                raise InputError(f"{name} is a dict with {keys or 'nothing'} and no {missing}; name them so")
            return item[given], item[label]
        if isinstance(item, (tuple, list)) and len(item) == 2:
            return item[0], item[1]
        what = f"{len(item)} parts" if isinstance(item, (tuple, list)) else f"no label: it is {_kind(item)}"
        raise InputError(f"{name} has {what}; give two parts, the input and the label, or a dict with both")

    def _row(self, given: Any, name: str, *, copy: bool) -> None:
        """One input."""
        if isinstance(given, (torch.Tensor, np.ndarray)):
            self._batch(given[None], len(self.labels), copy=copy, name=name)
        elif hasattr(given, "getbands") and hasattr(given, "convert"):  # an image of Pillow, which need not be loaded
            self._keep(read_picture(given, name), name)
        else:
            raise InputError(f"the input of {name} is {_kind(given)}; give a tensor, an array or an image of Pillow")

    def _batch(self, given: torch.Tensor | np.ndarray, first: int, *, copy: bool, name: str = "") -> None:
        """Inputs that lie in one tensor or array, one a row."""
        name = name or self.name(first)
        floating = given.is_floating_point() if isinstance(given, torch.Tensor) else given.dtype.kind == "f"
        if floating:
            self._floats(_tensor(given, name, copy=copy), first, name)
            return
        array = _array(given, name)
        for i, image in enumerate(array.copy() if copy else array):
            self._keep(image, name if not i else self.name(first + i))

    def _floats(self, chunk: torch.Tensor, first: int, name: str) -> None:
        shape = "x".join(map(str, chunk.shape[1:]))
        if self.images:
            raise InputError(f"{name} has floats, and rows before it have pixels of 8 bits; give all rows alike")
        if chunk.ndim != 4 or not chunk.numel():
            raise InputError(
                f"the input of {name} has the shape {shape or 'of one number'}; inputs of floats are taken as the "
                "network takes them: give channels x height x width"
            )
        if chunk.shape[-1] in (1, 3) and chunk.shape[1] not in (1, 3):
            raise InputError(
                f"the input of {name} is {shape}, with the channels last; inputs of floats are taken as the network "
                "takes them: give channels x height x width, for instance by inputs.permute(0, 3, 1, 2)"
            )
        if self.floats and self.floats[0].shape[1:] != chunk.shape[1:]:
            before = "x".join(map(str, self.floats[0].shape[1:]))
            raise InputError(f"the input of {name} is {shape}, and those before it are {before}; give all one size")
        if not bool(torch.isfinite(chunk).all()):
            bad = int((~torch.isfinite(chunk)).flatten(1).any(dim=1).nonzero()[0])
            raise InputError(f"the input of {self.name(first + bad)} has NaN or infinite values; repair or remove it")
        self.room.take(chunk.nbytes + _EACH * len(chunk))
        self.floats.append(chunk)

    def _keep(self, image: Picture | np.ndarray, name: str) -> None:
        if self.floats:
            raise InputError(f"{name} has pixels of whole numbers, and rows before it floats; give all rows alike")
        self.room.take(_EACH + (image.nbytes if isinstance(image, np.ndarray) else image.pixels.nbytes))
        self.images.append(image)


@dataclass(frozen=True)
class _Labels:
    values: Sequence[Any]
    many: bool


def _labels(label: Any, name: str) -> _Labels:
    """Labels as integers, names or None, which are checked once all are there."""
    if isinstance(label, (torch.Tensor, np.ndarray)):
        whole = not (label.is_floating_point() or label.is_complex()) if isinstance(label, torch.Tensor) else (
            label.dtype.kind in "biuUSO"
        )  # fmt: skip
        if label.ndim > 1:
            shape = "x".join(map(str, label.shape))
            raise InputError(
                f"the labels of {name} have the shape {shape}; give the number of one class a row, as labels.argmax(1) "
                "makes of one-hot ones"
            )
        if not whole:
            kind = str(label.dtype).removeprefix("torch.")
            raise InputError(f"the labels of {name} are {kind}; give whole numbers, numbered from 0")
        if isinstance(label, torch.Tensor):
            _check_dense(label, f"the label of {name}")
        values = label.tolist()
        return _Labels(values, True) if label.ndim else _Labels([values], False)
    if isinstance(label, (list, tuple)):
        return _Labels([_plain(v) for v in label], True)
    return _Labels([_plain(label)], False)


def _plain(label: Any) -> Any:
    """A label as Python's own integer, text or None, whatever library it is of."""
    if isinstance(label, (np.generic, torch.Tensor, np.ndarray)) and getattr(label, "ndim", 0) == 0:
        return label.item()
    return label


def _known(value: Any) -> Any:
    """Columns and arrays of other libraries as arrays; what has no shape stays."""
    if isinstance(value, (torch.Tensor, np.ndarray, np.generic)) or not hasattr(value, "__array__"):
        return value
    return np.asarray(value) if hasattr(value, "shape") else value


def _tensor(given: torch.Tensor | np.ndarray, name: str, *, copy: bool) -> torch.Tensor:
    if isinstance(given, np.ndarray):
        array = np.ascontiguousarray(given, dtype=np.float32)
        return torch.from_numpy(array.copy() if copy or not array.flags.writeable else array)
    _check_dense(given, f"the input of {name}")
    return given.detach().to("cpu", torch.float32, copy=copy).contiguous()


def _check_dense(given: torch.Tensor, name: str) -> None:
    if given.layout is not torch.strided or given.is_quantized or given.is_complex() or given.is_meta:
        raise InputError(
            f"{name} is a sparse, quantized or complex tensor, or one without values; give a dense real one"
        )


def _array(given: torch.Tensor | np.ndarray, name: str) -> np.ndarray:
    if isinstance(given, torch.Tensor):
        _check_dense(given, f"the input of {name}")
        return given.detach().cpu().numpy()
    if given.dtype.kind not in "biu":
        raise InputError(f"the input of {name} is an array of {given.dtype}, not of numbers; give uint8 or floats")
    return given


def _same_count(inputs: int, labels: int, name: str) -> None:
    if inputs != labels:
        raise InputError(f"{name} has {inputs} inputs and {labels} labels; give one label a row")


def _kind(value: Any) -> str:
    if isinstance(value, (torch.Tensor, np.ndarray)):
        return f"a {type(value).__name__} of shape {'x'.join(map(str, value.shape)) or '1'}"
    return f"a value of type {type(value).__name__}"
