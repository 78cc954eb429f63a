"""Accuracy of an ONNX file, run as its user will run it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from netsmith.data import Split
from netsmith.data.normalise import Normalisation


def onnx_accuracy(
    model: str | Path | bytes, split: Split, normalisation: Normalisation, *, batch_size: int = 64,
    progress: Callable[[int, int], None] | None = None,
) -> float:  # fmt: skip
    """Share of images of ``split`` that the model classifies rightly, in ONNX Runtime on all cores."""
    said = onnx_answers(model, split, normalisation, batch_size=batch_size, progress=progress)
    return float((said == split.labels.numpy()[: len(said)]).sum() / max(len(said), 1))


def onnx_answers(
    model: str | Path | bytes, split: Split, normalisation: Normalisation, *, batch_size: int = 64,
    progress: Callable[[int, int], None] | None = None,
) -> NDArray[np.int64]:  # fmt: skip
    """Classes that the model names, ``(N,)``; without those of a last batch that a fixed batch size leaves out."""
    from netsmith.hardware.measured.timing import make_session

    session = make_session(model, threads=os.cpu_count() or 1)
    item = session.get_inputs()[0]
    if isinstance(item.shape[0], int):
        batch_size = item.shape[0]
    said, done = [np.zeros(0, dtype=np.int64)], 0
    for x, y in split.batches(batch_size, normalise=normalisation, channels_last=False):
        if len(y) < batch_size and isinstance(item.shape[0], int):
            break
        logits = session.run(None, {item.name: np.ascontiguousarray(x.numpy())})[0]
        said.append(logits.argmax(axis=1))
        done += len(y)
        if progress is not None:
            progress(done, len(split))
    return np.concatenate(said)
