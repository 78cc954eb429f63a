"""Networks at several limits on one cost: a front of a design space."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from netsmith.errors import InfeasibleError
from netsmith.jobs.family_front import choose_along, middle_of, reach
from netsmith.search.strategy import Designs, Problem
from netsmith.space import CostTable
from netsmith.study.choosing import Chooser
from netsmith.study.study import Found

TABLES = {
    "macs": CostTable(10.0, np.array([[1.0, 4.0, 9.0], [2.0, 5.0, np.inf]])),
    "size": CostTable(0.0, np.array([[7.0, 1.0, 1.0], [1.0, 1.0, np.inf]])),
}


@dataclass(frozen=True)
class Named:
    key: tuple[int, ...]


class Designed:
    """A family whose networks are their designs."""

    def blueprint(self, design: Designs) -> Any:
        return Named(tuple(int(k) for k in design))


def chooser() -> Chooser:
    """Prefers what computes most."""

    def best(problem: Problem) -> Found:
        designs = np.array([(a, b) for a in range(3) for b in range(2)])
        kept = designs[problem.feasible(designs)]
        if not len(kept):
            raise InfeasibleError("none", {})
        return Found(kept[TABLES["macs"].price(kept).argmax()])

    return Chooser(
        Designed(), TABLES, best, lambda d: {n: float(t.price(d[None])[0]) for n, t in TABLES.items()}
    )  # type: ignore[arg-type]  # fmt: skip


def test_reach_is_what_networks_cost_within_the_other_limits() -> None:
    assert reach(TABLES, "macs", {}) == (13.0, 24.0)
    assert reach(TABLES, "macs", {"macs": 20.0}) == (13.0, 20.0)
    assert reach(TABLES, "macs", {"size": 3.0}) == (16.0, 24.0)  # the cheapest choice of all is too large
    with pytest.raises(InfeasibleError, match="the smallest reachable is 13"):
        reach(TABLES, "macs", {"macs": 12.0})


def test_networks_go_from_the_preferred_one_to_the_cheapest_and_none_is_there_twice() -> None:
    found = choose_along(chooser(), "macs", {}, 4)
    costs = [chosen.predicted["macs"] for chosen in found]
    assert costs[0] == 24.0 and costs[-1] == 13.0 and costs == sorted(costs, reverse=True)
    every = choose_along(chooser(), "macs", {"size": 3.0}, 50)
    assert [chosen.predicted["macs"] for chosen in every] == [24.0, 21.0, 19.0, 16.0]
    assert all(chosen.predicted["size"] <= 3.0 for chosen in every)
    assert len({chosen.key for chosen in every}) == len(every)
    assert middle_of(4.0, 9.0) == pytest.approx(6.0)
