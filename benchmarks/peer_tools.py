"""What a user would do today without netsmith: torch.onnx.export, ONNX Runtime's quantizer, Torch-Pruning."""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import subprocess
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn


def export(model: nn.Module, shape: tuple[int, ...], path: Path) -> Path:
    """Write a module as ONNX with a free batch."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            copy.deepcopy(model).eval(), (torch.zeros(2, *shape),), dynamo=True, verbose=False,
            dynamic_shapes=({0: torch.export.Dim.DYNAMIC},), input_names=["input"], output_names=["output"],
        )  # fmt: skip
    assert program is not None
    program.save(str(path))
    return path


def ort_int8(source: Path, images: np.ndarray[Any, Any], out: Path, *, preprocess: bool = True) -> Path:
    """ONNX Runtime static int8 as its documentation advises: QDQ, u8 activations, s8 weights per channel, MinMax."""
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.rows = iter(images)

        def get_next(self) -> dict[str, Any] | None:
            row = next(self.rows, None)
            return None if row is None else {"input": row[None]}

    logging.getLogger().setLevel(logging.ERROR)
    ready = source
    if preprocess:
        ready = out.with_suffix(".pre.onnx")
        quant_pre_process(str(source), str(ready), skip_symbolic_shape=True)
    quantize_static(
        str(ready), str(out), Reader(), quant_format=QuantFormat.QDQ, per_channel=True,
        activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, calibrate_method=CalibrationMethod.MinMax,
    )  # fmt: skip
    return out


def nncf_int8(python: str, source: Path, images: np.ndarray[Any, Any], out: Path) -> str:
    """NNCF on the ONNX file, by the interpreter that has it; returns its version, or why it did not work."""
    rows = out.with_suffix(".npy")
    np.save(rows, images)
    script = Path(__file__).with_name("nncf_ptq.py")
    done = subprocess.run([python, str(script), str(source), str(rows), str(out)], capture_output=True, text=True)
    rows.unlink()
    text = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines() or [""]
    return text[-1]


def prune(
    model: nn.Module, shape: tuple[int, ...], ratio: float, round_to: int | None, importance: str, whole: bool,
    spare: bool,
) -> nn.Module:  # fmt: skip
    """Torch-Pruning as its README shows: one ratio for all layers (or one global ranking), the classifier left alone.

    Args:
        spare: leave the layers that feed shortcuts alone as well.
    """
    import torch_pruning as tp

    small, x = copy.deepcopy(model).eval(), torch.zeros(1, *shape)
    score = tp.importance.BNScaleImportance() if importance == "bnscale" else tp.importance.MagnitudeImportance(p=2)
    pruner = tp.pruner.MagnitudePruner(
        small, x, importance=score, pruning_ratio=ratio, global_pruning=whole, ignored_layers=ignored(small, spare),
        round_to=round_to,
    )  # fmt: skip
    pruner.step()
    small(x)  # an inconsistent network fails here
    return small


def prune_to_macs(
    model: nn.Module, shape: tuple[int, ...], share: float, isomorphic: bool, free: set[str]
) -> tuple[nn.Module, float]:
    """Torch-Pruning's ranking over all layers, pruned no further than a share of the MACs asks for.

    Args:
        isomorphic: rank within classes of layers of one shape (Fang et al., ECCV 2024).
        free: paths of the layers whose outputs may shrink.

    Returns:
        The smaller network and its share of the MACs, at most ``share``.
    """
    import torch_pruning as tp

    x = torch.zeros(1, *shape)
    before = tp.utils.count_ops_and_params(model, x)[0]

    def pruned(ratio: float) -> tuple[nn.Module, float]:
        small = copy.deepcopy(model).eval()
        kept = [m for n, m in small.named_modules() if isinstance(m, (nn.Conv2d, nn.Linear)) and n not in free]
        pruner = tp.pruner.MagnitudePruner(
            small, x, importance=tp.importance.MagnitudeImportance(p=2), pruning_ratio=ratio, global_pruning=True,
            isomorphic=isomorphic, ignored_layers=kept, max_pruning_ratio=0.95,
        )  # fmt: skip
        pruner.step()
        return small, tp.utils.count_ops_and_params(small, x)[0] / before

    low, high = 0.0, 0.95
    best = pruned(high)
    for _ in range(8):
        middle = (low + high) / 2
        made = pruned(middle)
        if made[1] <= share:
            best, high = made, middle
        else:
            low = middle
    return best


def ignored(model: nn.Module, spare: bool) -> list[nn.Module]:
    """The classifier, and on request all that writes to a residual stream."""
    layers: list[nn.Module] = [m for m in model.modules() if isinstance(m, nn.Linear)]
    if spare:
        inner = {m.conv1 for m in model.modules() if hasattr(m, "conv1") and hasattr(m, "conv2")}
        layers += [m for m in model.modules() if isinstance(m, nn.Conv2d) and m not in inner]
    return layers


def widths(model: nn.Module) -> list[int]:
    return [m.out_channels for m in model.modules() if isinstance(m, nn.Conv2d)]
