"""``explore``: each configuration is what the exact search says of it, the page shows it, and it resumes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netsmith.accuracy.sensitivity import Sensitivity
from netsmith.errors import InfeasibleError, InputError
from netsmith.hardware.target import get_target
from netsmith.jobs import exploring
from netsmith.jobs.config import ExploreConfig
from netsmith.jobs.explore import Exploration, explore
from netsmith.report import show_exploration

MODEL, VARY = "zoo:digits?channels=8&blocks=1", "rows=4/16,bandwidth=32..128"


def run(out: Path, **options: Any) -> Exploration:
    return explore(MODEL, "digits", **({"family": "bitfusion", "vary": VARY, "out": out} | options))


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Exploration:
    return run(tmp_path_factory.mktemp("explore") / "run")


def test_every_configuration_has_its_least_cost_with_a_bound(found: Exploration) -> None:
    rows, record = found.configurations, found.record
    assert [tuple(r["values"].values()) for r in rows] == [(n, b) for n in (4, 16) for b in (32, 64, 128)]
    assert record["fields"] == ["rows", "dram_bits_per_cycle"] and record["exact"] and record["simulated"]
    loss = Sensitivity.from_dict(json.loads((found.folder / "stages" / "sensitivity.json").read_text())["value"]).loss
    for row in rows:
        design = np.array(row["design"])
        assert loss[np.arange(len(design)), design].sum() == pytest.approx(row["loss"])
        assert row["loss"] <= record["max_loss"] * (1 + 1e-9)
        assert row["bound"] <= row["cost"] == row["latency"] < row["given_latency"]
        assert row["bound"] == pytest.approx(row["cost"], rel=1e-6)
        assert row["hardware"]["units"] == row["values"]["rows"] * 32
    cost = {tuple(r["values"].values()): r["cost"] for r in rows}
    for n in (4, 16):  # more bandwidth never costs cycles
        assert cost[n, 32] >= cost[n, 64] >= cost[n, 128]
    assert found.best["cost"] == min(cost.values()) and found.best["worth"]


def test_a_loss_that_is_allowed_twice_over_costs_no_more(found: Exploration, tmp_path: Path) -> None:
    most = 2 * found.record["max_loss"]
    other = run(tmp_path / "run", max_loss=most, vary="rows=4/16", minimize="energy")
    assert other.record["says"] == "as asked for" and other.record["minimize"] == "energy"
    base = next(r for r in other.configurations if r["values"]["rows"] == 16)
    assert base["cost"] == base["energy"] <= base["given_energy"]
    page = other.report().read_text()
    assert "energy, " in page and "hollow: the network as given" in page  # one field: a line


def test_the_page_and_the_terminal_show_the_grid(found: Exploration, capsys: pytest.CaptureFixture[str]) -> None:
    page = found.report().read_text()
    assert page.count('class="paint"') == 6 and "Latency at equal loss" in page and "nothing was measured" in page
    show_exploration(found.record)
    out = " ".join(capsys.readouterr().out.split())
    assert "zoo:digits" in out and "least latency" in out and "is proven for its configuration" in out


def test_a_resumed_one_measures_nothing_again(
    found: Exploration, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    def never(*args: Any, **options: Any) -> None:
        raise AssertionError("a stage that was finished ran again")

    for name in ("measure_sensitivity", "cheapest"):
        monkeypatch.setattr(exploring, name, never)
    (found.folder / "explore.json").unlink()
    assert run(found.folder, resume=True).record == found.record
    assert json.loads((found.folder / "explore.json").read_text()) == found.record


def test_a_loss_that_nothing_keeps_is_infeasible(found: Exploration, tmp_path: Path) -> None:
    vary = "sram_bytes=2048/4096,sram_reserve_bytes=0"
    with pytest.raises(InfeasibleError, match="on none of the 2 configurations a network fits"):
        explore(MODEL, "digits", family="microcontroller", target="mcu-256k", vary=vary, max_loss=0.0,
                out=tmp_path / "run")  # fmt: skip


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"family": "cpu"}, "--family cpu: what was measured is one device"),
        ({"family": "bitfusoin"}, "unknown family 'bitfusoin' .did you mean 'bitfusion'"),
        ({"family": "systolic"}, "say with --target which to vary: systolic-eyeriss"),
        ({"target": "cpu"}, "--target cpu is measured"), ({"target": "bismo-edge"}, "is of the family bismo"),
        ({"vary": "row=8"}, "no field 'row' .did you mean 'rows'"), ({"vary": "max_bits=4/8"}, "other widths"),
        ({"methods": "sparsify"}, "--methods of explore must change time or energy"),
        ({"max_loss": -1.0}, "--max-loss must be at least 0"),
    ],
)  # fmt: skip
def test_what_cannot_be_explored_is_refused_before_any_work(options: dict[str, Any], says: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=says):
        run(tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


def test_the_base_is_the_family_s_own_configuration() -> None:
    config = ExploreConfig(MODEL, "digits", "bitfusion", "rows=16")
    ((changes, target),) = config.configurations()
    assert changes == {"rows": 16} and target.config == get_target("bitfusion").config  # type: ignore[attr-defined]
