"""A finished network and what its files say: somebody who has one of them needs nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from image_files import save
from netsmith.data.feeding import LABELS, PREPROCESSING
from netsmith.export.feeding import read_feeding
from netsmith.jobs.compress import compress
from netsmith.jobs.result import Result
from netsmith.jobs.train import train
from netsmith.runs.names import FORMATS
from stranger import accuracy_by

NETWORK = """
from torch import nn
def net():
    return nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
                         nn.Flatten(), nn.Linear(8, 3))
"""
CLASSES = ("brick", "lawn", "sky")


def picture(label: int, i: int) -> np.ndarray:
    """Noise around the colour of a class, in a size of its own; outside of the centre square it is of another."""
    rng = np.random.default_rng([label, i])
    high, wide = (int(n) for n in rng.integers(13, 40, 2))
    pixels = rng.normal(110, 40, (high, wide, 3))
    pixels[..., label] += 4
    above, left = max(0, high - wide) // 2, max(0, wide - high) // 2  # what is cut off, and the same on the other side
    for edge in (np.s_[:above], np.s_[high - above :], np.s_[:, :left], np.s_[:, wide - left :]):
        pixels[edge][..., (label + 1) % 3] += 90
    return pixels.clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, Path]:
    """A network for images of 12x12, trained and compressed on files of other sizes; the folder of the test images."""
    root = tmp_path_factory.mktemp("product")
    torch.set_num_threads(1)
    (root / "net.py").write_text(NETWORK)
    for part, count in (("train", 40), ("test", 40)):
        for label, name in enumerate(CLASSES):
            for i in range(count):
                save(picture(label, i + 100 * (part == "test")), root / "data" / part / name / f"{i}.png")
    network, weights = f"{root / 'net.py'}:net", root / "w.safetensors"
    options: dict[str, Any] = {"image_size": 12}
    train(network, str(root / "data"), epochs=4, batch_size=16, lr=0.1, out=weights, augment=False, **options)
    result = compress(
        network, str(root / "data"), target="roofline-edge", size="0.9x", weights=str(weights), methods="quantize",
        epochs=0, out=root / "run", **options,
    )  # fmt: skip
    return result, root / "data" / "test"


def test_a_stranger_with_the_onnx_file_reaches_the_accuracy(finished: tuple[Result, Path]) -> None:
    result, images = finished
    stated = result.summary["result"]["accuracy"]
    assert 0.5 < stated < 1  # what is fed wrongly shows
    assert accuracy_by(result.folder / "model.onnx", images) == pytest.approx(stated, abs=0.01)


def test_every_file_says_how_it_is_fed(finished: tuple[Result, Path]) -> None:
    result, _ = finished
    said = {p.key: json.loads(p.value) for p in onnx.load(result.folder / "model.onnx").metadata_props}
    assert said[LABELS] == list(CLASSES)
    steps = said[PREPROCESSING]
    assert (steps["size"], steps["channels"], steps["layout"]) == ([12, 12], 3, "NCHW")
    assert steps["scale"] == 1 / 255 and len(steps["mean"]) == len(steps["std"]) == 3
    assert result.summary["preprocessing"] == steps | {"classes": said[LABELS]}
    feeding = read_feeding(result.folder / "model.onnx")
    for name in ("baseline.onnx", FORMATS["pt2"], FORMATS["safetensors"]):
        assert read_feeding(result.folder / name) == feeding
