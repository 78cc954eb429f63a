"""Getting back what was lost: fine-tuning of smaller networks, quantization-aware training of networks in few bits."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, Literal

from torch import nn

from netsmith.compression.build import is_int8
from netsmith.compression.mixed import Bits, LayerQuantizer
from netsmith.compression.qat import TrainedQuantizer, finish, prepare
from netsmith.compression.share import CodebookQuantizer
from netsmith.compression.sparsify import Sparse, zeros_kept
from netsmith.jobs.config import FineTune
from netsmith.network.graph import Graph
from netsmith.progress import Progress, training_events
from netsmith.tasks.task import Task

#: Peak learning rates: rounded weights have no room for steps as large as those of a network that lost channels.
FINE_TUNE_LR, QAT_LR = 0.03, 0.01


def fine_tune(
    model: nn.Module, teacher: nn.Module, task: Task, tune: FineTune, seed: int, checkpoint: Path, progress: Progress,
    lr: float = FINE_TUNE_LR, bf16: bool | Literal["auto"] = "auto", sparse: Sparse | None = None,
) -> list[dict[str, Any]]:  # fmt: skip
    """Train ``model`` in place, distilling from the network as given, if it gains by that; and settle batch norm.

    Few steps leave running statistics of batch norm behind the weights, the more so the smaller the momentum that the
    user's norms have, so they are estimated again after training too. A network that knows less of the search split
    afterwards gets back what it had.

    Args:
        lr: peak learning rate where the user gave none.
        bf16: as for ``fit``.
        sparse: parameters most of whose numbers are zero, with how many are not; they stay zero.

    Returns:
        What was logged of each epoch, as JSON values; nothing where the network stays untrained.
    """
    from netsmith.training import settle_batch_norm

    settle_batch_norm(model, task)
    if epochs_of(tune, task) == 0:
        return []
    with zeros_kept(model, sparse or {}):
        return _trained(model, teacher, task, tune, seed, checkpoint, progress, lr, bf16)


def _trained(
    model: nn.Module, teacher: nn.Module, task: Task, tune: FineTune, seed: int, checkpoint: Path, progress: Progress,
    lr: float, bf16: bool | Literal["auto"],
) -> list[dict[str, Any]]:  # fmt: skip
    from netsmith.training import Checkpoints, Training, evaluate, fit, settle_batch_norm

    epochs, metric = epochs_of(tune, task), task.metric
    untrained = {k: v.clone() for k, v in model.state_dict().items()}
    before = evaluate(model, task, task.search).score
    progress.stage("fine-tune")
    start = time.time()
    result = fit(
        model, task, Training(epochs=epochs, lr=tune.lr or lr, seed=seed, bf16=bf16), teacher=teacher,
        progress=training_events(progress), checkpoints=Checkpoints(checkpoint),
    )  # fmt: skip
    progress.stage("score")
    progress.note(
        f"  fine-tuned for {result.epochs_run} epoch{'s' * (result.epochs_run != 1)} in {time.time() - start:.0f} s"
    )
    settle_batch_norm(model, task)
    after = evaluate(model, task, task.search).score
    if metric.lost(before, after) > 0:
        model.load_state_dict(untrained)
        progress.note(
            f"  training lost {metric.name}, {metric.shown(before)} -> {metric.shown(after)} of the search split: the "
            "network stays untrained; try a smaller --lr, or more --epochs"
        )
        return []
    return [json.loads(json.dumps(h, default=vars)) for h in result.history]


def epochs_of(tune: FineTune, task: Task) -> int:
    """Epochs of fine-tuning: as asked for, or by the size of the train split; 0 without one."""
    if task.train is None:
        return 0
    return tune.epochs if tune.epochs is not None else max(3, min(30, 200_000 // len(task.train)))


def train_quantized(
    model: nn.Module, graph: Graph, bits: Bits, quantizer: LayerQuantizer, **training: Any
) -> tuple[Graph, LayerQuantizer, nn.Module, list[dict[str, Any]]]:
    """Quantization-aware training of a network in mixed widths.

    Args:
        model, graph: the network, and its trace; with batch norm folded, unless weights are shared.
        bits: (weight, activation) widths of layers.
        quantizer: calibrated grids or codebooks that training starts from.
        training: as for :func:`fine_tune`.

    Returns:
        The trained network's trace, its grids or codebooks, the network itself, and the log.
    """
    assert not is_int8(bits)
    shared = isinstance(quantizer, CodebookQuantizer)
    student = prepare(model, bits, quantizer)
    lr = FINE_TUNE_LR if shared else QAT_LR
    history = fine_tune(student, **training, lr=lr, bf16=False, sparse=quantizer.sparse)
    trained, grids = finish(student, bits, quantizer)
    new = graph.again(trained)
    if shared:
        return new, CodebookQuantizer(new, quantizer.sparse), trained, history
    return new, TrainedQuantizer(new, trained, grids, quantizer), trained, history
