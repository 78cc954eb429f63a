"""Compressing to a size by shared weights, end to end on the digits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from netsmith.data import load_data
from netsmith.errors import InfeasibleError, InputError
from netsmith.export.packed import CodebookTensor, read_packed, write_packed
from netsmith.export.packed.model import load_packed
from netsmith.hardware.measured.timing import make_session
from netsmith.jobs.compress import compress
from netsmith.jobs.load import load
from netsmith.network.graph import trace
from netsmith.network.load import load_model
from products import check_export, check_networks

MODEL = "zoo:digits?channels=16&blocks=1"
BUDGET = {"size": "0.12x", "epochs": 4}


@pytest.fixture(scope="module")
def weights(digits_weights: Path) -> Path:
    torch.set_num_threads(1)
    return digits_weights


def run(weights: Path, out: Path, /, **options: Any) -> dict[str, Any]:
    settings: dict[str, Any] = {"target": "roofline-gpu", "methods": "share", "epochs": 0, "weights": str(weights)}
    return compress(MODEL, "digits", out=out, **(settings | options)).summary


@pytest.fixture(scope="module")
def finished(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    out = tmp_path_factory.mktemp("runs") / "share"
    return run(weights, out, **BUDGET), out


def test_the_budget_is_met_and_accuracy_survives(finished: tuple[dict[str, Any], Path]) -> None:
    summary, out = finished
    budget = summary["budgets"][0]
    assert budget["met"] and budget["cost"] == "size"
    assert budget["value"] == summary["result"]["size_bytes"] == (out / "model.nsw").stat().st_size
    assert 0.9 * budget["limit"] < budget["value"] <= budget["limit"]
    assert summary["result"]["accuracy"] > summary["baseline"]["accuracy"] - 0.05
    assert summary["result"]["search_accuracy"] >= summary["search_accuracy_untuned"] - 0.03
    assert summary["result"]["latency_predicted_s"] == pytest.approx(summary["baseline"]["latency_predicted_s"])
    assert all(1 <= row["choice"]["bits"] <= 8 and row["choice"]["a_bits"] == 32 for row in summary["layers"])


def test_the_packed_file_holds_the_network_that_was_exported(
    finished: tuple[dict[str, Any], Path], tmp_path: Path
) -> None:
    summary, out = finished
    check_networks(load(out), load_data("digits"))
    check_export(load(out), tmp_path / "again", load_data("digits"))
    stored = {n: t for n, t in read_packed(out / "model.nsw").items() if isinstance(t, CodebookTensor)}
    assert {n: t.bits for n, t in stored.items()} == {
        f"{row['name']}.weight": row["choice"]["bits"] for row in summary["layers"]
    }
    graph = trace(load_model(MODEL).model, (1, 8, 8), fold=False)
    load_packed(graph.module, out / "model.nsw")
    data = load_data("digits")
    x, _ = next(data.test.batches(64, normalise=data.normalisation))
    session = make_session(out / "model.onnx", threads=1)
    want = session.run(None, {session.get_inputs()[0].name: x.numpy()})[0]
    np.testing.assert_allclose(graph.module(x).detach().numpy(), want, rtol=1e-3, atol=1e-4)


def test_the_packed_file_is_read_back_into_the_product(finished: tuple[dict[str, Any], Path]) -> None:
    model = load(finished[1]).model
    x = torch.rand(4, 1, 8, 8)
    want = model(x)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert not torch.equal(model(x), want)
    load_packed(model, finished[1] / "model.nsw")
    torch.testing.assert_close(model(x), want, rtol=1e-5, atol=1e-5)


def test_the_exact_choice_loses_less_than_uniform_bits_of_the_same_bytes(weights: Path, tmp_path: Path) -> None:
    uniform = run(weights, tmp_path / "u", size="9.5KB", strategy="uniform", evaluations=0)
    assert len(set(uniform["design"].values())) == 1
    limit = uniform["result"]["size_bytes"]
    exact = run(weights, tmp_path / "e", size=f"{limit}B", evaluations=0, huffman=True)
    assert exact["loss"] < 0.7 * uniform["loss"] and exact["bound"] <= exact["loss"] + 1e-9
    plain = write_packed(None, read_packed(tmp_path / "e" / "model.nsw"))
    assert exact["result"]["size_bytes"] < plain <= limit  # the search went by the size without Huffman


def test_a_killed_run_goes_on_to_the_same_result(
    finished: tuple[dict[str, Any], Path], weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from netsmith.runs.folder import Run

    real, stopped = Run.stage, []

    def fragile(self: Run, name: str, compute: Any, inputs: Any = None) -> Any:
        value = real(self, name, compute, inputs)
        if name in ("search-0", "build-0") and name not in stopped:
            stopped.append(name)
            raise KeyboardInterrupt
        return value

    monkeypatch.setattr(Run, "stage", fragile)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            run(weights, tmp_path / "killed", **BUDGET, resume=bool(stopped))
    got = run(weights, tmp_path / "killed", **BUDGET, resume=True)
    assert stopped == ["search-0", "build-0"]
    assert got["design"] == finished[0]["design"] and got["result"] == finished[0]["result"]


def test_with_pruning_and_a_second_budget(weights: Path, tmp_path: Path) -> None:
    summary = run(
        weights, tmp_path / "p", methods="prune,share", size="0.12x", macs="0.8x", evaluations=0, least_bits=2
    )
    assert all(b["met"] for b in summary["budgets"]) and summary["result"]["macs"] < summary["baseline"]["macs"]
    assert min(v for k, v in summary["design"].items() if k.endswith(".w_bits")) >= 2
    tables = json.loads((tmp_path / "p" / "layers.json").read_text())
    assert set(tables["result"]["a_bits"]) == {32}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"latency": "0.5x"}, "no time or energy: give a budget of them with --size"),
        ({"energy": "0.5x"}, "--size"),
        ({"methods": "share,quantize", "size": "0.1x"}, "share and quantize exclude each other"),
        ({"size": "0.1x", "latency": "0.5x"}, "does not change latency: drop --latency, or add prune"),
        ({"size": "0.1x", "least_bits": 9}, "--least-bits must be at most 8"),
        ({"methods": "shares", "size": "0.1x"}, "did you mean 'share'"),
    ],
)
def test_bad_input_is_one_sentence(weights: Path, tmp_path: Path, options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        run(weights, tmp_path / "bad", **options)
    assert "\n" not in str(caught.value) and not (tmp_path / "bad" / "config.json").exists()


def test_a_size_below_one_bit_says_what_is_possible(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(InfeasibleError) as caught:
        run(weights, tmp_path / "no", size="1KB")
    assert 1000 < caught.value.reachable["size"] < 9000
