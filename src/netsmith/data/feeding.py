"""How a network is fed: what makes its input of an image file, and what its outputs mean. Every product says it."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeGuard, TypeVar

from netsmith.errors import InputError
from netsmith.files import parse_json

_T = TypeVar("_T")
PREPROCESSING, LABELS = "netsmith.preprocessing", "netsmith.labels"  #: keys of a file's metadata, each one JSON text
TASK, TOKENIZER = "netsmith.task", "netsmith.tokenizer"  #: further ones, the second of which is a file of its own
IMAGES = "NCHW"  #: layout of a batch of images: sample, channel, row, column
INPUT = "input"  #: name of the input of every network that is exported
PIXEL = 1.0 / 255.0  #: scale of pixels of 8 bits
#: how an image of another size comes to ``size``: it is resized until it covers it, and the centre is cut out
_FIT = {"resize": "cover", "interpolation": "bilinear", "antialias": True, "crop": "center"}
_COLOR = {1: "L", 3: "RGB"}  #: channels -> mode of Pillow
_REMEDY = "export the network again with this netsmith"


@dataclass(frozen=True)
class Port:
    """A tensor that goes into a network, or comes out.

    Attributes:
        name: in the ONNX file.
        dtype: as numpy calls it, such as ``int64``.
        shape: numbers, and names of the axes that may have any length, such as ``batch``; None of an axis whose length
            follows from others.
    """

    name: str
    dtype: str
    shape: tuple[int | str | None, ...]

    def to_dict(self) -> dict[str, Any]:
        """It as JSON values."""
        return {"name": self.name, "dtype": self.dtype, "shape": list(self.shape)}

    @classmethod
    def from_dict(cls, values: Any) -> Port:
        """Read what :meth:`to_dict` gave.

        Raises:
            ValueError: it is something else.
        """
        known = isinstance(values, Mapping) and isinstance(values.get("shape"), list)
        if not known or not all(isinstance(values.get(key), str) for key in ("name", "dtype")):
            raise ValueError("no port")
        for axis in values["shape"]:
            if not (axis is None or isinstance(axis, str) or (isinstance(axis, int) and 0 <= axis < 2**31)):
                raise ValueError("no shape")
        return cls(values["name"], values["dtype"], tuple(values["shape"]))


@dataclass(frozen=True)
class Feeding:
    """What a network's input is made of, and what its outputs stand for.

    A value of an image file, 0 to 255, becomes x = value * scale and then (x - mean) / std for its channel. Where there
    is a ``pixel_range`` of (low, high), the value is 255 (v - low) / (high - low) of what the file holds, rounded and
    cut to 0..255. Where there is no ``scale``, inputs are numbers of the user, which are given as they are.

    Attributes:
        input_shape: of one sample, without the batch axis; ``(C, H, W)`` for images.
        labels: a name a class, in the order of the outputs.
        scale: see above.
        mean, std: a value a channel, on the scale of x.
        pixel_range: see above; None for files of 8 bits.
        inputs: names of the network's inputs in the ONNX file.
        layout: letters of the axes of a batch of inputs; None where they are of no image.
        takes, gives: every input and output; empty where images of classes go in and logits come out.
        task: what the network is for, as JSON values; empty for classes of images.
        tokenizer: contents of the file of ``tokenizers`` that makes inputs of texts; "" where there is none.
    """

    input_shape: tuple[int, ...]
    labels: tuple[str, ...]
    scale: float | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    pixel_range: tuple[float, float] | None = None
    inputs: tuple[str, ...] = (INPUT,)
    layout: str | None = IMAGES
    takes: tuple[Port, ...] = ()
    gives: tuple[Port, ...] = ()
    task: Mapping[str, Any] = field(default_factory=dict)
    tokenizer: str = ""

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width of an image; None where inputs are no images."""
        return (self.input_shape[1], self.input_shape[2]) if self.layout == IMAGES else None

    @property
    def channels(self) -> int | None:
        """Channels of an image; None where inputs are no images."""
        return self.input_shape[0] if self.layout == IMAGES else None

    @property
    def preprocessing(self) -> dict[str, Any]:
        """Everything but the labels, as JSON values: the text under ``netsmith.preprocessing``."""
        return {
            "inputs": list(self.inputs), "input_shape": list(self.input_shape), "layout": self.layout,
            "size": _listed(self.size), "channels": self.channels, "color": _COLOR.get(self.channels or 0),
            "scale": self.scale, "mean": _listed(self.mean), "std": _listed(self.std),
            "pixel_range": _listed(self.pixel_range), **(_FIT if self.scale is not None else dict.fromkeys(_FIT)),
        }  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """JSON values: ``preprocessing`` of ``summary.json``, where the labels are called classes.

        Of a tokenizer only files have the contents.
        """
        return self.preprocessing | {"classes": list(self.labels)} | ({"task": self._of_task} if self.gives else {})

    @property
    def metadata(self) -> dict[str, str]:
        """Key -> JSON text, for the metadata of a file."""
        said = {PREPROCESSING: json.dumps(self.preprocessing), LABELS: json.dumps(list(self.labels))}
        said |= {TASK: json.dumps(self._of_task)} if self.gives else {}
        return said | ({TOKENIZER: self.tokenizer} if self.tokenizer else {})

    @property
    def _of_task(self) -> dict[str, Any]:
        """The text under ``netsmith.task``: the task, and the tensors that it knows."""
        ports = {"inputs": self.takes, "outputs": self.gives}
        return {**self.task, **{key: [port.to_dict() for port in given] for key, given in ports.items()}}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str], where: str) -> Feeding:
        """Read what :attr:`metadata` wrote.

        Args:
            where: whose metadata it is, for messages.

        Raises:
            InputError: the file says nothing of it, or something else than such a mapping.
        """
        said, labels = (_read(metadata, key, where) for key in (PREPROCESSING, LABELS))
        task = {"task": _read(metadata, TASK, where)} if TASK in metadata else {}
        found = cls.from_dict({**said, "classes": labels, **task} if isinstance(said, dict) else said, where)
        return dataclasses.replace(found, tokenizer=metadata.get(TOKENIZER, ""))

    @classmethod
    def from_dict(cls, values: Any, where: str) -> Feeding:
        """Read what :meth:`to_dict` gave; further keys are not looked at.

        Args:
            where: whose values they are, for messages.

        Raises:
            InputError: names what is wrong.
        """

        def wrong(what: str) -> InputError:
            return InputError(f"{where} does not say rightly how the network is fed: {what}; {_REMEDY}")

        if not isinstance(values, Mapping):
            raise wrong("the preprocessing is no mapping")
        shape, inputs, labels, layout, scale = (
            values.get(k) for k in ("input_shape", "inputs", "classes", "layout", "scale")
        )
        if not _all(shape, int) or not shape or not all(0 < n < 2**31 for n in shape):
            raise wrong("'input_shape' is no shape of a sample")
        task, takes, gives = _task(values.get("task"), wrong)
        if not (_all(inputs, str) and inputs and _all(labels, str) and (labels or gives)):
            raise wrong("'inputs' or the labels are no list of names")
        if layout not in (None, IMAGES) or (layout and len(shape) != 3):
            raise wrong(f"'layout' is neither null nor {IMAGES!r}, of a shape of three numbers")
        lists: dict[str, tuple[float, ...] | None] = {}
        for key, count in (("mean", shape[0]), ("std", shape[0]), ("pixel_range", 2)):
            found = values.get(key)
            if found is not None and not (isinstance(found, list) and len(found) == count and all(map(_finite, found))):
                raise wrong(f"{key!r} is neither null nor a list of {count} finite numbers")
            lists[key] = None if found is None else tuple(map(float, found))
        mean, std, span = lists.values()
        if scale is not None and not (_finite(scale) and scale > 0 and layout and mean and std and min(std) > 0):
            raise wrong("'scale' is no positive number, or has no layout, mean and positive std beside it")
        if span is not None and span[0] >= span[1]:
            raise wrong("the first value of 'pixel_range' is not the lower one")
        return cls(
            tuple(shape), tuple(labels), None if scale is None else float(scale), mean, std,
            None if span is None else (span[0], span[1]), tuple(inputs), layout, takes, gives, task,
        )  # fmt: skip

    def for_outputs(self, count: int) -> Feeding:
        """The same with a label an output: those beyond the labels that are known are called by their number."""
        more = tuple(str(i) for i in range(len(self.labels), count))
        return dataclasses.replace(self, labels=self.labels + more) if more else self


def _task(said: Any, wrong: Callable[[str], InputError]) -> tuple[dict[str, Any], tuple[Port, ...], tuple[Port, ...]]:
    """The task of :meth:`Feeding.to_dict` apart from its inputs and its outputs."""
    if said is None:
        return {}, (), ()
    try:
        takes, gives = (tuple(map(Port.from_dict, said[key])) for key in ("inputs", "outputs"))
        if not (takes and gives and isinstance(said.get("kind"), str)):
            raise ValueError
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise wrong("'task' has no kind, or no list of inputs and of outputs") from error
    return {key: value for key, value in said.items() if key not in ("inputs", "outputs")}, takes, gives


def _read(metadata: Mapping[str, str], key: str, where: str) -> Any:
    if key not in metadata:
        raise InputError(f"{where} does not say how the network is fed ({key} is missing); {_REMEDY}")
    return parse_json(metadata[key], f"{key} of {where}", _REMEDY)


def _all(values: Any, kind: type[_T]) -> TypeGuard[list[_T]]:
    """Whether it is a list of values of this type; truth values are no numbers."""
    return isinstance(values, list) and all(isinstance(v, kind) and not isinstance(v, bool) for v in values)


def _finite(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return abs(value) < 1e300 and math.isfinite(value)


def _listed(values: Sequence[float] | None) -> list[float] | None:
    return None if values is None else list(values)
