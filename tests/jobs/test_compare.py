"""Networks of finished runs priced on other hardware, integer-only hardware among it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from netsmith.errors import InputError
from netsmith.hardware import target as targets
from netsmith.hardware.target import Capabilities, Cost, Roof
from netsmith.jobs.compare import compare
from netsmith.jobs.compress import compress
from netsmith.jobs.profile import profile
from netsmith.jobs.roofline import roofline
from netsmith.network.layers import LayerTable

MODEL = "zoo:digits?channels=16&blocks=1"


class Integers:
    """An accelerator that refuses floating point."""

    name = "integers"
    capabilities = Capabilities(bits=((8, 8),), channel_multiple=4)
    settings: ClassVar = {"clock_hz": 1e9}

    def cost(self, table: LayerTable, batch: int = 1) -> Cost:
        assert (table.w_bits <= 8).all() and (table.a_bits <= 8).all()
        moved = np.where(table.is_compute, table.weights + table.c_out * table.h_out * table.w_out, 0)
        parts = {"compute": table.macs * 1e-12, "dram": moved * 1e-10}
        cycles = table.macs / 64 + moved
        return Cost(cycles / 1e9, sum(parts.values()), moved.astype(float), cycles=cycles, energy_parts=parts)

    def roof(self, w_bits: int, a_bits: int) -> Roof:
        return Roof(64e9, 1e9)


@pytest.fixture(autouse=True)
def _register(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    torch.set_num_threads(1)
    monkeypatch.setitem(targets._REGISTRY, "integers", Integers)
    yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    out = tmp_path_factory.mktemp("runs") / "integers"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(targets._REGISTRY, "integers", Integers)
        options: dict[str, Any] = {"target": "integers", "latency": "0.6x", "energy": "0.7x", "size": "0.2x"}
        return compress(MODEL, "digits", out=out, epochs=1, **options).summary, out


def test_every_layer_is_an_integer_layer_where_there_are_no_floats(finished: tuple[dict[str, Any], Path]) -> None:
    summary, _ = finished
    assert all(row["choice"]["bits"] == 8 for row in summary["layers"] if row["choice"]["width"])
    assert all(b["met"] for b in summary["budgets"]) and summary["simulated"]
    before, after = summary["baseline"], summary["result"]
    norms = 144  # of each norm a bias is left when it is folded
    weights = (before["params"] - norms) * 4  # as it was given, in floating point, and the frame of the file
    assert weights < before["size_bytes"] < 1.01 * weights
    assert after["energy_j"] <= 0.7 * before["energy_j"]
    assert before["mean_bits"] == {"weights": 32.0, "activations": 32.0} and before["priced_bits"] == [8, 8]
    assert after["mean_bits"] == {"weights": 8.0, "activations": 8.0}
    for row in summary["layers"]:
        assert row["choice"]["pinned"]  # the target has one width only
        assert row["choice"]["stored_bits"] == ([8, 8] if row["choice"]["width"] else [0, 0])
    assert not any(t["measured"] for t in summary["trials"])
    chosen = next(t for t in summary["trials"] if t["chosen"])
    assert chosen["energy_j"] == pytest.approx(after["energy_j"])


def test_priced_on_other_hardware_as_by_the_run_itself(finished: tuple[dict[str, Any], Path]) -> None:
    summary, out = finished
    found = compare([out], targets=["integers"])
    after = found["costs"][str(out)]["integers"]
    assert after["latency_s"] == pytest.approx(summary["result"]["latency_predicted_s"])
    assert after["energy_j"] == pytest.approx(summary["result"]["energy_j"])
    assert after["baseline"]["latency_s"] == pytest.approx(summary["baseline"]["latency_predicted_s"])
    assert found["simulated"] == ["integers"]
    measured = compare([out], targets=["cpu"])["costs"][str(out)]["cpu"]
    assert measured["latency_s"] > 0 and measured["energy_j"] is None


def test_a_run_without_its_layers_is_named(finished: tuple[dict[str, Any], Path], tmp_path: Path) -> None:
    _, out = finished
    path = out / "layers.json"
    whole = path.read_text()
    try:
        record = json.loads(whole)
        record["result"]["kind"].pop()
        path.write_text(json.dumps(record))
        with pytest.raises(InputError, match=r"layers\.json is damaged"):
            compare([out], targets=["integers"])
        path.unlink()
        with pytest.raises(InputError, match=r"layers\.json is missing; repeat"):
            compare([out], targets=["integers"])
    finally:
        path.write_text(whole)
    with pytest.raises(InputError, match="unknown target"):
        compare([out], targets=["integer"])


def test_layers_stand_under_their_roofs(finished: tuple[dict[str, Any], Path]) -> None:
    summary, out = finished
    drawn = summary["roofline"]
    assert drawn["roofs"] == [{"bits": [8, 8], "macs_per_s": 64e9, "bytes_per_s": 1e9}]
    assert {layer["network"] for layer in drawn["layers"]} == {"before", "after"}
    for layer in drawn["layers"]:
        assert layer["macs_per_s"] <= min(64e9, layer["intensity"] * 1e9) * (1 + 1e-9)

    class Blind(Integers):
        def roof(self, w_bits: int, a_bits: int) -> None:  # type: ignore[override]
            return None

    table = LayerTable.from_dict(json.loads((out / "layers.json").read_text())["result"])
    assert roofline(Blind(), result=table) is None


def test_profile_shows_what_the_target_knows() -> None:
    found = profile(MODEL, target="integers", input_shape=(1, 8, 8))
    for row in found["layers"]:
        assert row["bits"] == 8 and row["cycles"] == pytest.approx(row["latency_s"] * 1e9)
        assert sum(row["energy_parts"].values()) == pytest.approx(row["energy_j"])
        assert row["intensity"] == pytest.approx(row["macs"] / row["traffic_bytes"])
    assert found["settings"] == {"clock_hz": 1e9}
