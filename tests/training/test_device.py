"""Devices: which one is chosen, what follows it, and that a caller's generators are left alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from labelled import evaluate, fit, pictures, reestimate_batch_norm
from netsmith.data import Data, load_data
from netsmith.errors import InputError
from netsmith.training import Checkpoints, Training
from netsmith.training import device as devices
from netsmith.training.modes import choose_bf16

META, CUDA = torch.device("meta"), torch.device("cuda")


@pytest.fixture(scope="module")
def data() -> Data:
    return load_data("digits")


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, torch.Tensor]]:
    """What torch says where there are two GPUs; holds the state of the generator of one."""
    state = {"cuda": torch.arange(4, dtype=torch.uint8)}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device: state["cuda"].clone())
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda new, device: state.update(cuda=new))
    yield state


def test_auto_is_a_gpu_where_there_is_one(gpu: object) -> None:
    assert devices.choose_device() == CUDA and devices.choose_device("cpu") == torch.device("cpu")
    assert devices.choose_device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(InputError, match=r"'cuda:2' does not exist; GPUs here are cuda:0 to cuda:1"):
        devices.choose_device("cuda:2")


def test_absent_or_unknown_device_is_an_input_error(data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert devices.choose_device("auto") == torch.device("cpu")
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    with pytest.raises(InputError, match="finds no GPU here; use device cpu"):
        fit(model, data, Training(epochs=1), device="cuda")
    for name in ("tpu9", "meta"):
        with pytest.raises(InputError, match=f"device '{name}' is unknown; choose auto, cpu"):
            fit(model, data, Training(epochs=1), device=name)


def test_training_on_a_named_device_is_that_of_auto(data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    found = []
    for name in ("auto", "cpu"):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Dropout(0.2), nn.Linear(64, 10))
        fit(model, data, Training(epochs=1, bf16=False), device=name)
        found.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    assert torch.equal(*found)


class Moves(nn.Linear):
    """Remembers where it was sent, as nothing comes back from the meta device."""

    def __init__(self, device: torch.device) -> None:
        super().__init__(2, 3, device=device)
        self.sent: list[torch.device] = []

    def to(self, device: torch.device | str) -> Moves:  # type: ignore[override]
        self.sent.append(torch.device(device))
        return self


def test_networks_are_moved_and_come_back_even_from_an_error() -> None:
    cpu, teacher = torch.device("cpu"), Moves(META)
    model = Moves(cpu)
    with pytest.raises(RuntimeError, match="stop"), devices.placed(CUDA, model, teacher):
        assert model.sent == teacher.sent == [CUDA]
        raise RuntimeError("stop")
    assert model.sent == [CUDA, cpu] and teacher.sent == [CUDA, META]


def test_device_of_a_network() -> None:
    assert devices.device_of(nn.Linear(2, 3, device=META)) == META
    assert devices.device_of(nn.BatchNorm1d(3, affine=False, device=META)) == META
    assert devices.device_of(nn.Flatten()).type == "cpu"


def test_batches_are_moved(data: Data) -> None:
    first = next(devices.on_device(pictures(data.search, data.normalisation).batches(8), META))
    assert [t.device for t in (*first.args, first.target)] == [META, META] and first.args[0].shape == (8, 1, 8, 8)


class Elsewhere(nn.Module):
    """Its parameters and its inputs are elsewhere; its answers are from here, as only those can be read."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(64, 10, device=META)
        self.norm, self.rows = nn.BatchNorm1d(10), 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert self.first(x.flatten(1)).device == META
        logits = torch.zeros(len(x), 10)
        logits[:, 3] = 1.0
        self.rows += len(x)
        self.norm(logits)
        return logits


def test_evaluation_and_re_estimation_follow_the_network(data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    from contextlib import nullcontext

    monkeypatch.setattr("netsmith.training.score.autocast", lambda device, bf16: nullcontext())  # has none for meta
    model = Elsewhere()
    accuracy, _ = evaluate(model, data.search, normalisation=data.normalisation)
    assert accuracy == pytest.approx(float((data.search.labels == 3).float().mean())) and model.rows == len(data.search)
    assert reestimate_batch_norm(model, data.search, 100, normalisation=data.normalisation) == 1
    assert model.norm.running_mean is not None and model.norm.running_mean.tolist() == [0.0] * 3 + [1.0] + [0.0] * 6


def test_generators_are_seeded_for_a_while_and_put_back(
    gpu: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    from contextlib import nullcontext

    seeds: list[int] = []
    monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext())
    monkeypatch.setattr(torch.cuda, "manual_seed", seeds.append)
    before, cuda = torch.get_rng_state(), gpu["cuda"].clone()
    with devices.seeded(5, CUDA):
        drawn = torch.rand(3)
        gpu["cuda"] = gpu["cuda"] + 1
    assert seeds == [5] and torch.equal(gpu["cuda"], cuda) and torch.equal(torch.get_rng_state(), before)
    with devices.seeded(5, torch.device("cpu")):
        assert torch.equal(torch.rand(3), drawn) and seeds == [5]


def test_generator_of_a_gpu_is_kept_and_may_be_missing(gpu: dict[str, torch.Tensor]) -> None:
    state, kept = devices.random_state(CUDA), gpu["cuda"].clone()
    assert set(state) == {"torch", "cuda"} and set(devices.random_state(torch.device("cpu"))) == {"torch"}
    gpu["cuda"] = gpu["cuda"] + 1
    moved = gpu["cuda"].clone()
    before = torch.get_rng_state()
    torch.rand(3)
    devices.set_random_state({"torch": before}, CUDA)  # a checkpoint of a CPU
    assert torch.equal(torch.get_rng_state(), before) and torch.equal(gpu["cuda"], moved)
    devices.set_random_state(state, torch.device("cpu"))  # one of a GPU, that goes on on a CPU
    assert torch.equal(gpu["cuda"], moved)
    devices.set_random_state(state, CUDA)
    assert torch.equal(gpu["cuda"], kept)


def test_checkpoint_of_a_gpu_goes_on_on_a_cpu(data: Data, tmp_path: Path) -> None:
    """It differs from a CPU's by the state of one more generator."""
    from netsmith.training import checkpoint as files

    def network() -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Dropout(0.2), nn.Linear(64, 10))

    class Killed(BaseException):
        pass

    def kill(step: int, total: int) -> None:
        if step == 30:
            raise Killed

    def count(step: int, total: int) -> None:
        steps.append(step)

    steps: list[int] = []
    training = Training(epochs=4, bf16=False, batch_size=64)
    whole, rest, file = network(), network(), tmp_path / "c.safetensors"
    fit(whole, data, training, after_step=lambda step, total: None)
    with pytest.raises(Killed):
        fit(network(), data, training, after_step=kill, checkpoints=Checkpoints(file, steps=4))
    stored = files.load(file)
    stored.tensors["rng.cuda"] = torch.arange(16, dtype=torch.uint8)
    files.save(file, stored)
    fit(rest, data, training, after_step=count, device="cpu", checkpoints=Checkpoints(file, steps=4))
    assert steps[0] > 20
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), rest.parameters(), strict=True))


@pytest.mark.parametrize("native", [False, True])
def test_automatic_bf16_asks_the_device(native: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: native)
    monkeypatch.setattr(devices, "cpu_has_bf16", lambda: not native)
    tried: list[bool] = []

    def step(on: bool) -> float:
        tried.append(on)
        return 1.0

    assert choose_bf16(step, "auto", CUDA) is native and tried == [True] * native
    assert choose_bf16(step, "auto", torch.device("cpu")) is not native
    assert not choose_bf16(lambda on: float("nan"), "auto", CUDA)  # kernels of some processors give no numbers
