"""Getting accuracy back: fine-tuning of smaller networks, quantization-aware training of networks in few bits."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from netsmith.compression.build import histograms_of, is_int8
from netsmith.compression.mixed import Bits, LayerQuantizer, layer_inputs
from netsmith.compression.qat import TrainedQuantizer, finish, prepare
from netsmith.compression.quantizers import LsqWeight
from netsmith.compression.share import CodebookQuantizer
from netsmith.data import Data
from netsmith.network.graph import Graph, trace
from netsmith.network.layers import FLOAT
from netsmith.progress import Progress, training_events

#: Peak learning rates: rounded weights have no room for steps as large as those of a network that lost channels.
FINE_TUNE_LR, QAT_LR = 0.03, 0.01


def fine_tune(
    model: nn.Module, teacher: nn.Module, data: Data, config: Mapping[str, Any], checkpoint: Path, progress: Progress
) -> list[dict[str, Any]]:
    """Train ``model`` in place, distilling from the network as given; or only re-estimate batch norm.

    Returns:
        What was logged of each epoch, as JSON values.
    """
    from netsmith.training import fit, reestimate_batch_norm

    epochs = epochs_of(config, data)
    if epochs == 0:
        reestimate_batch_norm(model, data.search, normalisation=data.normalisation)
        return []
    progress.stage("fine-tune")
    start = time.time()
    quantized = any("parametrizations" in name for name, _ in model.named_modules())
    rounded = any(isinstance(module, LsqWeight) for module in model.modules())
    result = fit(
        model, data, epochs=epochs, lr=config["lr"] or (QAT_LR if rounded else FINE_TUNE_LR), teacher=teacher,
        seed=config["seed"], checkpoint=checkpoint, progress=training_events(progress),
        bf16=False if quantized else "auto",
    )  # fmt: skip
    progress.note(f"  fine-tuned {result.epochs_run} epochs in {time.time() - start:.0f} s")
    return [json.loads(json.dumps(h, default=vars)) for h in result.history]


def epochs_of(config: Mapping[str, Any], data: Data) -> int:
    """Epochs of fine-tuning: as asked for, or by the size of the train split; 0 without one."""
    if data.train is None:
        return 0
    asked = config["epochs"]
    return int(asked) if asked is not None else max(3, min(30, 200_000 // len(data.train)))


def quantizer_for(graph: Graph, bits: Bits, images: Any, method: str) -> LayerQuantizer:
    """Calibrated grids for the layers ``bits`` of a network, or codebooks where they read floats."""
    if all(a_bits == FLOAT for _, a_bits in bits.values()):
        return CodebookQuantizer(graph)
    return LayerQuantizer(graph, histograms_of(graph, images, layer_inputs(graph, bits).values()), method)


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
    student = prepare(model, bits, quantizer)
    history = fine_tune(student, **training)
    trained, grids = finish(student, bits, quantizer)
    new = trace(trained, graph.input_shape, fold=graph.folded)
    if isinstance(quantizer, CodebookQuantizer):
        return new, CodebookQuantizer(new), trained, history
    return new, TrainedQuantizer(new, trained, grids, quantizer), trained, history
