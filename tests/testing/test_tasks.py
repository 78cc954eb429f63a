"""check_task: tasks of the house and the user's own keep the contract, and those that do not are found."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import netsmith
from netsmith.tasks import image_to_image, regression, segmentation
from netsmith.testing import check_task

RNG = torch.Generator().manual_seed(0)
LUCK = np.random.default_rng(0)
X = torch.randn(40, 6, generator=RNG)
Y = (X[:, 0] > 0).long()
IMAGES = torch.randint(0, 256, (40, 3, 8, 8), generator=RNG).to(torch.uint8)
PARTS = {"train": (X, Y), "search": (X, Y), "test": (X, Y)}


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2))


def own(**changes):
    given = {
        "loss": lambda o, b: F.cross_entropy(o, b[1]), "score": lambda o, b: o.argmax(1) == b[1], "metric": "accuracy",
    }  # fmt: skip
    return netsmith.Task(**PARTS, **{**given, **changes})


def test_a_task_of_functions_keeps_the_contract_and_what_was_seen_is_printed(capsys):
    found = check_task(own(), net())
    assert set(found) == {"network", "8 bits", "file"} and found["file"] == found["network"]
    said = capsys.readouterr().out
    assert "accuracy of the network" in said and "one backward pass reaches 4 of 4 parameters" in said


class Both(nn.Module):
    """Takes two inputs by name, and returns two outputs by name."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(6, 4), nn.Linear(4, 1)

    def forward(self, x, gate=None):
        hidden = torch.relu(self.a(x)) * gate
        return {"value": self.b(hidden)[:, 0], "hidden": hidden}


def test_several_inputs_and_outputs_by_name_keep_the_contract():
    data = {"x": X, "gate": torch.rand(40, 4, generator=RNG), "y": X[:, 0]}
    task = netsmith.Task(
        train=data, search=data, test=data, metric="MSE", higher_is_better=False,
        loss=lambda o, b: F.mse_loss(o["value"], b["y"]), score=lambda o, b: (o["value"] - b["y"]).square(),
    )  # fmt: skip
    check_task(task, Both())


@pytest.mark.parametrize(
    ("task", "model"),
    [
        (lambda: segmentation.load((IMAGES, IMAGES[:, 0].long() // 90)), nn.Conv2d(3, 3, 3, padding=1)),
        (lambda: image_to_image.load(IMAGES, downscale=2), nn.Sequential(nn.Conv2d(3, 12, 1), nn.PixelShuffle(2))),
        (lambda: regression.load((X, X[:, :2])), nn.Linear(6, 2)),
    ],
    ids=["segmentation", "super-resolution", "regression"],
)
def test_tasks_of_the_house_keep_the_contract(task, model):
    torch.manual_seed(0)
    check_task(task(), model)


def broken():
    lies = own(score=lambda o, b: LUCK.random(len(o)), metric="luck")
    ratio = own(
        score=lambda o, b: ((o.argmax(1) == b[1]).double().mean() ** 2).expand(len(o)), metric="square",
    )  # fmt: skip
    total = own(loss=lambda o, b: F.cross_entropy(o, b[1], reduction="sum"))
    dead = own(loss=lambda o, b: F.cross_entropy(o.detach(), b[1]).requires_grad_())
    flat = own(divergence=lambda o, g, b: torch.zeros(len(o)))
    nan = own(score=lambda o, b: torch.full((len(o),), float("nan")), metric="nothing")
    return {
        "luck": (lies, "scored differently again"),
        "square": (ratio, "in batches of 3"),
        "sum": (total, "a mean needs the weight"),
        "dead": (dead, "reaches no weight"),
        "flat": (flat, "does not diverge"),
        "nan": (nan, "not finite"),
    }


@pytest.mark.parametrize("name", broken())
def test_what_breaks_the_contract_is_found(name):
    task, said = broken()[name]
    with pytest.raises(AssertionError, match=said):
        check_task(task, net())
