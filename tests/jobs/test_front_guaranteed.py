"""``--max-drop`` with an agent: one search by AMC's second reward, and networks of the front from what it ran."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netsmith.errors import InputError
from netsmith.jobs.compress import compress
from netsmith.search.agents.amc_strategy import AmcReward
from netsmith.study.guaranteed import Weighed

MODEL = "zoo:digits?channels=16&blocks=1"


def run(weights: Path, out: Path, **options: Any) -> dict[str, Any]:
    given = {"target": "bismo-edge", "methods": "quantize", "weights": str(weights), "epochs": 0, "out": out,
             "max_drop": 2.0, "minimize": "energy", "front": 2, "evaluations": 8}  # fmt: skip
    return compress(MODEL, "digits", **(given | options)).summary


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["amc", "haq"])
def test_max_drop_uses_the_second_reward_and_takes_networks_from_what_was_run(
    digits_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strategy: str
) -> None:
    told = list[tuple[str, str | None, Any, Any, Any]]()
    plain = AmcReward.__call__

    def watched(self: AmcReward, problem: Any, designs: Any, results: Any) -> Any:
        found = plain(self, problem, designs, results)
        told.append((self.kind, self.resource, results.loss, results.costs["energy"], found))
        assert not problem.budgets, "nothing is brought inside a budget"
        return found

    monkeypatch.setattr(AmcReward, "__call__", watched)
    summary = run(digits_weights, tmp_path / "run", strategy=strategy)
    assert {(kind, cost) for kind, cost, *_ in told} == {("guaranteed", "energy")} and len(told) >= 6
    for _, _, error, cost, reward in told:
        np.testing.assert_allclose(reward, -np.asarray(error) * np.log(np.asarray(cost) / 1e-9))
    stored = json.loads((tmp_path / "run" / "stages" / "search-guaranteed.json").read_text())["value"]
    ran = Weighed.from_dict(stored, len(stored["designs"][0]))
    candidates = {tuple(d) for d in ran.candidates.designs.tolist()}
    points = summary["front"]["points"]
    assert points and [p["folder"] for p in points]
    for point in points:
        found = json.loads((tmp_path / "run" / point["folder"] / "summary.json").read_text())
        assert found["result"]["energy_j"] == pytest.approx(point["costs"]["energy"])
    searches = sorted((tmp_path / "run" / "stages").glob("search-[0-9]*.json"))
    for path in searches:
        assert tuple(json.loads(path.read_text())["value"]["best"]["design"]) in candidates


@pytest.mark.parametrize(
    ("options", "says"),
    [({"evaluations": 0}, "learns from designs that it runs"), ({"minimize": "memory"}, "sees costs that are sums")],
)  # fmt: skip
def test_what_such_a_search_cannot_do_is_refused_before_any_work(
    digits_weights: Path, tmp_path: Path, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(InputError, match=says):
        run(digits_weights, tmp_path / "run", strategy="amc", **options)
    assert not (tmp_path / "run").exists()
