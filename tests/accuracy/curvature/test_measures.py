"""Tables of sensitivities against their formulas, and their order against the measured loss of ResNet-20."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from labelled import evaluator as evaluator_of
from labelled import hessian_trace, weight_fisher
from netsmith.accuracy.curvature import (
    Traces,
    fisher_sensitivity,
    hessian_sensitivity,
)  # fmt: skip
from netsmith.errors import InputError
from netsmith.network.edit import GraphEdit
from netsmith.network.graph import Graph, trace

DATA = Path(os.environ.get("NETSMITH_DATA", Path(__file__).parents[3].parent / "shared" / "data"))
needs_data = pytest.mark.skipif(
    not (DATA / "models").is_dir(), reason="pretrained networks are not here: set NETSMITH_DATA to their folder"
)


def rounded(weight: torch.Tensor, bits: int) -> torch.Tensor:
    """Symmetric, per output channel, from the largest absolute value."""
    top = 2 ** (bits - 1) - 1
    scale = weight.detach().abs().flatten(1).amax(1).reshape(-1, *[1] * (weight.dim() - 1)) / top
    return (weight.detach() / scale).round().clamp(-top, top) * scale


def alone(quantized: Mapping[str, list[torch.Tensor]]) -> list[GraphEdit]:
    """Every layer alone at every bit-width."""
    return [GraphEdit(weights={name: q}) for name, row in quantized.items() for q in row]


@pytest.fixture(scope="module")
def tiny():  # type: ignore[no-untyped-def]
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 4, 2), nn.ReLU(), nn.Conv2d(4, 4, 2, groups=4), nn.Flatten(), nn.Linear(16, 3))
    graph = trace(model, (2, 4, 4))
    weights = {n: graph.module.get_parameter(n) for n in ("0.weight", "2.weight", "4.weight")}
    quantized = {n: [rounded(w, b) for b in (2, 3, 5)] for n, w in weights.items()}
    return graph, weights, quantized, torch.randn(20, 2, 4, 4), torch.randint(0, 3, (20,))


def test_hessian_sensitivity_is_half_the_mean_trace_times_the_squared_error() -> None:
    weights = {"a": torch.zeros(2, 2), "b": torch.ones(4), "c": torch.zeros(2)}
    quantized = {"c": [torch.ones(2)] * 2, "a": [torch.full((2, 2), 0.5), torch.zeros(2, 2)], "b": [torch.zeros(4)] * 2}
    traces = Traces(("a", "b", "c"), np.array([8.0, 6.0, -5.0]), np.array([0.1, 7.0, 0.5]), 4, 0.0)
    # a: 1/2 * 8/4 * 4 * 0.25; b: below its error, so 1/2 * 7/4 * 4; c: negative, so 1/2 * 0.5/2 * 2
    table = hessian_sensitivity(traces, weights, quantized)
    assert table == pytest.approx(np.array([[1.0, 0.0], [3.5, 3.5], [0.25, 0.25]]))


def test_fisher_sensitivity_weighs_every_entry(tiny) -> None:  # type: ignore[no-untyped-def]
    graph, weights, quantized, x, y = tiny
    fisher = weight_fisher(graph, x, y, list(weights))
    table = fisher_sensitivity(fisher, weights, quantized)
    for i, name in enumerate(weights):
        for k in range(3):
            d = (quantized[name][k] - weights[name]).detach().flatten().numpy()
            assert table[i, k] == pytest.approx(0.5 * float(d @ np.diag(fisher.diagonal[i].flatten().numpy()) @ d))
    assert (np.diff(table, axis=1) < 0).all()  # more bits, less loss


def test_output_error_is_the_squared_distance_of_the_logits(tiny) -> None:  # type: ignore[no-untyped-def]
    graph, weights, quantized, x, y = tiny
    scores = evaluator_of(graph, x, y, batch_size=7).evaluate(alone(quantized))
    found = scores.output_error.reshape(3, 3)
    with torch.no_grad():
        for i, name in enumerate(weights):
            for k in range(3):
                changed = graph.copy()
                changed.module.get_parameter(name).copy_(quantized[name][k])
                want = (changed.module(x) - graph.module(x)).square().sum(1).mean()
                assert found[i, k] == pytest.approx(float(want), rel=1e-4)
    assert (found > 0).all()


def test_bad_tables_are_named(tiny) -> None:  # type: ignore[no-untyped-def]
    weights, quantized = tiny[1:3]
    traces = Traces(tuple(weights), np.ones(3), np.ones(3), 2, 0.0)
    with pytest.raises(InputError, match=r"'2\.weight' has no quantized values"):
        hessian_sensitivity(traces, weights, {"0.weight": quantized["0.weight"]})
    with pytest.raises(InputError, match="different numbers of bit-widths"):
        hessian_sensitivity(traces, weights, quantized | {"2.weight": quantized["2.weight"][:1]})
    with pytest.raises(InputError, match=r"0\.weight has shape \(4, 2, 2, 2\), quantized \(4,\)"):
        hessian_sensitivity(traces, weights, quantized | {"0.weight": [torch.zeros(4)] * 3})


def resnet20() -> tuple[Graph, torch.Tensor, torch.Tensor]:
    """The pretrained network and 40 images of the training set."""
    import pyarrow.parquet as pq

    from netsmith.data.decode import decode
    from netsmith.data.normalise import statistics
    from netsmith.data.sources import RawSplit
    from netsmith.network.load import load_model

    rows = pq.ParquetFile(DATA / "cifar10-jpeg" / "train-00000.parquet").read_row_group(0).slice(0, 40).to_pydict()
    split = RawSplit([r["bytes"] for r in rows["image"]], rows["label"], ["image"] * 40)
    images = decode({"x": split}, None).images["x"]
    model = load_model("zoo:cifar_resnet20", weights=DATA / "models" / "cifar10-resnet20.safetensors").model
    return trace(model, (3, 32, 32)), statistics(images)(images), torch.tensor(rows["label"])


@needs_data
def test_order_of_resnet20_s_layers_is_that_of_the_measured_loss() -> None:
    from scipy.stats import spearmanr

    graph, x, y = resnet20()
    names = [n for n, p in graph.module.named_parameters() if p.dim() > 1]
    weights = {n: graph.module.get_parameter(n) for n in names}
    quantized = {n: [rounded(w, 3)] for n, w in weights.items()}
    scores = evaluator_of(graph, x, y).evaluate(alone(quantized))
    tables = {
        "hessian": hessian_sensitivity(hessian_trace(graph, x, y, names, most=4), weights, quantized),
        "trace of Fisher": hessian_sensitivity(weight_fisher(graph, x, None, names), weights, quantized),
        "logits": scores.output_error,
    }
    correlation = {name: float(spearmanr(t.ravel(), scores.divergence)[0]) for name, t in tables.items()}
    assert len(names) == 20
    assert min(correlation.values()) > 0.5, correlation
