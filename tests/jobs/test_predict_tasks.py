"""Texts, images and named arrays go through a file's own description to answers, without examples or the network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from netsmith import cli
from netsmith.data import prepare
from netsmith.data.batch import Batch
from netsmith.data.feeding import IMAGES, PIXEL, Feeding
from netsmith.errors import InputError
from netsmith.export.feeding import write_feeding
from netsmith.export.onnx import to_onnx
from netsmith.jobs.predict import predict
from netsmith.network.graph import trace
from netsmith.network.ports import ports
from netsmith.tasks.segmentation import load

_AXES = {name: {1: "length"} for name in ("input_ids", "attention_mask")}


class Sums(nn.Module):
    """The sum and the number of the tokens that are no padding."""

    def forward(self, input_ids: Any, attention_mask: Any) -> Any:
        kept = (input_ids * attention_mask).float()
        return {"logits": torch.stack([kept.sum(1), attention_mask.float().sum(1)], dim=1), "kept": kept}


class Channels(nn.Module):
    """Each pixel as it is, in as many channels."""

    def forward(self, x: Any) -> Any:
        return x * 1.0


def _saved(path: Path, net: nn.Module, batch: Batch, axes: Any = None, **said: Any) -> Path:
    graph = trace(net.eval(), batch, axes=axes)
    model, (takes, gives) = to_onnx(graph), ports(graph)
    shape = tuple(batch.inputs[0].shape[1:])
    options = {"labels": (), "layout": None, "inputs": graph.input_names, "takes": takes, "gives": gives} | said
    write_feeding(model, Feeding(shape, **options))
    path.write_bytes(model.SerializeToString())
    return path


@pytest.fixture(scope="module")
def sums(tmp_path_factory: pytest.TempPathFactory) -> Path:
    batch = Batch((torch.ones(2, 6, dtype=torch.int64), torch.ones(2, 6, dtype=torch.bool)))
    return _saved(tmp_path_factory.mktemp("sums") / "m.onnx", Sums(), batch, _AXES, task={"kind": "own"})


def test_named_arrays_are_one_example_or_several_of_any_length(sums: Path, tmp_path: Path) -> None:
    ids, mask = np.arange(12).reshape(3, 4), np.array([[1, 1, 0, 0], [1, 1, 1, 1], [0, 1, 0, 0]])
    np.savez(tmp_path / "a.npz", input_ids=ids, attention_mask=mask)
    np.savez(tmp_path / "b.npz", input_ids=np.arange(7), attention_mask=np.ones(7, bool))
    out = tmp_path / "out"
    found = predict(sums, [tmp_path], out=out)["predictions"]
    assert [f["outputs"]["logits"]["values"] for f in found] == [[1, 2], [22, 4], [9, 1], [21, 7]]
    assert found[3]["outputs"]["kept"] == {"shape": [7], "values": [0, 1, 2, 3, 4, 5, 6]}
    assert np.load(found[0]["files"][0])["kept"].tolist() == [0, 1, 0, 0]
    with pytest.raises(InputError, match="has something in it"):
        predict(sums, [tmp_path / "b.npz"], out=out)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"input_ids": np.arange(4)}, "has no array 'attention_mask'"),
        ({"input_ids": np.arange(4), "attention_mask": np.ones(4), "x": np.ones(1)}, "has an unknown array 'x'"),
        ({"input_ids": np.arange(4) + 0.5, "attention_mask": np.ones(4)}, "numbers for input_ids that are no int64"),
        ({"input_ids": np.ones((2, 4)), "attention_mask": np.ones(4)}, "other shapes than the network takes"),
        ({"input_ids": np.array([{}]), "attention_mask": np.ones(1)}, "no whole arrays of numbers"),
    ],
)  # fmt: skip
def test_what_the_network_does_not_take_is_one_sentence(
    sums: Path, tmp_path: Path, arrays: dict[str, Any], words: str
) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(InputError, match=rf"a\.npz .*{words}") as stop:
        predict(sums, [tmp_path / "a.npz"])
    assert "\n" not in str(stop.value) and len(str(stop.value)) < 400
    with pytest.raises(InputError, match=r"there is no input nothing; give \.npz files with input_ids, attention_mask"):
        predict(sums, ["nothing"])


def test_texts_become_the_tokens_that_the_file_brings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel({"[PAD]": 0, "a": 1, "red": 9, "blue": 8, "?": 2}, "?"))
    words.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    batch = Batch((torch.ones(2, 6, dtype=torch.int64), torch.ones(2, 6, dtype=torch.int64)))
    task = {"kind": "text-classification", "tokens": 6}
    model = _saved(
        tmp_path / "m.onnx", Sums(), batch, labels=("much", "long"), task=task, tokenizer=words.to_str()
    )  # fmt: skip
    (tmp_path / "t.txt").write_text("a a a a a a a a a")  # cut after six
    found = predict(model, ["a red", tmp_path / "t.txt"], top=2)["predictions"]
    assert found[0]["class"] == "much" and found[0]["score"] == pytest.approx(1 / (1 + np.exp(-8)))
    assert [row["score"] for row in found[1]["top"]] == [0.5, 0.5]
    with pytest.raises(SystemExit) as stop:
        cli.main(["predict", str(model), "a red"])
    assert not stop.value.code and "much" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["segmentation", "image-to-image"])
def test_pictures_are_answered_with_pictures(kind: str, tmp_path: Path) -> None:
    said = {"layout": IMAGES, "scale": PIXEL, "mean": (0.0,) * 3, "std": (1.0,) * 3, "labels": ("red", "green", "blue")}
    model = _saved(tmp_path / "m.onnx", Channels(), Batch((torch.rand(2, 3, 4, 6),)), task={"kind": kind}, **said)
    pixels = np.zeros((4, 6, 3), np.uint8)
    pixels[:, :2, 2] = pixels[:, 2:, 1] = 200
    Image.fromarray(pixels).save(tmp_path / "p.png")
    (found,) = predict(model, [tmp_path / "p.png"], top=2, out=tmp_path / "out")["predictions"]
    drawn = np.asarray(Image.open(found["files"][1]))
    if kind == "segmentation":
        assert [(row["class"], row["score"]) for row in found["top"]] == [("green", 4 / 6), ("blue", 2 / 6)]
        assert np.array_equal(drawn, pixels.argmax(2))
    else:
        assert found["outputs"] == {"output": {"shape": [3, 4, 6]}} and np.array_equal(drawn, pixels)


def test_pictures_of_another_depth_are_read_as_the_task_read_them(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for i in range(12):
        mask = rng.integers(0, 2, (8, 8)).astype(np.uint8)
        Image.fromarray(mask.astype(np.uint16) * 2000 + np.uint16(i)).save(tmp_path / "images" / f"{i}.png")
        Image.fromarray(mask).save(tmp_path / "masks" / f"{i}.png")
    task = load(tmp_path, search_size=4)
    graph = trace(nn.Conv2d(1, 2, 1), task.example())
    said = task.for_weights({"mean": "[0.5]", "std": "[0.25]"}).feeding(graph, None)
    assert said.pixel_range == (0.0, 2011.0) and said.mean == (0.5,) and said.task["kind"] == "segmentation"
    found = prepare(said, [tmp_path / "images" / "3.png"], ["3"])
    want = np.rint((np.asarray(Image.open(tmp_path / "images" / "3.png")) / 2011) * 255)
    assert np.allclose(found.numpy()[0, 0], (want / 255 - 0.5) / 0.25, atol=1e-5)
