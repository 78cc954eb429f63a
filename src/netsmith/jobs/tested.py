"""A network on the test split: its score, and which examples it gets right, of which certificates are made."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netsmith.accuracy.onnx_accuracy import onnx_answers
from netsmith.data import Split
from netsmith.data.normalise import Normalisation

BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.float64]


def tested(
    model: Path, split: Split, normalisation: Normalisation, progress: Callable[[int, int], None] | None = None
) -> dict[str, Any]:
    """Run a network's file over a split, as its user will.

    Returns:
        JSON values: ``accuracy``, and ``right``, which of the ``examples`` it gets right, as hexadecimal digits of
        packed bits; a file of a fixed batch leaves out the examples of a last batch that is not full.
    """
    said = onnx_answers(model, split, normalisation, progress=progress)
    return packed(said == split.labels.numpy()[: len(said)])


def packed(right: BoolArray) -> dict[str, Any]:
    """Which examples are right, ``(N,)``, as :func:`tested` has it."""
    return {
        "accuracy": float(right.sum() / max(len(right), 1)), "examples": len(right),
        "right": np.packbits(right).tobytes().hex(),
    }  # fmt: skip


def rows_of(found: dict[str, Any]) -> FloatArray:
    """What a task noted of each test example, rows ``(N, F)``; of those that are right or wrong a column of 1 and 0."""
    if "right" in found:
        return right_of(found).astype(np.float64)[:, None]
    numbers = np.frombuffer(zlib.decompress(base64.b64decode(found["rows"])), dtype=np.float64)
    return numbers.reshape(found["examples"], -1)


def right_of(found: dict[str, Any]) -> BoolArray:
    """Which examples :func:`tested` found right, ``(N,)``."""
    packed = np.frombuffer(bytes.fromhex(found["right"]), dtype=np.uint8)
    return np.unpackbits(packed, count=found["examples"]).astype(bool)
