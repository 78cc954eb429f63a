"""What the outputs of a file mean for one example, by what the file says of its task: no examples are needed for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netsmith.errors import InputError
from netsmith.network.outputs import logits_among

Outputs = Mapping[str, NDArray[Any]]  #: name -> what comes out for one example, without the axis of the batch
_SHOWN = 16  #: numbers of an output that are told; files have them all


@dataclass(frozen=True)
class Answer:
    """What a network says of one example.

    Attributes:
        said: JSON values.
        picture: pixels of 8 bits, ``(H, W)`` or ``(H, W, 3)``; None where it is none.
    """

    said: dict[str, Any]
    picture: NDArray[np.uint8] | None = field(default=None)


def answer_of(task: Mapping[str, Any], labels: Sequence[str], outputs: Outputs, top: int) -> Answer:
    """The answer to one example.

    Args:
        task: what the file says of it.
        labels: names of classes; others are called by their numbers.
        top: classes to name.

    Raises:
        InputError: the outputs are none of such a task.
    """
    if not all(np.isfinite(value).all() for value in outputs.values()):
        raise InputError("the network answers with numbers that are NaN or infinite; train it again")
    own = _OF.get(str(task.get("kind", "classification")))
    return _numbers(outputs) if own is None else own(task, labels, outputs, top)


def classes_of(scores: NDArray[Any], labels: Sequence[str], top: int) -> dict[str, Any]:
    """Classes by their shares ``(classes,)``, the likeliest first: ``class``, ``score``, and ``top`` of several."""
    best = [
        {"class": labels[i] if i < len(labels) else str(i), "index": int(i), "score": float(scores[i])}
        for i in np.argsort(-scores, kind="stable")[:top]
    ]
    return {"class": best[0]["class"], "score": best[0]["score"], "top": best}


def _classes(task: Mapping[str, Any], labels: Sequence[str], outputs: Outputs, top: int) -> Answer:
    logits = _logits(outputs, 1)
    powers = np.exp(logits - logits.max())
    return Answer(classes_of(powers / powers.sum(), labels, top))


def _segments(task: Mapping[str, Any], labels: Sequence[str], outputs: Outputs, top: int) -> Answer:
    """Which share of the pixels is of which class; the picture has the number of each pixel's class."""
    logits = _logits(outputs, 3)
    count = min(int(task.get("classes") or len(logits)), len(logits), 256)
    numbers = logits[:count].argmax(axis=0).astype(np.uint8)
    shares = np.bincount(numbers.reshape(-1), minlength=count) / numbers.size
    return Answer(classes_of(shares, labels, top), numbers)


def _image(task: Mapping[str, Any], labels: Sequence[str], outputs: Outputs, top: int) -> Answer:
    """The picture has grey pixels or those of three colours; of other channels there is none."""
    image = next((v for v in outputs.values() if v.dtype.kind == "f" and v.ndim == 3), None)
    if image is None:
        raise InputError("the file gives no image, though its task says so; export the network again")
    pixels = np.clip(np.rint(image.astype(np.float64) / float(task.get("peak") or 1.0) * 255), 0, 255).astype(np.uint8)
    picture = {1: pixels[0], 3: pixels.transpose(1, 2, 0)}.get(len(pixels))
    return Answer({"outputs": _told(outputs)}, picture)


def _numbers(outputs: Outputs) -> Answer:
    return Answer({"outputs": _told(outputs)})


def _told(outputs: Outputs) -> dict[str, Any]:
    return {
        name: {"shape": list(value.shape)} | ({"values": value.tolist()} if value.size <= _SHOWN else {})
        for name, value in outputs.items()
    }


def _logits(outputs: Outputs, axes: int) -> NDArray[np.float64]:
    found = np.asarray(logits_among(dict(outputs)), np.float64)
    if found.ndim != axes:
        raise InputError(
            f"the file gives {'x'.join(map(str, found.shape)) or 'one number'} for an example, and its task is read "
            f"from {axes} axes; export the network again"
        )
    return found


#: kind of a task -> what makes an answer of its outputs; of others the numbers are the answer
_OF: dict[str, Callable[[Mapping[str, Any], Sequence[str], Outputs, int], Answer]] = {
    "classification": _classes, "text-classification": _classes, "segmentation": _segments, "image-to-image": _image,
}  # fmt: skip
