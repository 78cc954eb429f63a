"""Evaluation, batch-norm re-estimation, loss, schedule."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from labelled import centre_batch_norm, evaluate, fit, reestimate_batch_norm, settle_batch_norm
from netsmith.data import Data, load_data
from netsmith.data.types import Split
from netsmith.errors import InputError
from netsmith.training import Training, learning_rate
from netsmith.training.checkpoint import Checkpoint
from netsmith.training.state import check_settings


@pytest.fixture(scope="module")
def data() -> Data:
    return load_data("digits")


def test_evaluate_equals_the_whole_split_at_once(data: Data) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.Dropout(0.5)).train()
    accuracy, loss = evaluate(model, data.test, batch_size=100, normalisation=data.normalisation)
    assert model.training
    with torch.no_grad():
        logits = model.eval()(data.normalisation(data.test.images))
    assert accuracy == pytest.approx(float((logits.argmax(1) == data.test.labels).float().mean()), abs=1e-6)
    assert loss == pytest.approx(float(F.cross_entropy(logits, data.test.labels)), rel=1e-5)


def test_evaluate_refuses_an_empty_split(data: Data) -> None:
    empty = data.test.take(slice(0, 0))
    with pytest.raises(InputError, match="no images"):
        evaluate(nn.Flatten(), empty, normalisation=data.normalisation)


def test_reestimated_statistics_are_those_of_the_data(data: Data) -> None:
    norm, train = data.normalisation, data.need_train()
    model = nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(64, 10))
    weights = [p.clone() for p in model.parameters()]
    assert reestimate_batch_norm(model, train, 400, batch_size=100, normalisation=norm) == 1
    x = norm(train.images[:400]).view(4, -1)
    layer = model[0]
    assert isinstance(layer, nn.BatchNorm2d) and layer.momentum == 0.1 and model.training
    assert layer.running_mean is not None and layer.running_var is not None
    assert torch.allclose(layer.running_mean, x.mean(), atol=1e-5)
    assert torch.allclose(layer.running_var, x.var(1).mean(), rtol=1e-4)
    assert all(torch.equal(a, b) for a, b in zip(weights, model.parameters(), strict=True))
    assert reestimate_batch_norm(nn.Flatten(), train, 100, normalisation=norm) == 0


def test_reestimation_repairs_spoilt_statistics(data: Data) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(288, 10))
    good = fit(model, data, Training(epochs=2, lr=0.1, bf16=False)).best_score
    layer = model[1]
    assert isinstance(layer, nn.BatchNorm2d) and layer.running_mean is not None and layer.running_var is not None
    layer.running_mean += 5
    layer.running_var *= 30
    spoilt = evaluate(model, data.search, normalisation=data.normalisation)[0]
    rng = np.random.default_rng(0)
    reestimate_batch_norm(model, data.need_train(), 500, normalisation=data.normalisation, rng=rng)
    repaired = evaluate(model, data.search, normalisation=data.normalisation)[0]
    assert good is not None and spoilt < good - 0.2 and repaired > good - 0.05


def test_of_two_statistics_those_that_lose_less_stay(data: Data) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(288, 10))
    fit(model, data, Training(epochs=2, lr=0.1, bf16=False))
    layer, settle = model[1], lambda: settle_batch_norm(model, data.search, normalisation=data.normalisation)
    assert isinstance(layer, nn.BatchNorm2d) and layer.running_mean is not None

    def loss() -> float:
        return evaluate(model, data.search, normalisation=data.normalisation)[1]

    layer.running_mean += 5
    assert (spoilt := loss()) and settle() and loss() < spoilt
    for _ in range(60):  # statistics that suit these weights better than those of the data
        before = layer.running_mean.clone()
        best = loss()
        layer.running_mean += 0.3 * torch.randn(8, generator=torch.Generator().manual_seed(_))
        if loss() > best:
            layer.running_mean.copy_(before)
    own, best = layer.running_mean.clone(), loss()
    assert not settle() and torch.equal(layer.running_mean, own) and loss() == best
    assert not settle_batch_norm(nn.Flatten(), data.search, normalisation=data.normalisation)


def test_centred_norms_keep_the_function_and_estimating_them_again_keeps_it_too(data: Data) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8), nn.ReLU(),
        nn.BatchNorm2d(8, affine=False), nn.Flatten(), nn.Linear(128, 10),
    )  # fmt: skip
    fit(model, data, Training(epochs=2, lr=0.1, bf16=False))
    with torch.no_grad():
        for layer in (model[1], model[4]):
            layer.running_mean += 0.3
            layer.running_var *= 2
            layer.weight[::2] *= -1
    images = data.normalisation(data.search.images)
    n = len(images)

    def outputs() -> torch.Tensor:
        with torch.no_grad():
            return model.eval()(images)

    def estimate() -> None:
        reestimate_batch_norm(model[:6], data.search, n, batch_size=n, normalisation=data.normalisation)

    given, state = outputs(), copy.deepcopy(model.state_dict())
    estimate()
    moved = float((outputs() - given).abs().max())
    model.load_state_dict(state)
    assert centre_batch_norm(model, data.search, n, batch_size=n, normalisation=data.normalisation) == 2
    assert torch.allclose(outputs(), given, atol=1e-4)
    with torch.no_grad():
        assert torch.allclose(model[1].running_mean, model[0](images).mean(dim=(0, 2, 3)), atol=1e-4)
    estimate()
    assert float((outputs() - given).abs().max()) < 0.02 * moved
    assert centre_batch_norm(nn.Flatten(), data.search, normalisation=data.normalisation) == 0


def test_student_learns_from_a_teacher_alone(data: Data) -> None:
    """With alpha 1 and useless labels everything that is learned comes from the teacher."""
    import dataclasses

    torch.manual_seed(0)
    teacher = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    fit(teacher, data, Training(epochs=6, lr=0.1, batch_size=64, bf16=False, augment=None))
    kept = [p.clone() for p in teacher.parameters()]
    train = data.need_train()
    blind = dataclasses.replace(data, train=Split(train.images, torch.zeros_like(train.labels)))
    student = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    options = {"epochs": 4, "lr": 0.05, "batch_size": 64, "bf16": False, "augment": None}
    without = fit(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), blind, Training(**options))  # type: ignore[arg-type]
    result = fit(student, blind, Training(alpha=1.0, **options), teacher=teacher)  # type: ignore[arg-type]
    assert result.best_score is not None and result.best_score > 0.7
    assert without.history[-1]["search_accuracy"] < 0.2
    assert all(torch.equal(a, b) for a, b in zip(kept, teacher.parameters(), strict=True))


@pytest.mark.parametrize("schedule", ["one-cycle", "cosine", "constant"])
def test_schedule_warms_up_peaks_and_ends(schedule: str) -> None:
    rates = [learning_rate(s, 200, 0.4, schedule) for s in range(200)]
    peak = rates.index(max(rates))
    assert max(rates) == pytest.approx(0.4) and min(rates) > 0
    assert rates[: peak + 1] == sorted(rates[: peak + 1]) and rates[peak:] == sorted(rates[peak:], reverse=True)
    assert (rates[-1] == 0.4) if schedule == "constant" else (rates[-1] < 0.001)


def test_a_checkpoint_of_other_contents_is_named() -> None:
    now = {"contents": {"the network n": "1", "the data set d": "2"}}
    for stored, words in (
        (
            {"contents": {"the network n": "1", "the data set d": "3"}},
            r"^the data set d changed since the checkpoint c",
        ),
        ({}, "does not say what network and data"),
    ):
        with pytest.raises(InputError, match=words):
            check_settings(Checkpoint({}, {"settings": stored}), now, "c")
    check_settings(Checkpoint({}, {"settings": now}), now, "c")
    check_settings(Checkpoint({}, {"settings": {}}), {"contents": None}, "c")


@pytest.mark.parametrize(
    ("options", "words"),
    [({"alpha": 3.0}, "at most 1"), ({"label_smoothing": 2.0}, "at most 1"), ({"temperature": 0.0}, "above 0")],
)
def test_shares_and_temperatures_are_checked_before_training(data: Data, options: dict[str, float], words: str) -> None:
    with pytest.raises(InputError, match=words):
        fit(nn.Flatten(), data, Training(epochs=1, lr=0.1, **options))  # type: ignore[arg-type]
