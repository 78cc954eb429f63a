"""Compressing to a size by weights most of whose numbers are zero, floats or shared, end to end on the digits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from netsmith.compression.recipe import Recipe
from netsmith.compression.sparsify import entries_of, sparse_of
from netsmith.data import load_data
from netsmith.errors import InputError
from netsmith.export.packed import CodebookTensor, SparseTensor, read_packed, write_packed
from netsmith.jobs.compress import compress
from netsmith.jobs.load import load
from products import check_export, check_networks

MODEL = "zoo:digits?channels=16&blocks=1"


@pytest.fixture(scope="module")
def weights(digits_weights: Path) -> Path:
    torch.set_num_threads(1)
    return digits_weights


def run(weights: Path, out: Path, /, **options: Any) -> dict[str, Any]:
    settings: dict[str, Any] = {"target": "roofline-gpu", "methods": "sparsify", "epochs": 0, "weights": str(weights)}
    return compress(MODEL, "digits", out=out, **(settings | options)).summary


@pytest.fixture(scope="module")
def finished(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """Deep Compression as one job: pruned, shared, trained and coded."""
    out = tmp_path_factory.mktemp("runs") / "deep"
    options = {"methods": "sparsify,share", "size": "0.07x", "epochs": 2, "huffman": True, "evaluations": 2}
    return run(weights, out, **options), out


def _sparse(out: Path) -> dict[str, SparseTensor]:
    return {n: t for n, t in read_packed(out / "model.nsw").items() if isinstance(t, SparseTensor)}


def test_deep_compression_keeps_its_budget_and_its_accuracy(finished: tuple[dict[str, Any], Path]) -> None:
    summary, out = finished
    budget = summary["budgets"][0]
    assert budget["met"] and budget["value"] == (out / "model.nsw").stat().st_size <= budget["limit"]
    assert summary["result"]["accuracy"] > summary["baseline"]["accuracy"] - 0.05
    assert summary["result"]["macs"] == summary["baseline"]["macs"]  # no kernel skips single zeros
    assert summary["result"]["latency_predicted_s"] == pytest.approx(summary["baseline"]["latency_predicted_s"])


def test_the_zeros_of_the_design_are_those_of_every_file(finished: tuple[dict[str, Any], Path]) -> None:
    summary, out = finished
    model = load(out).float_model
    stored, noted = _sparse(out), sparse_of(Recipe.read(out / "recipe.json").steps)
    chosen = {n.removesuffix(".density"): v for n, v in summary["design"].items() if n.endswith(".density") and v < 1}
    assert len(chosen) > 2
    for layer, density in chosen.items():
        weight, tensor = model.get_parameter(f"{layer}.weight"), stored[f"{layer}.weight"]
        entries = int(entries_of(weight.numel(), density))
        assert noted[f"{layer}.weight"] == len(tensor.positions) == entries >= int((weight != 0).sum())
        np.testing.assert_array_equal(tensor.decode(), weight.detach().numpy())
        assert isinstance(tensor.tensor, CodebookTensor) and 0.0 not in tensor.tensor.values
    assert set(stored) == {f"{layer}.weight" for layer in chosen}


def test_all_networks_of_the_run_are_one(finished: tuple[dict[str, Any], Path], tmp_path: Path) -> None:
    out = finished[1]
    check_networks(load(out), load_data("digits"))
    check_export(load(out), tmp_path / "again", load_data("digits"))
    assert set(_sparse(tmp_path / "again")) == set(_sparse(out))


def test_without_codes_the_file_is_as_large_as_the_search_said(weights: Path, tmp_path: Path) -> None:
    summary = run(weights, tmp_path / "s", size="0.3x", evaluations=0, most_zeros=0.9)
    densities = [v for n, v in summary["design"].items() if n.endswith(".density")]
    assert min(densities) >= 0.1 and any(v < 1 for v in densities) and len(densities) == len(summary["design"])
    size = summary["result"]["size_bytes"]
    assert size == (tmp_path / "s" / "model.nsw").stat().st_size <= summary["budgets"][0]["limit"]
    tables = json.loads((tmp_path / "s" / "layers.json").read_text())
    assert "entries" not in tables["baseline"] and any(tables["result"]["entries"])
    assert write_packed(None, read_packed(tmp_path / "s" / "model.nsw")) == size


@pytest.mark.slow
def test_channels_may_go_as_well(weights: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"methods": "prune,sparsify,share", "size": "0.08x", "macs": "0.7x", "evaluations": 0}
    summary = run(weights, tmp_path / "p", **options)
    assert all(b["met"] for b in summary["budgets"]) and summary["result"]["macs"] < summary["baseline"]["macs"]
    noted = sparse_of(Recipe.read(tmp_path / "p" / "recipe.json").steps)
    assert noted == {n: len(t.positions) for n, t in _sparse(tmp_path / "p").items()} != {}
    check_networks(load(tmp_path / "p"), load_data("digits"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"latency": "0.5x"}, "sparsify saves bytes and no time or energy: give a budget of them with --size"),
        ({"methods": "sparsify,share", "macs": "0.5x"}, "sparsify and share save bytes"),
        ({"methods": "sparsify,quantize", "size": "0.1x"}, "sparsify and quantize exclude each other"),
        ({"size": "0.1x", "latency": "0.5x"}, "does not change latency: drop --latency, or add prune"),
        ({"size": "0.1x", "most_zeros": 1.0}, "--most-zeros must be at most 0.99"),
    ],
)
def test_bad_input_is_one_sentence(weights: Path, tmp_path: Path, options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        run(weights, tmp_path / "bad", **options)
    assert "\n" not in str(caught.value) and not (tmp_path / "bad" / "config.json").exists()
