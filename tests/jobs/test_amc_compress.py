"""``compress --strategy amc``: features of any mix of decisions, and budgets kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from labelled import fit
from netsmith.data import load_data
from netsmith.hardware.target import get_target
from netsmith.jobs.compress import compress
from netsmith.jobs.config import Prune
from netsmith.jobs.subject import load_subject
from netsmith.network.load import load_model
from netsmith.network.weights import save_weights
from netsmith.search.agents.bounded import BoundedSteps
from netsmith.search.strategy import Problem
from netsmith.study.facts import Facts
from netsmith.systems.amc import features
from netsmith.training import Training

MODEL = "zoo:digits?channels=8"


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> str:  # type: ignore[no-untyped-def]
    path: Path = tmp_path_factory.mktemp("weights") / "digits.safetensors"
    model = load_model(MODEL).model
    fit(model, load_data("digits"), Training(epochs=4, lr=0.05))
    save_weights(path, model.state_dict())
    return str(path)


@pytest.mark.parametrize(
    ("methods", "budget"), [("prune", {"macs": "0.5x"}), ("prune,quantize", {"latency": "0.5x", "size": "0.5x"})]
)
def test_budgets_are_kept(weights: str, tmp_path: Path, methods: str, budget: dict) -> None:  # type: ignore[type-arg]
    summary = compress(
        MODEL, "digits", target="roofline-edge", methods=methods, strategy="amc", weights=weights, evaluations=5,
        epochs=0, out=tmp_path / "run", **budget,
    ).summary  # fmt: skip
    assert len(summary["budgets"]) == len(budget) and all(b["met"] for b in summary["budgets"])
    share = summary["result"]["macs"] / summary["baseline"]["macs"]
    assert share <= (0.5 if methods == "prune" else 1.0)


def test_features_describe_the_layers_that_decisions_change() -> None:
    subject = load_subject(MODEL, "digits", get_target("roofline-edge"))
    space, table = subject.space, subject.space.table
    kinds = [d.kind for d in space.decisions.decisions]
    layers = Facts(space).layers
    known = features(layers.table, layers.rows, layers.touched, kinds)
    assert {"channels", "branch", "bits"} == set(kinds)
    assert known.shape == (len(kinds), 8 + 3) and (known[:, 8:].sum(axis=1) == 1).all()
    rows = {name: i for i, name in enumerate(table.names)}
    for d, decision in enumerate(space.decisions.decisions):
        layer = rows.get(decision.name.rsplit(".", 1)[0])
        if decision.kind in ("channels", "bits"):
            assert layer is not None
            assert known[d, 1:4].tolist() == [table.c_out[layer], table.c_in[layer], table.h_in[layer]]
        if decision.kind == "bits":
            assert known[d, 7] == table.macs[layer]
        if decision.kind == "channels":  # its producers and its consumers
            assert known[d, 7] > table.macs[layer]
    by_layer = known[np.array(kinds) == "bits"]
    assert (np.diff(by_layer[:, 0]) > 0).all(), "layers are numbered in order of execution"

    alone = load_subject(MODEL, "digits", get_target("roofline-edge"), methods=(Prune(),)).space
    layers = Facts(alone).layers
    widths = features(layers.table, layers.rows, layers.touched)
    loss = np.where(np.arange(8) < alone.decisions.sizes[:, None], 0.0, np.inf)
    assert BoundedSteps(Problem(loss, {}, {}), alone.decisions, widths).width == widths.shape[1] + 1
    assert set(Facts(alone).options(("layers", "parts", "canonical", "renew"))) == {"layers"}
