"""What a job hands back and what a run is opened as again, with a network that was handed over as a module."""

from __future__ import annotations

import copy
import pickle
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import netsmith
from labelled import evaluate, fit
from netsmith.accuracy.onnx_score import onnx_score
from netsmith.compression.recipe import Recipe, apply_recipe
from netsmith.data import Data, load_data
from netsmith.errors import InputError
from netsmith.jobs.predict import predict
from netsmith.jobs.result import Result
from netsmith.network.weights import read_weights
from netsmith.runs.folder import Run
from netsmith.tasks.classification import Classification
from netsmith.training import Training
from products import check_networks


class Net(nn.Module):
    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(1, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.second, self.head = nn.Conv2d(width, width, 3, 2), nn.Linear(width * 9, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.second(self.norm(self.first(x)).relu()).relu().flatten(1))


@pytest.fixture(scope="module")
def data() -> Data:
    return load_data("digits", search_size=300)


@pytest.fixture(scope="module")
def result(data: Data, tmp_path_factory: pytest.TempPathFactory) -> Result:
    """A module that was handed over and pruned."""
    torch.set_num_threads(1)
    net = Net()
    fit(net, data, Training(epochs=2, lr=0.05))
    options: dict[str, Any] = {"target": "roofline-edge", "methods": "prune", "macs": "0.6x", "epochs": 0}
    return netsmith.compress(net, data, out=tmp_path_factory.mktemp("runs") / "net", **options)


def test_a_module_comes_back_smaller_and_of_its_own_class(result: Result, data: Data) -> None:
    assert result.summary["result"]["macs"] <= 0.6 * result.summary["baseline"]["macs"]
    check_networks(result, data, agreement=0.99)
    assert type(result.float_model) is Net and result.float_model.second.out_channels < 16
    assert result.model is result.model and len(repr(result).splitlines()) == 3 and "MACs" in repr(result)
    assert all(path.is_file() for path in result.product.values())
    assert result.report().read_text().startswith("<!doctype html>")


def test_it_is_opened_again_without_its_class_and_with_it(result: Result, data: Data) -> None:
    again = netsmith.load(result.folder)
    assert again.summary == result.summary and again.product == result.product
    with pytest.raises(InputError, match=r"made from Net, which came from Python and lies in no file; give the class"):
        again.float_model  # noqa: B018
    assert again.model(torch.zeros(5, 1, 8, 8)).shape == (5, 10)
    for factory in (Net, Net(), lambda: Net(16)):
        check_networks(netsmith.load(result.folder, factory), data, agreement=0.99)


def test_it_is_trained_on_in_a_plain_loop_and_exported_again(result: Result, data: Data, tmp_path: Path) -> None:
    net = netsmith.load(result.folder, Net).float_model.train()
    optimiser = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    for _ in range(3):
        for images, labels in data.need_train().batches(64, normalise=data.normalisation):
            optimiser.zero_grad()
            nn.functional.cross_entropy(net(images), labels).backward()
            optimiser.step()
    product = result.export(tmp_path / "tuned", net)
    assert net.training and product.parity.relative_error < 1e-3
    task = Classification(data)
    tuned = onnx_score(product.files["onnx"], task, task.test)
    net.eval()
    assert tuned == pytest.approx(evaluate(net, data.test, normalisation=data.normalisation)[0], abs=0.01)
    assert tuned > result.summary["result"]["accuracy"]
    again = apply_recipe(Net(), Recipe.read(tmp_path / "tuned" / "recipe.json"))
    again.load_state_dict(read_weights(product.files["safetensors"])[0], strict=True)
    np.save(tmp_path / "images.npy", data.test.images[:100].numpy())
    said = [p["top"][0]["index"] for p in predict(product.files["onnx"], [tmp_path / "images.npy"])["predictions"]]
    assert np.mean(np.array(said) == data.test.labels[:100].numpy()) == pytest.approx(tuned, abs=0.2)
    untuned = predict(result.folder, [tmp_path / "images.npy"], top=3)["predictions"]
    assert len(untuned) == 100 and [len(p["top"]) for p in untuned] == [3] * 100
    result.export(tmp_path / "tuned", net)  # what was exported may be exported again
    (tmp_path / "tuned" / "recipe.json").write_text("mine")
    other, infinite = Net(), netsmith.load(result.folder, Net).float_model
    infinite.head.bias.data[0] = torch.inf
    for out, model, words in (
        ("tuned", net, r"recipe\.json exists and is not what netsmith exported"),
        (result.folder, net, "folder of a run"),
        ("other", other, r"for 'first\.weight' it has the shape \(16,.*and the product the shape"),
        ("other", 3, "model is int, no torch.nn.Module"), ("other", infinite, "head.bias has 1 of 10 values"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=words):
            result.export(tmp_path / out, model)  # type: ignore[arg-type]
    for images, words in (
        (torch.zeros(4, 3, 8, 8), "the network reads N of 1x8x8"), ({}, "images must be a tensor or an array"),
        (torch.zeros(4, 1, 8, 8).long(), "images are torch.int64; give uint8 pixels, or floats"),
        (torch.full((4, 1, 8, 8), torch.nan), "not finite"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=words):
            result.export(tmp_path / "other", net, images)  # type: ignore[arg-type]


def test_a_result_stays_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, result: Result) -> None:
    monkeypatch.chdir(result.folder.parent)
    found = netsmith.load("net", partial(Net, 16))
    monkeypatch.chdir(tmp_path)
    assert found.model(torch.ones(1, 1, 8, 8)).shape == (1, 10) and type(found.float_model) is Net
    with pytest.raises(InputError, match=r"model\.pt2 is missing; repeat"):
        Result.of_run(tmp_path, result.summary).model  # noqa: B018


def test_jobs_of_several_threads_run_one_after_another(monkeypatch: pytest.MonkeyPatch) -> None:
    from netsmith.jobs import profile as job

    inside: list[int] = []

    def busy(*_: Any, **__: Any) -> None:
        inside.append(1)
        assert len(inside) == 1
        time.sleep(0.02)
        inside.pop()
        raise InputError("seen")

    monkeypatch.setattr(job, "load_model", busy)
    with ThreadPoolExecutor(4) as pool:
        ends = [pool.submit(netsmith.profile, Net, target="bitfusion").exception() for _ in range(4)]
    assert [str(end) for end in ends] == ["seen"] * 4


def test_a_result_can_be_pickled_and_copied(result: Result) -> None:
    again = pickle.loads(pickle.dumps(result))
    assert again.summary == result.summary and again.product == result.product
    assert torch.equal(again.model(torch.ones(2, 1, 8, 8)), result.model(torch.ones(2, 1, 8, 8)))
    with pytest.raises(InputError, match=r"not kept in a pickle; give it again: netsmith\.load\('.*net', factory="):
        again.float_model  # noqa: B018
    assert type(copy.deepcopy(result).float_model) is type(copy.copy(result).float_model) is Net


def test_what_does_not_fit_is_one_sentence(result: Result, tmp_path: Path) -> None:
    for factory, words in (
        (lambda: Net(4), "use the same MODEL"), (lambda: nn.Flatten(), "does not have; use the same MODEL"),
        (lambda: 3, "not a torch.nn.Module"), (int, "int returned int"), ("zoo:nothing", "nothing"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=words):
            netsmith.load(result.folder, factory).float_model  # noqa: B018
    with pytest.raises(InputError, match=r"factory is int, which builds no network; give"):
        netsmith.load(result.folder, 3)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"is no run folder"):
        netsmith.load(tmp_path)
    Run.create(tmp_path / "begun", {"job": "compress"}).close()
    with pytest.raises(InputError, match=r"is not finished"):
        netsmith.load(tmp_path / "begun")
    copy = tmp_path / "copy"
    shutil.copytree(result.folder, copy)
    (copy / "model.pt2").unlink()
    with pytest.raises(InputError, match=r"model\.pt2 is missing; repeat"):
        netsmith.load(copy)


def test_code_that_changed_since_is_not_taken_for_what_was_compressed(result: Result, tmp_path: Path) -> None:
    from netsmith.jobs.contents import code_digest
    from netsmith.jobs.load import builder_of

    file = tmp_path / "net.py"
    file.write_text("from torch import nn\ndef net(): return nn.Linear(2, 3)\n")
    summary = {"model": f"{file}:net", "built_with": {"code": code_digest(f"{file}:net")}}
    assert isinstance(builder_of(tmp_path, summary, None)(), nn.Linear)
    file.write_text("from torch import nn\ndef net(): return nn.Linear(2, 3).float()\n")
    with pytest.raises(InputError, match=r"the code of .*net\.py:net changed since"):
        builder_of(tmp_path, summary, None)()
    file.unlink()
    with pytest.raises(InputError, match=r"net\.py.*; put back what .* was made from, or give the class"):
        builder_of(tmp_path, summary, None)()
