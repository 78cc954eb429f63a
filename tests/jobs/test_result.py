"""What a job hands back: its network computes what the product computes, and can be trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from netsmith.data import Data, load_data
from netsmith.jobs.compress import compress
from netsmith.jobs.result import Result

MODEL = "zoo:digits?channels=16&blocks=1"
WAYS: dict[str, dict[str, Any]] = {
    "pruned": {"target": "roofline-edge", "methods": "prune", "macs": "0.6x"},
    "int8": {"target": "roofline-edge", "methods": "prune,quantize", "latency": "0.7x"},
    "few bits": {"target": "bismo-edge", "methods": "quantize", "energy": "0.5x", "evaluations": 2},
    "shared": {"target": "roofline-edge", "methods": "share", "size": "0.2x", "evaluations": 2},
}


@pytest.fixture(scope="module")
def data() -> Data:
    torch.set_num_threads(1)
    return load_data("digits")


def answers(model: nn.Module, images: torch.Tensor) -> np.ndarray:
    with torch.no_grad():
        return model(images).numpy()


def product_answers(result: Result, images: torch.Tensor) -> np.ndarray:
    import onnxruntime

    session = onnxruntime.InferenceSession(result.product["onnx"], providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    return np.asarray(logits)


@pytest.mark.parametrize("way", WAYS)
def test_model_computes_what_the_product_computes(way: str, digits_weights: Path, data: Data, tmp_path: Path) -> None:
    result = compress(MODEL, "digits", weights=str(digits_weights), epochs=0, out=tmp_path / "run", **WAYS[way])
    images, _ = next(data.test.batches(200, normalise=data.normalisation))
    want = product_answers(result, images)
    for size in (1, 3, 200):
        got = answers(result.model.train().eval(), images[:size])
        assert (got.argmax(1) == want[:size].argmax(1)).mean() >= (0.95 if size == 200 else 0)
        assert np.abs(got - want[:size]).mean() < 0.05 * np.abs(want).mean()
    floats = result.float_model
    assert type(floats).__name__ == "DigitsNet" and not floats.training
    assert (answers(floats, images).argmax(1) == want.argmax(1)).mean() > 0.5
    floats.train()(images[:8]).sum().backward()
    assert all(p.grad is not None for p in floats.parameters())
    assert str(result.folder) in repr(result) and len(repr(result).splitlines()) == 3
