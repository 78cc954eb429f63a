"""What a result must be able to do, whatever job it is of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from netsmith.data import Data
from netsmith.jobs.result import Result


def answers(model: nn.Module, images: torch.Tensor) -> np.ndarray:
    """Logits of a module."""
    with torch.no_grad():
        return model(images).numpy()


def product_answers(result: Result, images: torch.Tensor) -> np.ndarray:
    """Logits of ``model.onnx``."""
    from netsmith.hardware.measured.timing import make_session

    session = make_session(result.product["onnx"])
    return np.asarray(session.run(None, {session.get_inputs()[0].name: images.numpy()})[0])


def check_export(result: Result, out: Path, data: Data) -> None:
    """The network with the weights and on the images of its run is exported to the same files, byte for byte."""
    again = result.export(out, result.float_model, data.search.images[:256])
    assert again.size_bytes == result.summary["result"]["size_bytes"]
    for kind, path in again.files.items():
        assert path.read_bytes() == result.product[kind].read_bytes(), kind
    assert (out / "recipe.json").read_bytes() == result.product["recipe"].read_bytes()


def check_networks(result: Result, data: Data, *, agreement: float = 0.95) -> None:
    """``model`` computes what the product computes, at every batch size; ``float_model`` nearly, and can be trained."""
    images, labels = next(data.test.batches(300, normalise=data.normalisation, channels_last=False))
    want, got = product_answers(result, images), answers(result.model.train().eval(), images)
    assert (got.argmax(1) == want.argmax(1)).mean() >= agreement
    assert np.linalg.norm(got - want) < (1 - agreement) * 2 * np.linalg.norm(want - want.mean())
    np.testing.assert_allclose(answers(result.model, images[:1]), got[:1], rtol=1e-3, atol=1e-3 * np.abs(got).max())
    floats = result.float_model
    assert not floats.training
    assert (answers(floats, images).argmax(1) == labels.numpy()).mean() > result.summary["result"]["accuracy"] - 0.1
    floats.train()(images[:8]).sum().backward()
    assert all(p.grad is not None for p in floats.parameters())
    floats.eval().zero_grad()
