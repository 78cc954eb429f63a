"""A resumed job finds out that its network, weights or data are not those that it was started with."""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from netsmith.data import Data, load_data
from netsmith.jobs.contents import contents_of, target_contents, task_contents
from netsmith.network.graph import trace
from netsmith.network.load import load_model
from netsmith.network.sourcefiles import source_files
from netsmith.network.weights import save_weights
from netsmith.tasks.classification import Classification

MAIN = """
# a network
from layers.parts import act
from torch import nn
import torch

class Net(nn.Module):
    def __init__(self, num_classes=10):
        super().__init__()
        self.linear = nn.Linear(64, num_classes)
        self.scale = torch.tensor(2.0)
        self.register_buffer("shift", torch.zeros(1), persistent=False)

    def forward(self, x):
        return self.linear(act(x.flatten(1), self.training)) * self.scale + self.shift
"""
PARTS = """
from .deep import slope
def act(x, training):
    return (x * 2 if training else x) * slope
"""


@pytest.fixture
def spec(tmp_path: Path) -> str:
    (tmp_path / "net.py").write_text(MAIN)
    (tmp_path / "layers").mkdir()
    (tmp_path / "layers" / "__init__.py").write_text("")
    (tmp_path / "layers" / "parts.py").write_text(PARTS)
    (tmp_path / "layers" / "deep.py").write_text("slope = 0.5\n")
    (tmp_path / "unrelated.py").write_text("x = 1\n")
    return f"{tmp_path / 'net.py'}:Net"


def digests(spec: Any, weights: Path | None = None) -> dict[str, str]:
    import sys

    for name in [n for n in sys.modules if n == "layers" or n.startswith("layers.")]:
        del sys.modules[name]  # as in another process
    loaded = load_model(spec, weights=weights, input_shape=(1, 8, 8))
    return contents_of(loaded, spec, weights, trace(loaded.model, (1, 8, 8)).module.graph)


def test_the_code_of_a_network_is_what_it_imports_from_its_folder(spec: str, tmp_path: Path) -> None:
    found = [p.relative_to(tmp_path.resolve()).as_posix() for p in source_files(spec)]
    assert found == ["layers/__init__.py", "layers/deep.py", "layers/parts.py", "net.py"]
    assert source_files("zoo:digits") == source_files("torchvision:resnet18") == source_files("torch.nn:ReLU") == []


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("layers/deep.py", "0.5", "0.25"),  # what its forward computes
        ("layers/parts.py", "x * 2 if", "x * 3 if"),  # in training alone
        ("net.py", "torch.tensor(2.0)", "torch.tensor(3.0)"),  # a tensor that no file of weights has
        ("net.py", "torch.zeros(1)", "torch.ones(1)"),
    ],
)
def test_a_change_of_the_code_is_found(spec: str, tmp_path: Path, file: str, old: str, new: str) -> None:
    weights = tmp_path / "w.safetensors"
    save_weights(weights, load_model(spec).model.state_dict())
    before = digests(spec, weights)
    assert before == digests(spec, weights)
    text = (tmp_path / file).read_text()
    (tmp_path / file).write_text(f"# a remark\n\n{text}")
    (tmp_path / "unrelated.py").write_text("x = 2\n")
    assert before == digests(spec, weights)
    (tmp_path / file).write_text(text.replace(old, new))
    after = digests(spec, weights)
    assert [k for k in before if before[k] != after[k]] == [f"the network {spec}"]


def test_a_change_of_the_weights_is_found(spec: str, tmp_path: Path) -> None:
    weights = tmp_path / "w.safetensors"
    state = load_model(spec).model.state_dict()
    save_weights(weights, state)
    before = digests(spec, weights)
    state["linear.bias"][3] += 1e-6
    save_weights(weights, state)
    after = digests(spec, weights)
    assert [k for k in before if before[k] != after[k]] == [f"the weights in {weights}"]


def test_a_network_from_python_is_its_weights_and_structure() -> None:
    class Net(nn.Sequential):
        pass

    torch.manual_seed(0)
    net = Net(nn.Flatten(), nn.Linear(64, 10), nn.Dropout(0.1))
    other, calmer = copy.deepcopy(net), copy.deepcopy(net)
    with torch.no_grad():
        other[1].weight[2, 2] += 1
    calmer[2] = nn.Dropout(0.2)
    assert digests(net) == digests(copy.deepcopy(net))
    assert len({str(digests(n)) for n in (net, other, calmer)}) == 3


def test_a_change_of_the_data_is_found() -> None:
    data = load_data("digits")
    again = load_data("digits")
    assert contents_of_data(data) == contents_of_data(again)
    again.search.labels[5] = (again.search.labels[5] + 1) % 10
    assert contents_of_data(data) != contents_of_data(again)


def test_a_target_from_a_file_is_its_content(tmp_path: Path) -> None:
    table = tmp_path / "device.json"
    table.write_text("{}")
    spec = f"table:{table}"
    before = target_contents(spec)
    table.write_text("[]")
    assert list(before) == [f"the target {spec}"] and target_contents(spec) != before
    assert target_contents("bitfusion") == target_contents(f"cpu:table={table}") == {}


def test_an_image_of_the_same_size_and_time_is_other_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import numpy as np
    from PIL import Image

    from netsmith.data import load

    monkeypatch.setattr(load, "_WORTH_CACHING_S", -1.0)  # keep what was decoded, however fast it was
    folder, rng = tmp_path / "images", np.random.default_rng(0)
    for i in range(40):
        (folder / str(i % 2)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (4, 4), dtype=np.uint8)).save(folder / str(i % 2) / f"{i}.bmp")
    before = contents_of_data(load_data(str(folder), cache_dir=tmp_path / "cache"))
    assert contents_of_data(load_data(str(folder), cache_dir=tmp_path / "cache")) == before
    image = folder / "0" / "0.bmp"
    stat, content = image.stat(), image.read_bytes()
    image.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(image, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert contents_of_data(load_data(str(folder), cache_dir=tmp_path / "cache")) != before


def contents_of_data(data: Data) -> dict[str, str]:
    return task_contents(Classification(data))


class Killed(BaseException):
    """As a job that is killed after its first stage."""


def test_a_resumed_compression_has_the_contents_that_it_began_with(
    spec: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from netsmith.errors import InputError
    from netsmith.jobs import compress as job

    def kill(stages: Any, budgets: Any) -> Any:
        stages.run.stage("first", lambda: 1)
        raise Killed

    monkeypatch.setattr(job, "_stages", kill)
    weights, out = tmp_path / "w.safetensors", tmp_path / "run"
    state = load_model(spec).model.state_dict()
    options: dict[str, Any] = {"weights": str(weights), "out": out, "target": "bitfusion", "latency": "0.5x"}

    def begin(resume: bool = True) -> None:
        with pytest.raises(Killed):
            job.compress(spec, "digits", **options, resume=resume)

    save_weights(weights, state)
    begin(resume=False)
    begin()
    changed = {k: v + 1 for k, v in state.items()}
    save_weights(weights, changed)
    with pytest.raises(InputError, match=r"^the weights in .*w\.safetensors changed since .*run was started; put back"):
        job.compress(spec, "digits", **options, resume=True)
    save_weights(weights, state)
    begin()
    (tmp_path / "layers" / "parts.py").write_text(PARTS.replace("x * 2", "x * 3"))
    with pytest.raises(InputError, match=r"^the network .*net\.py:Net changed since"):
        job.compress(spec, "digits", **options, resume=True)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    options = options | {"weights": None, "out": tmp_path / "own"}
    for n, words in ((net, ""), (nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), "the network Sequential changed")):
        with pytest.raises(InputError if words else Killed, match=words):
            job.compress(n, "digits", **options, resume=True)
