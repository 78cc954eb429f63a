"""The train job, end to end on the embedded digits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from labelled import evaluate
from listener import Listener
from netsmith.errors import InputError

NETWORK = """
import torch
from torch import nn

def small(num_classes=10):
    first = nn.Conv2d(1, 8, 3, padding=1)
    return nn.Sequential(first, nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(512, num_classes))
"""


@pytest.fixture
def spec(tmp_path: Path) -> str:
    (tmp_path / "net.py").write_text(NETWORK)
    return f"{tmp_path / 'net.py'}:small"


def test_from_scratch_then_fine_tuned(spec: str, tmp_path: Path) -> None:
    from safetensors import safe_open

    from netsmith.data import load_data
    from netsmith.jobs.train import train
    from netsmith.network.load import load_model

    out = tmp_path / "w.safetensors"
    told = Listener()
    first = train(
        spec, "digits", epochs=3, out=out, bf16=False, batch_size=64, mean=[0.5], std=[0.5], progress=told
    ).summary
    after = first["accuracy"]["after"]
    assert first["accuracy"]["before"] is None and after["test"] > 0.6 and "1223 train" in told.notes[0]
    assert told.stages == ["load", "train", "score"]
    json.dumps(first)
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_file()) == ["net.py", "w.safetensors"]
    with safe_open(out, framework="pt") as stored:
        metadata = stored.metadata()
    assert json.loads(metadata["mean"]) == [0.5] and json.loads(metadata["classes"]) == [str(i) for i in range(10)]
    assert json.loads(metadata["made_by"])["recipe"]["epochs"] == 3 and json.loads(metadata["input_shape"]) == [1, 8, 8]

    data = load_data("digits", mean=[0.5], std=[0.5])
    model = load_model(spec, num_classes=10, weights=out).model
    assert evaluate(model, data.test, normalisation=data.normalisation)[0] == after["test"]

    # fine-tuning takes the normalisation from the weights, so it starts where the first training ended
    second = train(spec, "digits", weights=out, epochs=1, out=tmp_path / "w2.safetensors", bf16=False).summary
    assert second["accuracy"]["before"] == after and second["recipe"]["lr"] < first["recipe"]["lr"]


def test_unwritable_place_keeps_the_checkpoint_and_resumes(
    spec: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from netsmith import files
    from netsmith.jobs.train import train

    out, real = tmp_path / "w.safetensors", files.write_atomic

    def fail(path: Path, content: bytes) -> None:
        if path == out:
            raise InputError(f"{path} could not be written (No space left on device)")
        real(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(files, "write_atomic", fail)
        with pytest.raises(InputError, match="No space left"):
            train(spec, "digits", epochs=2, out=out, bf16=False)
    kept = tmp_path / "w.checkpoint.safetensors"
    assert kept.is_file() and not out.exists()
    stamp = kept.stat().st_mtime_ns
    result = train(spec, "digits", epochs=2, out=out, bf16=False).summary
    assert stamp > 0 and out.is_file() and not kept.exists() and result["epochs"] == 2


def test_wrong_input_is_one_sentence(spec: str, tmp_path: Path) -> None:
    from netsmith.jobs.train import train

    with pytest.raises(InputError, match=r"must end in \.safetensors"):
        train(spec, "digits", epochs=1, out=tmp_path / "w.bin")
    with pytest.raises(InputError, match="--teacher-weights are of no network"):
        train(spec, "digits", epochs=1, out=tmp_path / "w.safetensors", teacher_weights=tmp_path / "t.pth")
    with pytest.raises(InputError, match="does not run on images of shape"):
        train(spec, "digits", epochs=1, out=tmp_path / "w.safetensors", image_size=9)
    wide = tmp_path / "wide.py"
    wide.write_text("from torch import nn\ndef net():\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, 12))\n")
    with pytest.raises(InputError, match="10 classes but the network has 12 outputs"):
        train(f"{wide}:net", "digits", epochs=1, out=tmp_path / "w.safetensors")
    assert not torch.is_inference_mode_enabled()


def test_nothing_is_overwritten_that_no_training_wrote(spec: str, tmp_path: Path) -> None:
    from netsmith.jobs.train import train
    from netsmith.network.load import load_model
    from netsmith.network.weights import save_weights

    state = load_model(spec).model.state_dict()
    given = tmp_path / "w.checkpoint.safetensors"  # where the checkpoint of w.safetensors would be
    save_weights(given, state)
    before = given.read_bytes()
    with pytest.raises(InputError, match=r"is the file of --weights as well"):
        train(spec, "digits", epochs=1, weights=given, out=tmp_path / "w.safetensors")
    with pytest.raises(InputError, match=r"is the file of --weights as well"):
        train(spec, "digits", epochs=1, weights=given, out=given)
    with pytest.raises(InputError, match=r"checkpoint\.safetensors exists and is not the checkpoint of a training"):
        train(spec, "digits", epochs=1, out=tmp_path / "w.safetensors")
    with pytest.raises(InputError, match=r"exists and is not what netsmith train wrote"):
        train(spec, "digits", epochs=1, out=given)
    (tmp_path / "link.safetensors").symlink_to(given)
    with pytest.raises(InputError, match="is a symbolic link"):
        train(spec, "digits", epochs=1, out=tmp_path / "link.safetensors")
    assert given.read_bytes() == before and (tmp_path / "link.safetensors").is_symlink()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"patience": 0}, "--patience must be at least 1"), ({"lr": 0.0}, "--lr must be above 0"),
        ({"lr": float("nan")}, "--lr must be finite"),
        ({"lr": float("inf")}, "--lr must be finite"), ({"epochs": 0}, "--epochs must be at least 1"),
    ],
)  # fmt: skip
def test_settings_that_train_nothing_are_refused(tmp_path: Path, options: dict[str, float], words: str) -> None:
    from netsmith.jobs.compress import compress
    from netsmith.jobs.train import train

    settings: dict[str, Any] = {"epochs": 1, "out": tmp_path / "w.safetensors"} | options
    with pytest.raises(InputError, match=words):
        train("zoo:nothing", "no such data", **settings)
    if "lr" in options:
        with pytest.raises(InputError, match=words):
            compress("zoo:nothing", "no such data", latency="0.5x", out=tmp_path / "run", lr=options["lr"])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("place", ["file/w.safetensors", "folder.safetensors", "x" * 240 + ".safetensors"])
def test_a_place_that_cannot_be_written_is_found_first(tmp_path: Path, place: str) -> None:
    from netsmith.jobs.train import train

    (tmp_path / "file").write_text("")
    (tmp_path / "folder.safetensors").mkdir()
    with pytest.raises(InputError, match=r"cannot be written|is a folder"):
        train("zoo:nothing", "no such data", out=tmp_path / place)


def test_two_trainings_do_not_share_an_output(spec: str, tmp_path: Path) -> None:
    from netsmith.jobs.train import train

    def second(_: str) -> None:
        with pytest.raises(InputError, match=r"w\.safetensors is in use by another netsmith"):
            train(spec, "digits", epochs=1, out=out)

    out = tmp_path / "new" / "folder" / "w.safetensors"
    out.parent.mkdir(parents=True)
    (out.parent / ".w.safetensors.7.tmp").write_bytes(b"of a training that was killed")
    train(spec, "digits", epochs=1, out=out, bf16=False, train_limit=64, progress=Listener(second))
    assert [p.name for p in out.parent.iterdir()] == ["w.safetensors"]


def test_a_training_of_something_else_is_not_resumed(spec: str, tmp_path: Path) -> None:
    from netsmith.jobs.train import train

    class Killed(BaseException):
        pass

    def kill(text: str) -> None:
        if text.startswith("epoch 2/"):
            raise Killed

    out = tmp_path / "new" / "folder" / "w.safetensors"
    options: dict[str, Any] = {"epochs": 3, "out": out, "bf16": False, "train_limit": 300, "seed": 3}
    whole = tmp_path / "whole.safetensors"
    train(spec, "digits", **(options | {"out": whole}))
    with pytest.raises(Killed):
        train(spec, "digits", progress=Listener(kill), **options)
    code = (tmp_path / "net.py").read_text()
    (tmp_path / "net.py").write_text(code.replace("nn.ReLU()", "nn.ReLU6()"))
    with pytest.raises(InputError, match=r"^the network .*:small changed since the checkpoint"):
        train(spec, "digits", **options)
    (tmp_path / "net.py").write_text(code)
    train(spec, "digits", **options)
    assert out.read_bytes() == whole.read_bytes()


def test_a_module_from_python_and_data_in_memory(tmp_path: Path) -> None:
    from safetensors import safe_open
    from torch import nn

    import netsmith
    from netsmith.data import load_data

    net, teacher = (nn.Sequential(nn.Flatten(), nn.Linear(64, 10)) for _ in range(2))
    before, data = net[1].weight.clone(), load_data("digits", train_limit=100)
    result = netsmith.train(net, data, teacher=teacher, epochs=1, out=tmp_path / "w.safetensors", bf16=False)
    summary = result.summary
    assert summary["model"] == "Sequential" == summary["recipe"]["teacher"] and summary["data"] == "digits"
    assert torch.equal(net[1].weight, before)
    with safe_open(tmp_path / "w.safetensors", framework="pt") as stored:
        assert json.loads(stored.metadata()["made_by"])["model"] == "Sequential"
        assert not torch.equal(stored.get_tensor("1.weight"), before)
        assert torch.equal(stored.get_tensor("1.weight"), result.model[1].weight)
    product = result.export(tmp_path / "files", result.float_model)
    assert product.parity.ok and product.labels == data.classes and product.files["onnx"].is_file()
    with pytest.raises(InputError, match="a report is written of runs"):
        result.report()


def test_weights_that_guess_and_training_that_learns_nothing_are_said(spec: str, tmp_path: Path) -> None:
    from netsmith.jobs.train import train
    from netsmith.network.load import load_model
    from netsmith.network.weights import save_weights

    save_weights(tmp_path / "raw.safetensors", load_model(spec).model.state_dict(), {"mean": "[0.5]", "std": "[0.25]"})
    told = Listener()
    result = train(
        spec, "digits", epochs=1, lr=1e-9, weights=tmp_path / "raw.safetensors", out=tmp_path / "w.safetensors",
        bf16=False, progress=told,
    ).summary  # fmt: skip
    assert any("warning: the network as given" in s and "no more than a guess" in s for s in told.notes)
    assert any("normalised with mean 0.5 and std 0.25" in s and "file of the weights" in s for s in told.notes)
    assert "after training" in result["warnings"][0] and "no more than a guess" in result["warnings"][0]
