"""Criteria of a user's own: a function or an object that scores the channels of one group."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from netsmith.compression import ChannelGroup, Evidence, Importance, channel_importance, find_groups
from netsmith.compression.importance import CRITERIA
from netsmith.errors import InputError
from netsmith.jobs.assembly import assemble, flatten
from netsmith.jobs.config import CompressConfig, Prune
from netsmith.jobs.tools import criterion_contents

INPUT = torch.zeros(2, 5)
GIVEN: dict[str, Any] = {"model": "zoo:digits", "data": "digits", "macs": "0.5x"}


class Last(Importance):
    """Channels in their order; the scale is the object's own."""

    name = "last"

    def __init__(self, scale: float = 1.0) -> None:
        self.scale = scale

    def __repr__(self) -> str:
        return f"Last({self.scale})"

    def __call__(self, group: ChannelGroup, evidence: Evidence) -> Any:
        return self.scale * np.arange(group.channels)


def first(group: ChannelGroup, evidence: Evidence) -> Any:
    return [-k for k in range(group.channels)]


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3))


def test_objects_and_functions_score_channels_and_l2_stands_in_where_they_say_nothing() -> None:
    model = network()
    report = find_groups(model, INPUT)
    assert [g.name for g in report.groups] == ["0", "2"]
    np.testing.assert_array_equal(channel_importance(model, report, Last(2.0))["0"], 2.0 * np.arange(6))
    np.testing.assert_array_equal(channel_importance(model, report, first)["2"], -np.arange(4.0))
    mixed = channel_importance(model, report, lambda g, e: torch.ones(6) if g.name == "0" else None)
    np.testing.assert_array_equal(mixed["0"], np.ones(6))
    np.testing.assert_array_equal(mixed["2"], channel_importance(model, report, "l2")["2"])


def test_what_is_costly_is_made_when_asked_for_and_once() -> None:
    model, asked = network(), list[str]()

    def batches() -> Any:
        asked.append("batches")
        yield torch.randn(4, 5), torch.tensor([0, 1, 2, 0])

    evidence = Evidence(model, find_groups(model, INPUT), batches())
    CRITERIA["l2"](evidence.report["0"], evidence)
    assert not asked
    scores = [CRITERIA["taylor"](group, evidence) for group in evidence.report.groups]
    assert asked == ["batches"] and all(s is not None and s.any() for s in scores)


@pytest.mark.parametrize(
    "said", [np.ones(5), np.ones((6, 1)), [1.0, np.nan, 1, 1, 1, 1], "many", 1.0, [None] * 6, torch.ones(7)]
)
def test_scores_that_cannot_rank_are_refused_by_name(said: Any) -> None:
    model = network()
    odd: Callable[..., Any] = lambda group, evidence: said  # noqa: E731
    odd.__name__ = "odd"
    with pytest.raises(InputError, match="the importance odd must give 6 finite numbers for the channels of 0"):
        channel_importance(model, find_groups(model, INPUT), odd)


def test_options_take_an_object_and_record_its_name() -> None:
    config = assemble(CompressConfig, GIVEN | {"methods": (Prune(importance=Last()),)})
    assert flatten(config)["importance"] == "last"
    assert flatten(assemble(CompressConfig, GIVEN | {"importance": first}))["importance"] == "first"
    with pytest.raises(InputError, match="is the class Last: give an object of it"):
        Prune(importance=Last)
    with pytest.raises(InputError, match="--importance must be a name or in Python"):
        Prune(importance=3)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="must be one of l1, l2"):
        Prune(importance="last")


def test_options_know_which_criteria_read_moments() -> None:
    assert {n for n in CRITERIA if Prune(importance=n).reads_moments} == {"reconstruction"}
    assert all(Prune(importance=n).reads_moments == c.reads_moments for n, c in CRITERIA.items())
    assert Prune(importance=CRITERIA["reconstruction"]).reads_moments and not Prune(importance=first).reads_moments


def test_a_resumed_run_notices_another_criterion() -> None:
    assert criterion_contents("l2") == {}
    same, other = criterion_contents(Last()), criterion_contents(Last(3.0))
    assert same == criterion_contents(Last()) and same != other and same != criterion_contents(first)
