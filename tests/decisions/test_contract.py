"""A user's kind that breaks its contract is told so in one sentence, before a job begins."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from netsmith.compression.steps import Step
from netsmith.decisions.contract import check_contract
from netsmith.decisions.kind import Deltas, Designs, Kind
from netsmith.decisions.registry import Given, kinds_of, register_kind
from netsmith.decisions.tools import AtHand, Tools
from netsmith.errors import InputError
from netsmith.hardware import get_target
from netsmith.jobs.config import Method
from netsmith.network.edit import GraphEdit
from netsmith.network.graph import Graph, trace
from netsmith.space import Decision


class Halved(Kind):
    """One weight is halved, which costs as much; broken in one way at a time."""

    name = "halved"

    def __init__(self, graph: Graph, broken: str = "") -> None:
        self.graph, self.broken = graph, broken
        self.decisions = (Decision("0.half", "half", (1, 2)),)

    @property
    def reference(self) -> Designs:
        return np.array([5 if self.broken == "reference" else 1])

    def columns(self, designs: Designs, rows: np.ndarray) -> Deltas:
        calls = np.tile(self.graph.layers.calls[rows], (len(designs), 1))
        most = {"shape": {"calls": calls[:, 1:]}, "column": {"cals": calls}, "price": {"calls": calls * designs}}
        return Deltas(most=most.get(self.broken, {}))

    def bearing(self) -> np.ndarray:
        return np.ones((1, len(self.graph.layers) + (self.broken == "bearing")))

    def edit(self, design: Designs, so_far: GraphEdit, tools: Tools) -> GraphEdit:
        if self.broken == "edit":
            raise RuntimeError("boom")
        shape, name = (
            (1,) if self.broken == "weight" else (2, 1, 3, 3),
            "0.wait" if self.broken == "name" else "0.weight",
        )
        return GraphEdit(weights={name: torch.zeros(shape)})

    def apply(self, model: nn.Module, design: Designs, before: tuple[Step, ...], tools: Tools) -> Any:
        if self.broken == "apply":
            raise RuntimeError("boom")
        return 3 if self.broken == "step" else None


@pytest.fixture(scope="module")
def given() -> Given:
    model = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.Flatten(), nn.Linear(32, 3)).eval()
    example = torch.zeros(2, 1, 4, 4)
    return Given(model, example, trace(model, (1, 4, 4)), get_target("roofline-edge").capabilities)


def test_what_keeps_the_contract_passes(given: Given) -> None:
    check_contract(Halved(given.graph), given.model, AtHand())


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ("reference", "no design"), ("shape", "the shape"), ("column", "no column"), ("price", "as it is built"),
        ("bearing", "decisions by rows"), ("edit", r"edit\(\) of .*boom"), ("weight", "no shape may change"),
        ("name", "no parameter"), ("apply", r"apply\(\) of .*boom"), ("step", "register_step"),
    ],
)  # fmt: skip
def test_what_breaks_it_is_named(given: Given, broken: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        check_contract(Halved(given.graph, broken), given.model, AtHand())


def test_makers_that_fail_or_make_no_kind_are_named(given: Given, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netsmith.decisions.registry._REGISTERED", {})
    made: dict[str, Any] = {"three": 3, "listed": Halved(given.graph), "late": Halved(given.graph)}
    made["listed"].decisions, made["late"].stage = ["half"], "late"
    for name in ("three", "listed", "late"):
        register_kind(name)(lambda given, method: made[method.name])
    register_kind("fails")(lambda given, method: 1 // 0)
    for name, said in (("three", "no Kind"), ("listed", "a tuple"), ("late", "stage"), ("fails", "ZeroDivision")):
        method = Method()
        object.__setattr__(method, "name", name)
        with pytest.raises(InputError, match=said):
            kinds_of(given, (method,))
