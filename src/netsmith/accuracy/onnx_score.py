"""What an ONNX file makes of examples, run as its user will run it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from netsmith.accuracy.deployed import Deployed
from netsmith.data.examples import Examples
from netsmith.metrics import FloatArray
from netsmith.network.graph import Graph
from netsmith.tasks.task import Task


def onnx_score(
    model: str | Path | bytes, task: Task, examples: Examples, graph: Graph | None = None, *, batch_size: int = 64
) -> float:
    """The score of the model by the task's first metric, in ONNX Runtime on all cores."""
    return task.metric.of(onnx_rows(model, task, examples, graph, batch_size=batch_size))


def onnx_rows(
    model: str | Path | bytes, task: Task, examples: Examples, graph: Graph | None = None, *, batch_size: int = 64,
    progress: Callable[[int, int], None] | None = None,
) -> FloatArray:  # fmt: skip
    """What the task notes of each example, ``(N, F)``.

    Those of a last batch that a fixed batch size leaves out are missing.

    Args:
        graph: see :class:`netsmith.accuracy.deployed.Deployed`.
    """
    network = Deployed(model, graph)
    size = network.batch or batch_size
    found, done = list[FloatArray](), 0
    for batch in examples.batches(size):
        if batch.size < size and network.batch is not None:
            break
        found.append(task.partial(batch(network), batch))
        done += batch.size
        if progress is not None:
            progress(done, len(examples))
    return np.concatenate(found) if found else np.zeros((0, 4))
