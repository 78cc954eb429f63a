"""Residual streams behind shortcuts that pad: all of their channels may leave, whoever wrote the padding."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from exact_pruning import exact, widths
from given import space_of
from netsmith.compression import Recipe, apply_recipe, channel_importance, find_branches, find_groups
from netsmith.compression.prune import masked, prune
from netsmith.compression.slicing import LayerKeep
from netsmith.compression.steps import PruneStep
from netsmith.compression.trial import randomized
from netsmith.decisions.slim import slim
from netsmith.decisions.tools import AtHand
from netsmith.export.onnx import to_onnx
from netsmith.export.parity import check_parity
from netsmith.export.pt2 import save_pt2
from netsmith.network.graph import trace
from netsmith.network.zoo.cifar_resnet import cifar_resnet
from random_networks import random_keep

IMAGE = torch.randn(2, 3, 8, 8)


class Written(nn.Module):
    """A function as a module: the numbers are nowhere to be found but in its code."""

    def __init__(self, function: Callable[..., torch.Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *x: torch.Tensor) -> torch.Tensor:
        return self.function(*x)


class Stage(nn.Module):
    """A residual block that has twice the channels; ``join`` makes the sum of both paths."""

    def __init__(self, shortcut: nn.Module, join: Callable[..., torch.Tensor] = lambda s, x, y: y + s(x)) -> None:
        super().__init__()
        self.stem, self.shortcut, self.join = nn.Conv2d(3, 8, 3, padding=1), shortcut, join
        self.conv1, self.bn1 = nn.Conv2d(8, 12, 3, 2, 1, bias=False), nn.BatchNorm2d(12)
        self.conv2, self.bn2 = nn.Conv2d(12, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        self.fc = nn.Linear(16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.stem(x))
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return self.fc(F.relu(self.join(self.shortcut, x, y)).mean((2, 3)))


def half(x: torch.Tensor) -> torch.Tensor:
    return x[:, :, ::2, ::2]


def both_sides(x: torch.Tensor) -> torch.Tensor:
    return F.pad(half(x), (0, 0, 0, 0, 3, 5), "constant", 0)


def behind(x: torch.Tensor, kind: str = "new_zeros") -> torch.Tensor:
    x = F.avg_pool2d(x, 2)
    shape = (x.shape[0], 8, *x.shape[2:])
    return torch.cat([x, x.new_zeros(shape) if kind == "new_zeros" else torch.zeros(shape, dtype=x.dtype)], 1)


def up_to(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return F.pad(half(x), (0, 0, 0, 0, 0, y.shape[1] - x.shape[1]))


def beside(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return torch.cat([x, torch.zeros(x.shape[0], y.shape[1] - x.shape[1], *x.shape[2:], dtype=x.dtype)], 1)


@pytest.mark.parametrize(
    ("model", "front", "after"),
    [
        (Stage(Written(both_sides)), 3, 5),
        (Stage(Written(both_sides), lambda s, x, y: s(x) + y), 3, 5),
        (Stage(Written(lambda x: F.relu(F.pad(half(x), (0, 0, 0, 0, 8, 0), value=0.5)))), 8, 0),
        (Stage(nn.Sequential(nn.AvgPool2d(2), nn.ConstantPad3d((0, 0, 0, 0, 2, 6), 0.0), nn.BatchNorm2d(16))), 2, 6),
        (Stage(Written(behind)), 0, 8),
        (Stage(Written(lambda x: behind(x, "zeros"))), 0, 8),
        (Stage(Written(both_sides), lambda s, x, y: y + s(x) + s(x * 2)), 3, 5),
        (Stage(Written(up_to), lambda s, x, y: s(x, y) + y), 0, 0),  # these count by themselves: nothing is cut
        (Stage(nn.Identity(), lambda s, x, y: up_to(x, y) + y), 0, 0),
        (Stage(nn.Identity(), lambda s, x, y: y + beside(half(x), y)), 0, 0),
    ],
)  # fmt: skip
def test_every_channel_of_a_padded_stream_may_leave(model: nn.Module, front: int, after: int) -> None:
    report = exact(model)
    assert widths(report) == {"stem": (8, 1), "conv1": (12, 1), "conv2": (8, 1)}
    assert set(report.frozen) == {"fc"}
    found = {e.behind: len(e.root) for e in report["conv2"].padded}
    assert found == {k: n for k, n in ((False, front), (True, after)) if n}


def test_what_is_padded_between_layers_by_fixed_numbers_stays() -> None:
    report = exact(Stage(nn.Identity(), lambda s, x, y: y + both_sides(x)))
    assert widths(report) == {"stem": (8, 1), "conv1": (12, 1)}


class Weighed(nn.Module):
    """A sum over tokens whose weights a column of ones behind the values adds up, as linear attention has it."""

    def __init__(self) -> None:
        super().__init__()
        self.values, self.weights, self.fc = nn.Linear(12, 16), nn.Linear(12, 6), nn.Linear(16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        v = F.pad(self.values(x), (0, 1), value=1.0)
        out = F.relu(self.weights(x)).transpose(1, 2) @ v
        return self.fc((out[..., :-1] / (out[..., -1:] + 1.0)).mean(1))


def test_what_is_padded_on_and_cut_off_again_ties_nothing() -> None:
    report = exact(Weighed(), torch.randn(2, 7, 12))
    assert widths(report)["values"] == (16, 1)


def test_a_network_that_was_cut_can_be_cut_again() -> None:
    model, (x,) = randomized(Stage(Written(both_sides)), IMAGE)
    first = prune(model, find_groups(model, IMAGE), {"conv2": [0, 1, 5, 6, 7], "stem": [1, 2, 6]})
    assert first.padding == {"shortcut": (1, 1, 2)}
    report = find_groups(model, IMAGE)
    assert widths(report) == {"stem": (3, 1), "conv1": (12, 1), "conv2": (5, 1)}
    keep = {"conv2": [1, 3], "stem": [0, 2]}
    with torch.no_grad():
        want = masked(model, report, keep)(x)
        second = prune(model, report, keep)
        torch.testing.assert_close(model(x), want, rtol=1e-10, atol=1e-12)
    assert second.padding == {"shortcut": (1, 1, 2)} and model.conv2.out_channels == 4
    again = apply_recipe(Stage(Written(both_sides)), Recipe.from_json(Recipe().then(first, second).to_json())).double()
    again.load_state_dict(model.state_dict(), strict=True)
    with torch.no_grad():
        torch.testing.assert_close(again.eval()(x), want, rtol=1e-10, atol=1e-12)


def test_a_pruned_stream_leaves_python_with_a_padding_of_its_size(tmp_path: Path) -> None:
    model = randomized(Stage(Written(both_sides)), IMAGE)[0].float()
    keep = {"stem": [0, 3, 4], "conv2": [0, 3, 4, 6]}
    small = copy.deepcopy(model)
    prune(small, find_groups(model, IMAGE), keep)
    graph = trace(small, (3, 8, 8))
    targets = {str(n.target) for n in graph.module.graph.nodes}
    assert "aten.pad.default" in targets and "aten.narrow.default" not in targets
    x = torch.randn(4, 3, 8, 8)
    onnx = tmp_path / "model.onnx"
    onnx.write_bytes(to_onnx(graph).SerializeToString())
    assert check_parity(graph.module, onnx, x, tolerance=1e-4).ok
    save_pt2(graph, tmp_path / "model.pt2")
    with torch.no_grad():
        torch.testing.assert_close(torch.export.load(str(tmp_path / "model.pt2")).module()(x), small(x))


def test_a_padding_of_which_nothing_is_left_is_no_operator() -> None:
    model = nn.Sequential(Written(lambda x: F.pad(x, (0, 0, 0, 0, 4, 2))), nn.Conv2d(9, 4, 1))
    step = PruneStep({"1": LayerKeep(inputs=(4, 5, 6))}, padding={"0": (1, 4, 2)})
    step.apply(model)
    nodes = trace(model, (3, 8, 8)).module.graph.nodes
    assert [str(n.target) for n in nodes if n.op == "call_function"] == ["aten.conv2d.default"]


def test_the_table_of_a_design_is_that_of_the_network_that_is_built() -> None:
    model = cifar_resnet(8).eval()
    image = torch.randn(1, 3, 16, 16)
    report, branches = find_groups(model, image), find_branches(model, image)
    space = space_of(trace(model, (3, 16, 16)), report, branches, quantize=False)
    importance, rng = channel_importance(model, report), np.random.default_rng(0)
    for _ in range(2):
        design = space.canonical(np.array([rng.integers(0, n) for n in space.decisions.sizes]))
        built = trace(slim(model, space, design, AtHand(importance)).model, (3, 16, 16)).layers
        said = space.rows(design)
        there = {n: i for i, n in enumerate(said.names) if said.calls[0, i]}
        assert {"linear", "layer3.0.shortcut/pad", "layer3.0.shortcut/slice"} < there.keys()
        for i, name in enumerate(built.names):
            if name in there or not name.endswith("/relu"):  # one that was fused into the addition of a gone branch
                at = there[name]
                assert (said.c_in[0, at], said.c_out[0, at]) == (built.c_in[i], built.c_out[i]), name


def test_random_widths_of_a_cifar_resnet_are_exact_in_doubles() -> None:
    model, (x,) = randomized(cifar_resnet(14), torch.randn(1, 3, 8, 8))
    report = find_groups(model, x.float())
    keep = random_keep(report, np.random.default_rng(5)) | {"layer2.0.conv2": [2, 9, 10], "layer3.0.conv2": range(20)}
    with torch.no_grad():
        want = masked(model, report, keep)(x)
        step = prune(model, report, keep)
        torch.testing.assert_close(model(x), want, rtol=1e-10, atol=1e-12)
    assert set(step.padding) == {"layer2.0.shortcut", "layer3.0.shortcut"}
