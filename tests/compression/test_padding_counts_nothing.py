"""What is padding enters no range, moment or norm: whatever it holds, the same comes of the rest."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from netsmith.accuracy.norms import statistics_of
from netsmith.compression.calibrate import collect
from netsmith.compression.groups import find_groups
from netsmith.compression.reconstruct import gather
from netsmith.data.batch import Batch
from netsmith.network.graph import trace
from netsmith.training import reestimate_batch_norm
from netsmith.training.batchnorm import centre_batch_norm


class Tokens(nn.Module):
    """A pair of layers and a norm over each token, then a mean of those that are there."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.second = nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Linear(8, 4)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        y = self.norm(self.first(x).transpose(1, 2)).transpose(1, 2)
        y = self.second(torch.relu(y)) * mask.unsqueeze(-1)
        return torch.as_tensor(y.sum(1) / mask.sum(1, keepdim=True))


def batch(filling: float) -> Batch:
    torch.manual_seed(1)
    x, mask = torch.randn(32, 5, 6), torch.arange(5)[None] < torch.randint(2, 6, (32, 1))
    x = torch.where(mask.unsqueeze(-1), x, torch.full_like(x, filling))
    return Batch((x, mask), valid=mask)


class Once:
    """Examples of one batch."""

    order = "position"

    def __init__(self, whole: Batch) -> None:
        self.whole = whole

    def __len__(self) -> int:
        return self.whole.size

    def take(self, index: object) -> Once:
        return self

    def batches(self, size: int, **how: object) -> object:
        return iter([self.whole])


def test_ranges_and_moments_are_those_of_what_is_there() -> None:
    torch.manual_seed(0)
    model = Tokens().eval()
    quiet, loud = batch(0.0), batch(100.0)
    graph = trace(model, quiet.take(slice(0, 2)))
    names = {graph.node_of[n] for n in ("first", "second")}
    a, b = (collect(graph, [x], names) for x in (quiet, loud))
    assert all(a[n].high == b[n].high and np.array_equal(a[n].counts, b[n].counts) for n in names)
    groups = find_groups(model, quiet.args).groups
    assert groups
    one, other = (gather(graph, model, groups, x, rows_a_column=1e9) for x in (quiet, loud))
    for name in one.grams:
        assert one.grams[name].rows == int(quiet.valid.sum())  # type: ignore[union-attr]
        torch.testing.assert_close(one.grams[name].products, other.grams[name].products)


def test_norms_are_those_of_what_is_there() -> None:
    found = []
    for filling in (0.0, 100.0):
        torch.manual_seed(0)
        model = Tokens()
        reestimate_batch_norm(model, Once(batch(filling)))  # type: ignore[arg-type]
        centred = Tokens()
        centred.load_state_dict(model.state_dict())
        centre_batch_norm(centred, Once(batch(filling)))  # type: ignore[arg-type]
        found.append((model.norm.running_mean, model.norm.running_var, centred.norm.weight, centred.norm.bias))
    for quiet, loud in zip(*found, strict=True):
        torch.testing.assert_close(quiet, loud)


def test_what_norms_give_traced_values_is_of_what_is_there() -> None:
    torch.manual_seed(0)
    model = Tokens().eval()
    found = []
    for filling in (0.0, 100.0):
        whole = batch(filling)
        graph = trace(model, whole.take(slice(0, 2)), fold=False)
        names = [n.name for n in graph.module.graph.nodes if n.op == "placeholder"]
        values = dict(zip(names, graph.flat(whole), strict=True))
        for node in graph.module.graph.nodes:
            if node.op == "get_attr":
                values[node.name] = dict(graph.module.named_parameters()) | dict(graph.module.named_buffers())
                values[node.name] = values[node.name][str(node.target)]
            elif node.op == "call_function":
                args = torch.fx.node.map_arg(node.args, lambda n: values[n.name])  # noqa: B023
                values[node.name] = node.target(*args, **node.kwargs)
        (normed,) = statistics_of(graph.module.graph.nodes, values, whole).values()
        found.append(normed)
    for quiet, loud in zip(*found, strict=True):
        torch.testing.assert_close(quiet, loud)
