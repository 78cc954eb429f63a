"""Images go through a file's own metadata to classes, exactly as the search read them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from PIL import Image
from torch import nn

from netsmith import cli
from netsmith.data import Feeding
from netsmith.data.feeding import PIXEL
from netsmith.errors import InputError
from netsmith.export.feeding import write_feeding
from netsmith.export.onnx import to_onnx
from netsmith.jobs.predict import predict
from netsmith.network.graph import trace
from netsmith.report import show_predictions

LABELS = ("dark", "[bold]light[/]")


class Light(nn.Module):
    """How light the picture is: its two logits are minus and plus the mean of the normalised pixels."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean = x.flatten(1).mean(1, keepdim=True)
        return torch.cat([-mean, mean], dim=1)


class Fixed(Light):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x.reshape(2, 3, 4, 6))


def save(path: Path, shape: tuple[int, ...] = (3, 4, 6), net: nn.Module | None = None, **options: Any) -> Path:
    options = {"scale": PIXEL, "mean": (0.5,) * shape[0], "std": (0.25,) * shape[0]} | options
    model = to_onnx(trace(net or Light(), shape))
    write_feeding(model, Feeding(shape, LABELS, **options))
    path.write_bytes(model.SerializeToString())
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that reads 4x6 pictures in colour, and pictures of one grey each, by their names."""
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("predict")
    save(root / "model.onnx")
    (root / "pictures" / "below").mkdir(parents=True)
    for name, size, grey in (("a.png", (6, 4), 30), ("below/b.png", (60, 40), 220), ("below/c.png", (13, 30), 130)):
        Image.new("RGB", size, (grey,) * 3).save(root / "pictures" / name)
    np.save(root / "pictures" / "d.npy", np.full((4, 6), 200, np.uint8))
    np.save(root / "many.npy", np.stack([np.full((4, 6, 3), grey, np.uint8) for grey in range(0, 256, 3)]))
    return root


def light(grey: float) -> float:
    """What the network must say of a picture of one grey."""
    return float(1 / (1 + np.exp(-2 * (grey / 255 - 0.5) / 0.25)))


def test_folders_files_and_arrays_are_classified(folder: Path) -> None:
    found = predict(folder / "model.onnx", [folder / "pictures", folder / "many.npy"], top=2)["predictions"]
    names = [Path(f["input"]).name for f in found]
    assert names[:5] == ["a.png", "d.npy", "b.png", "c.png", "many.npy[0]"] and len(found) == 4 + 86
    for said, grey in zip(found, [30, 200, 220, 130, *range(0, 256, 3)], strict=True):
        scores = {row["class"]: row["score"] for row in said["top"]}
        assert scores["[bold]light[/]"] == pytest.approx(light(grey), abs=1e-5)
        assert said["class"] == max(scores, key=lambda k: scores[k]) and sum(scores.values()) == pytest.approx(1)


def test_a_network_of_one_batch_size_takes_any_number(folder: Path, tmp_path: Path) -> None:
    fixed = save(tmp_path / "fixed.onnx", net=Fixed())
    assert onnx.load(fixed).graph.input[0].type.tensor_type.shape.dim[0].dim_value == 2
    inputs = [folder / "pictures" / "a.png"], [folder / "pictures"]
    for given in inputs:
        want, got = (predict(path, given)["predictions"] for path in (folder / "model.onnx", fixed))
        assert [w["score"] for w in want] == pytest.approx([g["score"] for g in got], rel=1e-5)


def test_the_table_and_the_json_say_the_same(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["predict", str(folder / "model.onnx"), str(folder / "pictures" / "a.png"), "--top", "5"]
    for more in ([], ["--json"]):
        with pytest.raises(SystemExit) as stop:
            cli.main([*words, *more])
        assert not stop.value.code
    table, _, printed = capsys.readouterr().out.partition("{")
    (said,) = json.loads("{" + printed)["predictions"]
    assert said["class"] == "dark" and f"{said['score']:.1%}" in table
    assert "[bold]light[/]" in table  # names are no markup
    show_predictions({"predictions": []})


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("absent.png", None, r"there is no input .*absent\.png"),
        ("text.png", b"no picture", r"text\.png is not a readable image"),
        ("none", "folder", r"folder .*none holds no images"),
        ("four.npy", np.zeros((5, 4, 4), np.uint8), r"four\.npy is not a readable image \(an array of shape 5x4x4"),
        ("deep.npy", np.zeros((4, 6), np.uint16), r"deep\.npy has pixels of more than 8 bits"),
        ("empty.npy", np.zeros((0, 3, 4, 6), np.uint8), r"empty\.npy is an array of no inputs"),
        ("cut.npy", b"\x93NUMPY", r"cut\.npy is no whole array"),
        ("objects.npy", np.array([{}, {}]), r"objects\.npy is no whole array"),
        ("n" * 300 + ".png", None, r"there is no input n"),
    ],
)
def test_bad_input_is_one_sentence(folder: Path, tmp_path: Path, name: str, content: Any, words: str) -> None:
    path = tmp_path / name
    if isinstance(content, np.ndarray):
        np.save(path, content)
    elif isinstance(content, bytes):
        path.write_bytes(content)
    elif content:
        path.mkdir()
    with pytest.raises(InputError, match=words.replace("there is no input n", "there is no input .*n")) as stop:
        predict(folder / "model.onnx", [folder / "pictures" / "a.png", path])
    assert "\n" not in str(stop.value) and len(str(stop.value)) < 500


def test_numbers_that_are_no_pixels_are_taken_as_they_are(tmp_path: Path) -> None:
    model = save(tmp_path / "m.onnx", (3, 4, 6), scale=None, mean=None, std=None)
    rows = np.linspace(-1, 1, 4 * 72).reshape(4, 3, 4, 6)
    np.save(tmp_path / "rows.npy", rows)
    np.save(tmp_path / "wrong.npy", rows[0, :2])
    found = predict(model, [tmp_path / "rows.npy"])["predictions"]
    assert [f["class"] for f in found] == [LABELS[int(row.mean() > 0)] for row in rows]
    with pytest.raises(InputError, match=r"wrong\.npy is no array of numbers of the shape 3x4x6"):
        predict(model, [tmp_path / "wrong.npy"])


def test_files_that_say_nothing_or_something_else_are_named(folder: Path, tmp_path: Path) -> None:
    picture = folder / "pictures" / "a.png"
    bare = to_onnx(trace(Light(), (3, 4, 6)))
    (tmp_path / "bare.onnx").write_bytes(bare.SerializeToString())
    write_feeding(bare, Feeding((3, 2**30, 2**30), LABELS, PIXEL, (0.5,) * 3, (0.5,) * 3))
    (tmp_path / "other.onnx").write_bytes(bare.SerializeToString())
    (tmp_path / "text.onnx").write_text("no network")
    for run, words in (
        ("bare.onnx", "does not say how the network is fed"), ("other.onnx", "takes other inputs than its metadata"),
        ("text.onnx", r"text\.onnx is no ONNX file"), ("absent", "give the folder of a run or an .onnx file"),
        (".", "is no run folder"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=words):
            predict(tmp_path / run, [picture])
    for options, words in (({"top": 0}, "--top is 0"), ({"inputs": []}, "there is no input")):
        with pytest.raises(InputError, match=words):
            predict(**({"run": folder / "model.onnx", "inputs": [picture]} | options))
