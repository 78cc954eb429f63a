"""Classification: what is lowered, what is noted of each image, and what of the outputs it reads."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from netsmith.data import load_data
from netsmith.data.batch import Batch
from netsmith.errors import InputError
from netsmith.metrics import ACCURACY
from netsmith.tasks.classification import Classification
from netsmith.tasks.logits import TOP5
from netsmith.tasks.task import Objective

X = torch.zeros(5, 1, 8, 8)
LABELS = torch.tensor([0, 1, 2, 3, 0])


@pytest.fixture(scope="module")
def task() -> Classification:
    return Classification(load_data("digits"))


def batch(labels: torch.Tensor = LABELS) -> Batch:
    return Batch((X[: len(labels)],), target=labels)


def test_distillation_is_the_formula(task: Classification) -> None:
    torch.manual_seed(0)
    student, teacher = torch.randn(5, 4), torch.randn(5, 4)
    p, q = F.softmax(teacher / 3, 1), F.softmax(student / 3, 1)
    expected = 0.3 * F.cross_entropy(student, LABELS) + 0.7 * 9 * (p * (p / q).log()).sum(1).mean()
    got = task.training_loss(student, teacher, batch(), Objective(alpha=0.7, temperature=3.0))
    assert torch.allclose(got, expected, atol=1e-6)
    same = task.training_loss(student, student, batch(), Objective(alpha=1.0, temperature=3.0))
    assert float(same) == pytest.approx(0, abs=1e-6)


def test_losses_and_divergences_add_up_to_those_of_torch(task: Classification) -> None:
    torch.manual_seed(0)
    outputs, given = torch.randn(5, 10), torch.randn(5, 10)
    values, weights = task.loss(outputs, batch())
    assert task.total(outputs, batch()) == (float(F.cross_entropy(outputs, LABELS, reduction="sum")), 5.0)
    assert float((values * weights).sum() / weights.sum()) == pytest.approx(float(F.cross_entropy(outputs, LABELS)))
    far, counts = task.divergence(outputs, given, batch())
    kl = F.kl_div(outputs.log_softmax(1), given.log_softmax(1), reduction="batchmean", log_target=True)
    assert float((far * counts).sum() / counts.sum()) == pytest.approx(float(kl), rel=1e-5)
    assert float(task.divergence(given, given, batch())[0].abs().max()) == 0.0


def test_scores_are_of_rows_of_all_images_together(task: Classification) -> None:
    logits = torch.arange(10.0).flip(0).repeat(5, 1)  # class 0 first, then 1, 2, ...
    rows = task.partial(logits, batch(torch.tensor([0, 1, 4, 5, 0])))
    assert rows[:, 0].tolist() == [1, 0, 0, 0, 1] and rows[:, 1].tolist() == [1, 1, 1, 0, 1]
    assert ACCURACY.of(rows) == pytest.approx(0.4) and TOP5.of(rows) == pytest.approx(0.8)
    parts = [task.partial(logits[i : i + 1], batch(torch.tensor([0, 1, 4, 5, 0])).take([i])) for i in range(5)]
    assert np.array_equal(np.concatenate(parts), rows)
    assert [m.key for m in task.metrics] == ["accuracy", "top5"]


def test_logits_are_read_by_their_place_and_others_refused(task: Classification) -> None:
    logits = torch.zeros(5, 10)
    assert task.read(logits, batch()) is logits
    assert task.read((logits, torch.ones(5)), batch()) is logits
    assert task.read({"aux": torch.ones(5, 3), "logits": logits}, batch()) is logits
    with pytest.raises(InputError, match=r"one tensor of logits \(5, classes\) is needed"):
        task.read(torch.zeros(5, 10, 2), batch())
    with pytest.raises(InputError, match="3 outputs but the data has a label 3"):
        task.total(torch.zeros(5, 3), batch())
