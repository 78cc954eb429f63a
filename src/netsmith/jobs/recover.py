"""Getting back what was lost: fine-tuning of smaller networks, quantization-aware training of networks in few bits."""

from __future__ import annotations

import inspect
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from netsmith.compression.build import is_int8
from netsmith.compression.mixed import Bits, LayerQuantizer
from netsmith.compression.qat import TrainedQuantizer, finish, prepare
from netsmith.compression.share import CodebookQuantizer
from netsmith.compression.sparsify import Sparse, zeros_kept
from netsmith.errors import InputError
from netsmith.jobs.config import FineTune
from netsmith.network.graph import Graph
from netsmith.progress import Progress, training_events
from netsmith.tasks.task import Task
from netsmith.usercode import failure, user_code

#: Peak learning rates: rounded weights have no room for steps as large as those of a network that lost channels.
FINE_TUNE_LR, QAT_LR = 0.03, 0.01
ADAM = 1 / 30  #: of these, the rates of AdamW


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
    functions, optimizer = tune.functions, tune.optimizer or task.optimizer
    untrained = {k: v.clone() for k, v in model.state_dict().items()}
    before = evaluate(model, task, task.search).score
    progress.stage("fine-tune")
    start = time.time()
    history: list[dict[str, Any]] = []
    if "fit" in functions:
        own_loop(functions["fit"], model, teacher)
        progress.stage("score")
        progress.note(f"  trained by a loop of your own in {time.time() - start:.0f} s")
    else:
        rate = tune.lr or (lr * ADAM if optimizer == "adamw" else lr)
        result = fit(
            model, task, Training(epochs=epochs, lr=rate, seed=seed, bf16=bf16, optimizer=optimizer), teacher=teacher,
            progress=training_events(progress), checkpoints=Checkpoints(checkpoint),
            after_epoch=functions.get("after_epoch"),
        )  # fmt: skip
        history = result.history
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
    return [json.loads(json.dumps(h, default=vars)) for h in history]


def own_loop(train: Callable[..., Any], model: nn.Module, teacher: nn.Module) -> None:
    """Let a user's function train a network in place: it is called with the network, and its teacher if it takes two.

    Raises:
        InputError: the function fails, or leaves the network with weights that are not finite.
    """
    from netsmith.training.modes import set_mode

    places = [
        p for p in inspect.signature(train).parameters.values()
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.default is p.empty
    ]  # fmt: skip
    set_mode(model, True)
    try:
        with user_code(), torch.enable_grad():
            train(model, teacher) if len(places) > 1 else train(model)
    except (InputError, KeyboardInterrupt):
        raise
    except Exception as error:
        raise InputError(f"the training loop of --fit failed ({failure(error)}); mend it") from error
    set_mode(model, False)
    bad = [n for n, t in model.state_dict().items() if t.is_floating_point() and not bool(torch.isfinite(t).all())]
    if bad:
        raise InputError(f"the training loop of --fit left {bad[0]} with NaN or infinite values; lower its rate")


def epochs_of(tune: FineTune, task: Task) -> int:
    """Epochs of fine-tuning: as asked for, or by the size of the train split; 0 without one."""
    if task.train is None and tune.fit is None:
        return 0
    if task.train is None or tune.fit is not None:
        return 1 if tune.epochs is None else tune.epochs
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
