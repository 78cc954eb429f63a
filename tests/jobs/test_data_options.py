"""Class order and pixel range from one command to the next: given once, then agreed on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from image_files import ramp, save_classes
from netsmith.errors import InputError
from netsmith.hardware.target import get_target
from netsmith.jobs.compress import compress
from netsmith.jobs.config import Images
from netsmith.jobs.specialize import specialize
from netsmith.jobs.subject import Subject, load_subject
from netsmith.jobs.train import train
from netsmith.network.tensorfile import metadata_of

NAMES = [str(i) for i in range(11)]
NETWORK = """
from torch import nn
def net(num_classes=11):
    return nn.Sequential(nn.Conv2d(1, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(),
                         nn.Linear(128, num_classes))
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, dict[str, Any]]:
    """A network, 12-bit images of 11 numbered classes, and weights trained in the order of numbers."""
    root = tmp_path_factory.mktemp("numbered")
    (root / "net.py").write_text(NETWORK)

    def of(i: int) -> np.ndarray:
        return np.rint(ramp(i // 20, 4000) + np.random.default_rng(i).uniform(0, 95, (6, 6))).astype(np.uint16)

    save_classes(root / "data", NAMES, n=20, of=of)
    (root / "order.json").write_text(json.dumps(NAMES))
    result = train(
        f"{root / 'net.py'}:net", str(root / "data"), epochs=6, batch_size=16, out=root / "w.safetensors", bf16=False,
        augment=False, classes=str(root / "order.json"), pixel_range=[0, 8190],
    ).summary  # fmt: skip
    return f"{root / 'net.py'}:net", root, result


def subject(trained: tuple[str, Path, dict[str, Any]], **options: Any) -> Subject:
    spec, root, _ = trained
    weights = str(root / "w.safetensors")
    return load_subject(
        spec, str(root / "data"), get_target("roofline-edge"), weights=weights, images=Images(**options)
    )


def test_training_writes_order_and_range(trained: tuple[str, Path, dict[str, Any]]) -> None:
    _, root, result = trained
    assert result["accuracy"]["after"]["test"] > 0.9
    metadata = metadata_of(root / "w.safetensors")
    assert json.loads(metadata["classes"]) == NAMES and json.loads(metadata["pixel_range"]) == [0, 8190]
    assert any("in the order of --classes" in s for s in result["data_notes"])


def test_training_goes_on_in_the_order_of_the_weights(trained: tuple[str, Path, dict[str, Any]]) -> None:
    spec, root, result = trained
    again = train(
        spec, str(root / "data"), weights=root / "w.safetensors", epochs=1, out=root / "w2.safetensors", bf16=False,
    ).summary  # fmt: skip
    assert again["accuracy"]["before"] == result["accuracy"]["after"]
    assert any(
        "as the metadata of the weights has them: 0, 1, 2, 3, ..., 7, 8, 9, 10" in s for s in again["data_notes"]
    )


def test_compression_takes_order_and_range_of_the_weights(trained: tuple[str, Path, dict[str, Any]]) -> None:
    found = subject(trained).task.data
    assert found.classes == tuple(NAMES) and found.pixel_range == (0, 8190)
    assert found.feeding.pixel_range == (0, 8190) and found.feeding.labels == tuple(NAMES)
    with pytest.raises(InputError, match=r"class 0 of .* is '10' .* but the weights call it '0'"):
        subject(trained, classes=NAMES[::-1])


@pytest.mark.parametrize("job", [train, compress, specialize])
def test_wrong_options_are_found_before_any_work(job: Any, trained: tuple[str, Path, dict[str, Any]]) -> None:
    spec, root, _ = trained
    first = ("tiny",) if job is specialize else (spec,)
    for options, match in (
        ({"classes": str(root / "absent")}, "there is no file"),
        ({"classes": NAMES[1:]}, "the class '0' is not among the 10"),
        ({"pixel_range": [3, 1]}, "the lower first"),
    ):
        out = root / ("x.safetensors" if job is train else "run")
        budget = {} if job is train else {"target": "roofline-edge", "macs": "0.5x"}
        with pytest.raises(InputError, match=match):
            job(*first, str(root / "data"), out=out, **budget, **options)
        assert not out.exists() or {p.name for p in out.iterdir()} <= {".lock"}
