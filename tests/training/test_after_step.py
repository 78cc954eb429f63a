"""What a hook does to the network after every step is part of the training: resumed, undone on divergence; keep."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from labelled import evaluate, fit
from netsmith.data import Data, load_data
from netsmith.errors import InputError
from netsmith.training import Checkpoints, Training
from netsmith.training import checkpoint as files

SETTINGS: dict[str, Any] = {"epochs": 2, "lr": 0.1, "batch_size": 64, "bf16": False}
STEPS = 19


@pytest.fixture(scope="module")
def data() -> Data:
    torch.set_num_threads(1)
    return load_data("digits")


class Paths(nn.Module):
    """Two branches, of which a buffer says the one that runs; another buffer follows the gradients."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.paths = nn.ModuleList([nn.Linear(64, 32), nn.Linear(64, 32)])
        self.head = nn.Linear(32, 10)
        self.register_buffer("active", torch.tensor(0))
        self.register_buffer("logits", torch.zeros(2))
        self.explode_at = -1
        self.calls: list[tuple[int, int]] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.head(F.relu(self.paths[int(self.active)](x.flatten(1))))
        if self.training and len(self.calls) == self.explode_at:
            self.explode_at = -1
            y = y * float("nan")
        return y

    def after_step(self, step: int, total: int) -> None:
        """Moves the logit of the active path by its gradient and draws the next path."""
        self.calls.append((step, total))
        gradient = self.paths[int(self.active)].weight.grad
        assert isinstance(gradient, torch.Tensor)
        self.logits[int(self.active)] += gradient.abs().mean()  # type: ignore[operator,index]
        self.active.copy_(torch.randint(2, ()))  # type: ignore[operator]


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_hook_sees_every_step_once(data: Data) -> None:
    model = Paths()
    fit(model, data, Training(**SETTINGS), after_step=model.after_step)
    assert model.calls == [(step, 2 * STEPS) for step in range(2 * STEPS)]


class Killed(BaseException):
    pass


@pytest.mark.parametrize("stops", [(2,), (6, 9), (STEPS - 1, STEPS, STEPS + 5)])
def test_killed_and_resumed_with_a_hook_ends_with_the_same_bits(
    data: Data, tmp_path: Path, stops: tuple[int, ...]
) -> None:
    whole, due = Paths(), list(stops)
    fit(whole, data, Training(**SETTINGS, keep="last"), after_step=whole.after_step)
    assert {float(v) > 0 for v in whole.logits} == {True}  # type: ignore[union-attr]
    for _ in range(len(stops) + 1):
        parts = Paths()  # nothing may survive but the file

        def hook(step: int, total: int, parts: Paths = parts) -> None:
            parts.after_step(step, total)
            if due and step == due[0]:
                due.pop(0)
                raise Killed

        try:
            fit(
                parts,
                data,
                Training(**SETTINGS, keep="last"),
                after_step=hook,
                checkpoints=Checkpoints(tmp_path / "c.safetensors", steps=4),
            )
        except Killed:
            continue
        break
    assert not due and same(whole, parts)


def test_retry_undoes_what_the_hook_changed(data: Data) -> None:
    """After a divergence the training goes on from the last good state, as if the steps since had not been."""
    model, states = Paths(), {}
    model.explode_at = 10  # the last good state is that after 8 steps

    def hook(step: int, total: int) -> None:
        again = step in states
        if again:
            assert torch.equal(states[step][0], model.logits) and torch.equal(states[step][1], model.active)  # type: ignore[arg-type]
        states[step] = (model.logits.clone(), model.active.clone())  # type: ignore[operator]
        model.after_step(step, total)

    result = fit(model, data, Training(**SETTINGS), after_step=hook, checkpoints=Checkpoints(steps=4))
    assert len(result.messages) == 1 and "back to epoch 1, step 9" in result.messages[0]
    steps = [step for step, _ in model.calls]
    assert steps[8:12] == [8, 9, 8, 9]


def test_infinite_buffer_of_a_hook_is_a_divergence(data: Data) -> None:
    model = Paths()

    def hook(step: int, total: int) -> None:
        model.logits[0] = float("inf")  # type: ignore[operator,index]

    with pytest.raises(InputError, match="not finite"):
        fit(model, data, Training(**SETTINGS), after_step=hook)


def test_paths_that_did_not_run_are_left_alone(data: Data) -> None:
    """Neither momentum nor weight decay moves weights without a gradient, although both are set and were used."""
    model = Paths()
    before = [p.detach().clone() for p in model.paths.parameters()]
    kept: list[torch.Tensor] = []

    def hook(step: int, total: int) -> None:
        now = [p.detach().clone() for p in model.paths.parameters()]
        if step == 5:  # path 0 has momentum by now
            kept[:] = now[:2]
            model.active.fill_(1)  # type: ignore[operator]
        if step <= 5:
            assert not torch.equal(now[0], before[0]) and all(map(torch.equal, now[2:], before[2:]))
        else:
            assert all(map(torch.equal, now[:2], kept)) and not torch.equal(now[2], before[2])

    fit(model, data, Training(**SETTINGS, weight_decay=0.1, momentum=0.9, grad_clip=1.0, keep="last"), after_step=hook)
    assert kept


def test_keep_last_ends_with_the_weights_of_the_last_epoch(data: Data, tmp_path: Path) -> None:
    """The hook spoils the second epoch, so the first is the best."""
    results, models = {}, {}
    for keep in ("best", "last"):
        model = models[keep] = Paths()

        def hook(step: int, total: int, model: Paths = model) -> None:
            if step >= STEPS:
                with torch.no_grad():
                    model.head.weight.mul_(-1)

        file = tmp_path / f"{keep}.safetensors"
        results[keep] = fit(
            model, data, Training(**SETTINGS, keep=keep), after_step=hook, checkpoints=Checkpoints(file, steps=4)
        )
        names = files.load(file).tensors
        assert any(name.startswith("best.") for name in names) == (keep == "best")
        scored = evaluate(model, data.search, normalisation=data.normalisation)[0]
        assert scored == results[keep].history[0 if keep == "best" else 1]["search_accuracy"]
    assert not same(models["best"], models["last"]) and results["last"].best_epoch == 1
    with pytest.raises(InputError, match="made with keep last, not best"):
        fit(
            Paths(),
            data,
            Training(**SETTINGS),
            after_step=print,
            checkpoints=Checkpoints(tmp_path / "last.safetensors", steps=4),
        )
    with pytest.raises(InputError, match="keep 'first' is unknown"):
        fit(Paths(), data, Training(**SETTINGS, keep="first"))  # type: ignore[arg-type]


def test_checkpoints_of_older_versions_are_resumed(data: Data, tmp_path: Path) -> None:
    file = tmp_path / "c.safetensors"
    fit(Paths(), data, Training(**SETTINGS), checkpoints=Checkpoints(file, steps=4))
    stored = files.load(file)
    for name in ("keep", "after_step"):
        del stored.meta["settings"][name]
    files.save(file, stored)
    assert fit(Paths(), data, Training(**SETTINGS), checkpoints=Checkpoints(file, steps=4)).epochs_run == 2
    with pytest.raises(InputError, match="made with after_step False, not True"):
        fit(Paths(), data, Training(**SETTINGS), after_step=print, checkpoints=Checkpoints(file, steps=4))
