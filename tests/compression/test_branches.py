"""Residual branches: found in every style of block, and gone without a trace in the outputs."""

from __future__ import annotations

import importlib.util

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from netsmith.compression import Branch, ZeroBranch, drop_branches, find_branches, find_groups, masked
from netsmith.compression.prune import prune
from netsmith.compression.trial import randomized, same
from netsmith.network.zoo.cifar_resnet import cifar_resnet

IMAGE = torch.randn(2, 3, 16, 16)


class Bottleneck(nn.Module):
    """As in torchvision: one ReLU module for all places, and an addition in place."""

    def __init__(self, c_in: int, c: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(c_in, c, 1, bias=False), nn.BatchNorm2d(c)
        self.conv2, self.bn2 = nn.Conv2d(c, c, 3, stride, 1, bias=False), nn.BatchNorm2d(c)
        self.conv3, self.bn3 = nn.Conv2d(c, 4 * c, 1, bias=False), nn.BatchNorm2d(4 * c)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride > 1 or c_in != 4 * c:
            self.downsample = nn.Sequential(nn.Conv2d(c_in, 4 * c, 1, stride, bias=False), nn.BatchNorm2d(4 * c))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        identity = x
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        if self.downsample is not None:
            identity = self.downsample(x)
        out += identity
        return self.relu(out)


class InvertedResidual(nn.Module):
    def __init__(self, c: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(c, 4 * c, 1), nn.BatchNorm2d(4 * c), nn.ReLU6(),
            nn.Conv2d(4 * c, 4 * c, 3, padding=1, groups=4 * c), nn.BatchNorm2d(4 * c), nn.ReLU6(),
            nn.Conv2d(4 * c, c, 1), nn.BatchNorm2d(c),
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.conv(x)


class PreActivation(nn.Module):
    def __init__(self, c_in: int, c: int, stride: int) -> None:
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(c_in), nn.Conv2d(c_in, c, 3, stride, 1, bias=False)
        self.bn2, self.conv2 = nn.BatchNorm2d(c), nn.Conv2d(c, c, 3, 1, 1, bias=False)
        self.short = nn.Conv2d(c_in, c, 1, stride, bias=False) if stride > 1 else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pre = F.relu(self.bn1(x))
        return self.conv2(F.relu(self.bn2(self.conv1(pre)))) + self.short(
            pre if self.short.__class__ is nn.Conv2d else x
        )


class LayerScale(nn.Module):
    """A ConvNeXt block: the last factor of the branch is a bare parameter of the block."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.dw, self.norm = nn.Conv2d(c, c, 3, padding=1, groups=c), nn.LayerNorm(c)
        self.fc1, self.fc2 = nn.Linear(c, 4 * c), nn.Linear(4 * c, c)
        self.gamma = nn.Parameter(torch.full((c,), 1e-6))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm(self.dw(x).permute(0, 2, 3, 1))
        y = self.gamma * self.fc2(F.gelu(self.fc1(y)))
        return x + y.permute(0, 3, 1, 2)


class Encoder(nn.Module):
    """torch's own attention, which yields a tuple, as in torchvision's ViT."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(c), nn.MultiheadAttention(c, 2, batch_first=True)
        self.norm2, self.mlp = nn.LayerNorm(c), nn.Sequential(nn.Linear(c, 2 * c), nn.GELU(), nn.Linear(2 * c, c))
        self.dropout = nn.Dropout(0.1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b, c, h, w = x.shape
        x = x.flatten(2).transpose(1, 2)
        y = self.norm1(x)
        y, _ = self.attention(y, y, y, need_weights=False)
        x = x + self.dropout(y)
        x = x + self.mlp(self.norm2(x))
        return x.transpose(1, 2).reshape(b, c, h, w)


def between(*blocks: nn.Module, c_in: int = 8, c_out: int = 8) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, c_in, 3, 2, 1), *blocks, nn.Conv2d(c_out, 4, 1))


CASES = {
    "bottleneck": (lambda: between(Bottleneck(8, 4, 2), Bottleneck(16, 4), c_out=16), ["1.bn3", "2.bn3"]),
    "inverted residual": (lambda: between(InvertedResidual(8)), ["1.conv"]),
    "pre-activation": (
        lambda: between(PreActivation(8, 8, 1), PreActivation(8, 12, 2), c_out=12), ["1.conv2", "2.conv2"]
    ),
    "layer scale": (lambda: between(LayerScale(8)), ["1.fc2"]),
    "attention": (lambda: between(Encoder(8)), ["1.dropout", "1.mlp"]),
    "cifar": (lambda: cifar_resnet(8), [f"layer{i}.0.bn2" for i in (1, 2, 3)]),
}  # fmt: skip


def silence(model: nn.Module, branch: Branch) -> None:
    """Zero the branch by its weights: the last layer that has any."""
    path = branch.zero if list(model.get_submodule(branch.zero).parameters()) else branch.modules[-2]
    with torch.no_grad():
        last = [m for m in model.get_submodule(path).modules() if list(m.parameters(recurse=False))][-1]
        for p in last.parameters():
            p.zero_()
        if isinstance(last, nn.BatchNorm2d):
            last.running_mean.zero_()
        if "attention" in path:  # its out_proj is inside
            for p in model.get_submodule(path).out_proj.parameters():
                p.zero_()


@pytest.mark.parametrize("case", CASES)
def test_the_removed_branch_equals_one_with_zero_weights(case: str) -> None:
    make, zeros = CASES[case]
    model, (x,) = randomized(make(), IMAGE)
    branches = find_branches(model, IMAGE)
    assert [b.zero for b in branches] == zeros
    assert all(b.layers for b in branches) and len({b.name for b in branches}) == len(branches)
    with torch.no_grad():
        full = model(x)
        for some in ([b] for b in branches):
            silent, _ = randomized(make(), IMAGE)
            got, _ = randomized(make(), IMAGE)
            for b in some:
                silence(silent, b)
            drop_branches(got, some)
            assert same(silent(x), got(x)) and not same(full, got(x))
        small = drop_branches(model, branches)
        assert small(x).shape == full.shape
        assert any(isinstance(m, ZeroBranch) for m in small.modules())


def test_the_search_changes_nothing_and_odd_networks_have_no_branches() -> None:
    model = between(Bottleneck(8, 4, 2), c_out=16).train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    find_branches(model, IMAGE)
    assert model.training and all(torch.equal(v, before[k]) for k, v in model.state_dict().items())

    class Untraceable(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.a(x) if x.sum().item() > 0 else x

    assert find_branches(Untraceable(), torch.randn(2, 4)) == []
    assert find_branches(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2)), torch.randn(2, 4)) == []


def test_a_branch_that_something_else_reads_is_not_removable() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.a(x)
            return (x + y) * self.b(y)

    assert find_branches(Shared(), torch.randn(2, 4)) == []


def test_branches_that_shape_code_reads_are_left_out_but_others_stay() -> None:
    class Reads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = x + self.a(x) * self.a.weight.mean()
            return x + self.b(x)

    assert [b.name for b in find_branches(Reads(), torch.randn(2, 4))] == ["b"]


@pytest.mark.parametrize("make", [lambda: cifar_resnet(14, shortcut="B"), CASES["layer scale"][0]])
def test_channels_are_prunable_around_a_removed_branch(make: object) -> None:
    assert callable(make)
    model, (x,) = randomized(make(), IMAGE)
    drop_branches(model, find_branches(model, IMAGE)[::2])
    report = find_groups(model, IMAGE)
    zeros = {n for n, m in model.named_modules() if isinstance(m, ZeroBranch)}
    assert zeros & {m.layer for g in report.groups for m in g.outputs}
    keep = {g.name: range(g.channels // 2) for g in report.groups}
    with torch.no_grad():
        want = masked(model, report, keep)(x)
        prune(model, report, keep)
        assert same(want, model(x))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "convnext_atto", "mobilenetv3_small_050"])
def test_timm_networks(name: str) -> None:
    if importlib.util.find_spec("timm") is None:
        pytest.skip("timm is not installed")
    from torchvision_shim import torchvision_works

    if not torchvision_works():
        pytest.skip("torchvision cannot be imported, and timm needs it")
    import timm

    model, (x,) = randomized(timm.create_model(name), torch.randn(1, 3, 224, 224))
    branches = find_branches(model, x)
    count = {"vit_tiny_patch16_224": 24, "convnext_atto": 12}.get(name)
    if count is None:
        count = sum(getattr(m, "has_skip", False) for m in model.modules())
    assert len(branches) == count
    with torch.no_grad():
        drop_branches(model, branches)
        assert model(x).shape == (1, 1000)
