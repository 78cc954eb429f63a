"""Gathered rows times a layer's weight are what the layer gives; moments are those of the rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from compression.reconstruct.networks import Mixed, correlated, sample, warmed
from netsmith.compression.groups import find_groups
from netsmith.compression.reconstruct import gather
from netsmith.compression.reconstruct.windows import output_positions, rows
from netsmith.errors import InputError
from netsmith.network.graph import trace

LAYERS = {
    "1x1": (nn.Conv2d(4, 6, 1), (4, 7, 9)),
    "3x3": (nn.Conv2d(4, 6, 3, padding=1), (4, 7, 9)),
    "stride": (nn.Conv2d(4, 6, 3, stride=2, padding=1), (4, 8, 9)),
    "dilation": (nn.Conv2d(4, 6, 3, padding=2, dilation=2), (4, 8, 9)),
    "5x1": (nn.Conv2d(4, 6, (5, 1), stride=(2, 1), padding=(2, 0)), (4, 11, 5)),
    "same": (nn.Conv2d(4, 6, 4, padding="same"), (4, 7, 8)),
    "reflect": (nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect"), (4, 7, 8)),
    "1d": (nn.Conv1d(4, 6, 3, padding=1), (4, 9)),
    "linear": (nn.Linear(4, 6), (4,)),
    "tokens": (nn.Linear(4, 6), (5, 4)),
}


@pytest.mark.parametrize("kind", LAYERS)
def test_rows_times_the_weight_are_the_outputs(kind: str) -> None:
    layer, shape = LAYERS[kind]
    graph = trace(nn.Sequential(layer), shape)
    node = graph.node("0")
    x = sample(3, *shape)
    with torch.no_grad():
        y = layer(x)
        if node.target is not torch.ops.aten.linear.default:
            y = y.movedim(1, -1)
        y = y.reshape(3, -1, 6)
        read = x
        if kind == "reflect":
            read = nn.functional.pad(x, (1, 1, 1, 1), mode="reflect")
        assert output_positions(node, x) == y.shape[1]
        positions = torch.from_numpy(np.random.default_rng(0).permutation(y.shape[1])[:4])
        got = rows(node, read, positions) @ layer.weight.flatten(1).T + layer.bias
    torch.testing.assert_close(got.reshape(3, -1, 6), y[:, positions], rtol=1e-4, atol=1e-5)


def test_moments_are_those_of_the_whole_im2col_where_every_position_is_taken() -> None:
    images = correlated(12)
    model = warmed(Mixed(), images)
    graph = trace(model, (3, 10, 10))
    report = find_groups(model, images[:2])
    moments = gather(graph, model, report.groups, images, rows_a_column=1e9, batch=5)
    read: dict[str, torch.Tensor] = {}
    hook = model.wide.register_forward_pre_hook(lambda m, args: read.update(wide=args[0]))
    with torch.no_grad():
        model(images)
    hook.remove()
    x = nn.functional.unfold(read["wide"], 3, dilation=2, padding=2).transpose(1, 2).reshape(-1, 8 * 9).double()
    gram = moments.grams["wide"]
    assert gram.rows == len(x) == 12 * 25
    torch.testing.assert_close(gram.products, x.T @ x / len(x), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(gram.means, x.mean(dim=0), rtol=1e-4, atol=1e-6)


def test_sampling_follows_the_seed_and_takes_enough_rows() -> None:
    images = correlated(40)
    model = warmed(Mixed(), images)
    graph = trace(model, (3, 10, 10))
    groups = find_groups(model, images[:2]).groups
    one, again, other = (gather(graph, model, groups, images, seed=s, rows_a_column=5) for s in (0, 0, 1))
    for name, gram in one.grams.items():
        assert torch.equal(gram.products, again.grams[name].products)
        columns = len(gram.means)
        most = 40 * output_positions(graph.node(name), images.flatten(1))
        assert gram.rows >= min(5 * columns, most) and gram.rows >= min(400, most)
    assert not torch.equal(one.grams["wide"].products, other.grams["wide"].products)


def test_what_cannot_be_repaired_is_listed_with_a_reason() -> None:
    images = correlated(4)
    model = warmed(Mixed(), images)
    graph = trace(model, (3, 10, 10))
    groups = find_groups(model, images[:2]).groups
    moments = gather(graph, model, groups, images, memory=24 * 3 * 75.0**2)
    assert set(moments.skipped) == {"grouped", "head", "outer"}
    assert "convolution groups" in moments.skipped["grouped"] and "GB" in moments.skipped["head"]
    assert set(moments.grams) == {"down", "inner", "wide", "point", "join"}
    with pytest.raises(InputError, match="NaN"):
        gather(graph, model, groups, images * float("nan"))


class SequenceFirst(nn.Module):
    """Two linear layers on ``(S, N, C)``: the batch is in the middle, as transformers have it by default."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 8), nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.second(torch.relu(self.first(x.transpose(0, 1))))
        return y.mean(dim=0)


def test_a_last_batch_of_another_size_is_sampled_where_the_batch_is_in_the_middle() -> None:
    model = SequenceFirst().eval()
    images = sample(65, 5, 4)  # 64 and then one
    graph, report = trace(model, (5, 4)), find_groups(model, images[:2])
    moments = gather(graph, model, report.groups, images, rows_a_column=1e9)
    with torch.no_grad():
        x = torch.relu(model.first(images)).double().reshape(-1, 8)
    torch.testing.assert_close(moments.grams["second"].products, x.T @ x / len(x), rtol=1e-5, atol=1e-7)
