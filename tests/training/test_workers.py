"""Several processes train as one: the same weights in all, those of one process, resumed and retried together."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from labelled import fit
from netsmith.data import Data, Normalisation, Split
from netsmith.errors import InputError
from netsmith.training import Checkpoints, Event, FitResult, Training, Workers
from netsmith.training import checkpoint as files

PLAIN: dict[str, Any] = {"epochs": 2, "lr": 0.1, "batch_size": 64, "bf16": False}
# 65 rows are 33 and 32, so that means over processes must be weighted
UNEVEN = PLAIN | {"batch_size": 65, "grad_clip": 0.5, "label_smoothing": 0.1}
RANDOM = UNEVEN | {"keep": "last"}


def small_data() -> Data:
    """Images of noise whose label is their brightest quarter; made here, as that is sooner done than loading any."""
    numbers = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (900, 1, 8, 8), dtype=torch.uint8, generator=numbers)
    labels = images.float().view(-1, 2, 4, 2, 4).mean((2, 4)).flatten(1).argmax(1)
    parts = [Split(images[rows], labels[rows]) for rows in (slice(0, 700), slice(700, 801), slice(801, 900))]
    return Data("quarters", *parts, tuple("abcd"), (1, 8, 8), Normalisation((0.5,), (0.3,)), "made for a test")


class Killed(BaseException):
    pass


class Network(nn.Module):
    """Has, where asked, batch norm and dropout, and gives NaN at one call in training."""

    def __init__(self, seed: int = 0, random: bool = False, explode_at: int = -1) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.first = nn.Conv2d(1, 8, 3, 2, 1)
        self.random = nn.Sequential(nn.BatchNorm2d(8), nn.Dropout(0.2)) if random else nn.Identity()
        self.last = nn.Linear(128, 10)
        self.register_buffer("drawn", torch.zeros(()))
        self.calls, self.explode_at = 0, explode_at

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.last(torch.relu(self.random(self.first(x))).flatten(1))
        self.calls += self.training
        return y * float("nan") if self.training and self.calls == self.explode_at else y

    def after_step(self, step: int, total: int) -> None:
        self.drawn += torch.rand(())  # type: ignore[operator]


def work(out: Path) -> None:
    """What each of the two processes does."""
    workers, data = Workers.from_environment(), small_data()
    assert workers == Workers(int(os.environ["RANK"]), 2) == Workers.from_environment()
    tensors: dict[str, torch.Tensor] = {}
    said: dict[str, Any] = {"broadcast": workers.broadcast({"rank": workers.rank})}
    values = [torch.full((2, 2), float(workers.rank)), torch.tensor(1.0 + workers.rank)]
    workers.average(values, weight=0.5 + workers.rank)
    tensors |= {"average.0": values[0], "average.1": values[1]}

    def keep(name: str, model: Network, result: FitResult) -> None:
        tensors.update({f"{name}/{k}": v for k, v in model.state_dict().items()})
        said[name] = {"history": [{**e, "seconds": 0} for e in result.history], "messages": result.messages}

    events: list[Event] = []
    model = Network(workers.rank)  # another seed in each, as the first one's weights go to all
    keep("plain", model, fit(model, data, Training(**PLAIN), device="cpu", workers=workers, progress=events.append))
    said["events"] = len(events)
    model = Network()
    keep("uneven", model, fit(model, data, Training(**UNEVEN), device="cpu", workers=workers))
    model = Network(random=True)
    keep(
        "whole",
        model,
        fit(
            model,
            data,
            Training(**RANDOM),
            device="cpu",
            workers=workers,
            after_step=model.after_step,
            checkpoints=Checkpoints(steps=4),
        ),
    )
    for stop in (6, 13, -1):
        model = Network(random=True)  # nothing may survive but the file

        def hook(step: int, total: int, model: Network = model, stop: int = stop) -> None:
            model.after_step(step, total)
            if step == stop:
                raise Killed

        try:
            file = out / "c.safetensors"
            keep(
                "resumed",
                model,
                fit(
                    model,
                    data,
                    Training(**RANDOM),
                    device="cpu",
                    workers=workers,
                    after_step=hook,
                    checkpoints=Checkpoints(file, steps=4),
                ),
            )
        except Killed:
            workers.barrier()
    model = Network(explode_at=3 if workers.rank == 1 else -1)
    keep("retried", model, fit(model, data, Training(**PLAIN), device="cpu", workers=workers))
    tensors = {k: v.clone() for k, v in tensors.items()}
    files.save(out / f"{workers.rank}.safetensors", files.Checkpoint(tensors, said))


SCRIPT = """
import sys
from pathlib import Path
import torch
sys.path.insert(0, sys.argv[1])
torch.set_num_threads(1)
from test_workers import work
work(Path(sys.argv[2]))
"""


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> list[files.Checkpoint]:
    """What each of two processes under torchrun came to."""
    out = tmp_path_factory.mktemp("workers")
    (out / "script.py").write_text(SCRIPT)
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", str(out / "script.py")]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, *command, str(Path(__file__).parent), str(out)],
        env=environment, capture_output=True, text=True, timeout=1200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return [files.load(out / f"{rank}.safetensors") for rank in range(2)]


def part(found: files.Checkpoint, name: str) -> dict[str, torch.Tensor]:
    return {k.partition("/")[2]: v for k, v in found.tensors.items() if k.startswith(f"{name}/")}


def test_values_are_averaged_and_broadcast(both: list[files.Checkpoint]) -> None:
    for found in both:
        assert found.meta["broadcast"] == {"rank": 0}
        assert torch.equal(found.tensors["average.0"], torch.full((2, 2), 0.75))  # (0.5 * 0 + 1.5 * 1) / 2
        assert float(found.tensors["average.1"]) == 1.75  # (0.5 * 1 + 1.5 * 2) / 2


@pytest.mark.parametrize("name", ["plain", "uneven", "whole", "resumed", "retried"])
def test_both_processes_end_with_the_same_weights_and_log(both: list[files.Checkpoint], name: str) -> None:
    first, second = (part(found, name) for found in both)
    assert len(first) >= 5 and all(torch.equal(v, second[k]) for k, v in first.items())
    assert both[0].meta[name] == both[1].meta[name]


@pytest.mark.parametrize(("name", "options"), [("plain", PLAIN), ("uneven", UNEVEN)])
def test_two_processes_train_as_one(both: list[files.Checkpoint], name: str, options: dict[str, Any]) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    model, initial = Network(), Network().state_dict()
    result = fit(model, small_data(), Training(**options), device="cpu")
    torch.set_num_threads(threads)
    got = part(both[0], name)
    for key, value in model.state_dict().items():
        assert torch.allclose(got[key], value, rtol=1e-3, atol=1e-5), key
        assert key == "drawn" or not torch.allclose(got[key], initial[key], rtol=1e-2, atol=1e-3)
    for entry, expected in zip(both[0].meta[name]["history"], result.history, strict=True):
        assert entry == pytest.approx({**expected, "seconds": 0}, rel=1e-4)


def test_killed_and_resumed_equals_uninterrupted(both: list[files.Checkpoint]) -> None:
    """With dropout, batch norm, rows that differ in number, and a hook that draws."""
    for found in both:
        whole, resumed = part(found, "whole"), part(found, "resumed")
        assert all(torch.equal(v, resumed[k]) for k, v in whole.items()) and float(whole["drawn"]) > 1
        assert json.dumps(found.meta["whole"]) == json.dumps(found.meta["resumed"])


def test_a_loss_that_is_not_finite_in_one_is_a_retry_in_both(both: list[files.Checkpoint]) -> None:
    for found in both:
        assert len(found.meta["retried"]["messages"]) == 1
        assert "back to epoch 1, step 1" in found.meta["retried"]["messages"][0]
        assert found.meta["retried"]["history"][-1]["lr"] == found.meta["plain"]["history"][-1]["lr"] / 2


def test_only_the_first_process_speaks(both: list[files.Checkpoint]) -> None:
    assert both[0].meta["events"] >= 2 and both[1].meta["events"] == 0


def test_one_process_needs_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    workers, value = Workers.from_environment(), torch.ones(3)
    workers.average([value], weight=7.0)
    workers.share([value])
    workers.barrier()
    assert workers == Workers(0, 1) and workers.is_first and workers.broadcast("x") == "x"
    assert torch.equal(value, torch.ones(3)) and workers.rows(5) == 5


def test_rows_are_weighted_so_that_means_are_those_of_the_whole() -> None:
    workers = [Workers(rank, 3) for rank in range(3)]
    assert [w.rows(8) for w in workers] == [3, 3, 2]
    assert sum(w.weight(8) for w in workers) == pytest.approx(3) and workers[2].weight(8) == pytest.approx(0.75)


def test_wrong_use_is_an_input_error(monkeypatch: pytest.MonkeyPatch) -> None:
    data = small_data()
    with pytest.raises(InputError, match="3 processes cannot share a batch of 2"):
        fit(Network(), data, Training(**PLAIN | {"batch_size": 2}), device="cpu", workers=Workers(0, 3))
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(InputError, match="start the processes with torchrun"):
        Workers.from_environment()
    monkeypatch.setenv("WORLD_SIZE", "two")
    with pytest.raises(InputError, match="WORLD_SIZE is 'two'"):
        Workers.from_environment()
