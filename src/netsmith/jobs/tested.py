"""A network on a split: its score, and what was noted of each example, of which certificates are made."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netsmith.accuracy.onnx_score import onnx_rows
from netsmith.data.examples import Examples
from netsmith.metrics import FloatArray
from netsmith.network.graph import Graph
from netsmith.tasks.task import Task

BoolArray = NDArray[np.bool_]


def tested(
    model: Path, task: Task, examples: Examples, graph: Graph | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Run a network's file over a split, as its user will.

    Returns:
        See :func:`packed`; and ``also``, other scores by their keys.
    """
    rows = onnx_rows(model, task, examples, graph, progress=progress)
    also = {m.key: m.of(rows) if len(rows) else 0.0 for m in task.metrics[1:]}
    return packed(task, rows) | {"also": also}


def packed(task: Task, rows: FloatArray) -> dict[str, Any]:
    """What was noted of examples, ``(N, F)``, as JSON values.

    Returns:
        The first score by its key, and of the ``examples`` the ``rows``, compressed; where it is a share, instead of
        them ``right``, which of the examples have it, as hexadecimal digits of packed bits. A file of a fixed
        batch leaves out the examples of a last batch that is not full.
    """
    found = {task.metric.key: task.metric.of(rows) if len(rows) else 0.0, "examples": len(rows)}
    if task.metric.share:
        return found | {"right": np.packbits(rows[:, 0] == 1).tobytes().hex()}
    whole = np.ascontiguousarray(rows, dtype="<f8")
    return found | {"rows": base64.b64encode(zlib.compress(whole.tobytes())).decode(), "width": whole.shape[1]}


def rows_of(found: Mapping[str, Any]) -> FloatArray:
    """What :func:`packed` kept of each example, ``(N, F)``; of a share which examples have it, ``(N, 1)``."""
    if "right" in found:
        return right_of(found).astype(np.float64)[:, None]
    data = zlib.decompress(base64.b64decode(found["rows"]))
    return np.frombuffer(data, dtype="<f8").reshape(-1, int(found["width"])).astype(np.float64)


def right_of(found: Mapping[str, Any]) -> BoolArray:
    """Which examples :func:`tested` found right, ``(N,)``."""
    bits = np.frombuffer(bytes.fromhex(found["right"]), dtype=np.uint8)
    return np.unpackbits(bits, count=found["examples"]).astype(bool)


def without_others(found: Mapping[str, Any]) -> dict[str, Any]:
    """What :func:`tested` found, by the first score alone."""
    return {key: value for key, value in found.items() if key != "also"}
