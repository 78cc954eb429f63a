"""Tracing: the graph computes what the network computes, and its table counts what the network does."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from netsmith.errors import InputError
from netsmith.network.graph import trace
from netsmith.network.layers import KIND, MAPS, MIXED
from netsmith.network.load import load_model
from netsmith.network.passes import BATCH_NORMS


class Control(nn.Module):
    """Python control flow on shapes and attributes, which symbolic tracing cannot follow."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(3 if i == 0 else 8, 8, 3, padding=1) for i in range(3))
        self.norm = nn.BatchNorm2d(8)
        self.head = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for i, layer in enumerate(self.layers):
            y = layer(x)
            y = self.norm(y) if i == 0 else y
            x = y.relu_() if x.shape[1] != y.shape[1] or i % 2 else x + y
        return self.head(x.mean((2, 3)))


class Attention(nn.Module):
    def __init__(self, heads: int = 2, width: int = 16) -> None:
        super().__init__()
        self.heads, self.qkv, self.out = heads, nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.flatten(2).transpose(1, 2)
        b, t, c = x.shape
        q, k, v = self.qkv(x).reshape(b, t, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        y = nn.functional.scaled_dot_product_attention(q, k, v)
        return self.out(y.transpose(1, 2).reshape(b, t, c)).mean(1)


def assert_traced_alike(model: nn.Module, shape: tuple[int, ...]) -> None:
    graph = trace(model, shape)
    x = torch.randn(5, *shape)
    with torch.no_grad():
        torch.testing.assert_close(graph.module(x), model(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(3, 8, 8), (3, 9, 7)])
def test_control_flow(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    assert_traced_alike(Control().eval(), shape)


@pytest.mark.parametrize("spec", ["zoo:cifar_resnet20", "zoo:plain20", "zoo:digits", "zoo:mobilenet_v2?width=0.25"])
def test_folding_keeps_the_function(spec: str) -> None:
    model = load_model(spec).model
    torch.manual_seed(1)
    for m in model.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.running_mean.normal_()
            m.running_var.uniform_(0.5, 2.0)
            m.weight.data.uniform_(0.5, 1.5)
            m.bias.data.normal_()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    assert_traced_alike(model, (1, 8, 8) if spec == "zoo:digits" else (3, 32, 32))
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_table_counts() -> None:
    table = trace(load_model("zoo:cifar_resnet20").model, (3, 32, 32)).layers
    assert table.macs.sum() == 40_551_040
    assert table.names[0] == "conv1" and "layer1.0.conv1" in table.names and "linear" in table.names
    # 269,722 parameters without those of the batch norms, 2 * (7 * 16 + 6 * 32 + 6 * 64), and the last bias, 10
    assert int(table.weights.sum()) == 269_722 - 2 * 688 - 10
    first = table.row(0)
    assert (first["c_in"], first["c_out"], first["h_out"], first["bias"]) == (3, 16, 32, 1)


def test_attention_rows() -> None:
    table = trace(Attention().eval(), (16, 4, 4)).layers
    row = table.row(list(table.kind).index(KIND["matmul"]))
    assert row["groups"] == 2
    macs = int(table.macs[list(table.kind).index(KIND["matmul"])])
    assert macs == 2 * 16 * 16 * 16  # two products of 16 tokens with 16 tokens over 16 channels
    assert table.macs[table.names.index("qkv")] == 16 * 16 * 48


def test_grouped_and_depthwise() -> None:
    model = nn.Sequential(nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 16, 1, groups=2), nn.Flatten(), nn.Linear(64, 3))
    table = trace(model.eval(), (8, 4, 4)).layers
    assert table.macs[0] == 8 * 9 * 4 and table.is_depthwise[0]
    assert table.macs[1] == 8 * 16 // 2 * 4 and not table.is_depthwise[1]


def test_shared_weight_is_frozen() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norms = nn.Conv2d(4, 4, 1), nn.ModuleList(nn.BatchNorm2d(4) for _ in range(2))
            torch.nn.init.uniform_(self.norms[0].weight)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.norms[1](self.conv(self.norms[0](self.conv(x)))).mean((2, 3))

    model = Twice().eval()
    assert_traced_alike(model, (4, 5, 5))
    assert trace(nn.Sequential(model), (4, 5, 5), fold=False).layers.frozen


class Looped(nn.Module):
    """A convolution called twice, with one norm behind both calls or one behind each, and a bias of two layers."""

    def __init__(self, norms: int) -> None:
        super().__init__()
        self.conv, self.other = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)
        self.norms = nn.ModuleList(nn.BatchNorm2d(4) for _ in range(norms))
        for norm in self.norms:
            nn.init.uniform_(norm.weight)
        self.other.bias = self.conv.bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for i in range(2):
            x = self.norms[i % len(self.norms)](self.conv(x)).relu()
        return self.other(x).mean((2, 3))


@pytest.mark.parametrize("norms", [1, 2])
def test_folding_copies_no_weight(norms: int) -> None:
    model = Looped(norms).eval()
    assert_traced_alike(model, (4, 5, 5))
    graph = trace(model, (4, 5, 5))
    weights = [p.shape for p in graph.module.parameters() if p.dim() == 4]
    assert len(weights) == 2  # one each for the convolutions, however often they are called
    left = sum(n.target in BATCH_NORMS for n in graph.module.graph.nodes)
    assert left == (0 if norms == 1 else 2)
    assert graph.layers.frozen == dict.fromkeys(["conv", "conv#2"], "its weight is used more than once")


def test_biases_that_are_computed_are_left_alone() -> None:
    class Parts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(16, 4, kdim=8, vdim=8, batch_first=True)  # three weights, one bias

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            tokens, x = x.reshape(-1, 4, 16), x.squeeze(1)
            return self.attention(tokens, x, x, need_weights=False)[0].mean(1)

    frozen = trace(Parts().eval(), (1, 8, 8)).layers.frozen
    assert list(frozen.values()).count("its bias is computed in the forward") == 3


def test_complex_numbers_are_read_in_any_layout() -> None:
    class Filter(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(2, 8, 5, 2))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.fft.irfft2(torch.fft.rfft2(x) * torch.view_as_complex(self.weight), s=(8, 8)).mean((2, 3))

    model = Filter().eval()
    module, x = trace(model, (2, 8, 8)).module, torch.randn(3, 2, 8, 8)
    want = model(x)
    module.weight.data = module.weight.data.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(module(x), want)


@pytest.mark.parametrize("size", [len, lambda x: x.shape[0]])
def test_a_batch_that_is_fixed_by_its_number_is_said(size: Callable[[torch.Tensor], int]) -> None:
    class Flat(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x.reshape(size(x), -1))

    graph = trace(Flat(64, 4).eval(), (1, 8, 8))
    assert bool(graph.warnings) == (not graph.dynamic_batch) == (size is len)


def test_layout_follows_convolutions() -> None:
    table = trace(load_model("zoo:cifar_resnet20").model, (3, 32, 32)).layers
    adds = {n: int(table.layout[i]) for i, n in enumerate(table.names) if n.endswith("/add")}
    assert adds["layer1.1/add"] == MAPS and adds["layer2.0/add"] == MIXED


@pytest.mark.parametrize(
    ("model", "shape", "words"),
    [
        (nn.Sequential(nn.Conv2d(3, 4, 3)), (1, 8, 8), "--input"),
        (nn.Sequential(nn.Flatten(), nn.Linear(10, 2)), (3, 8, 8), "--input"),
    ],
)
def test_wrong_shape_is_one_sentence(model: nn.Module, shape: tuple[int, ...], words: str) -> None:
    with pytest.raises(InputError, match=words):
        trace(model, shape)


@pytest.mark.parametrize("name", ["code", "meta"])
def test_names_that_traced_networks_have_themselves_are_one_sentence(name: str) -> None:
    model = nn.Sequential()
    model.add_module(name, nn.Linear(8, 4))
    with pytest.raises(InputError, match=f"the layer '{name}' has the name of an attribute"):
        trace(model, (8,))
    trace(nn.Sequential(model), (8,))


def test_data_dependent_control_flow_is_one_sentence() -> None:
    class Branchy(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * 2 if x.sum() > 0 else x.flatten(1)

    with pytest.raises(InputError, match="values of tensors"):
        trace(Branchy(), (3, 4, 4))


class Twice(nn.Module):
    """A block that has two names."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.block = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
        self.again = self.block

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.Tensor(self.again(self.block(self.stem(x))).mean((2, 3)))


@pytest.mark.parametrize("fold", [True, False])
def test_a_module_with_two_names_has_the_first_one(fold: bool) -> None:
    model, x = Twice().eval(), torch.randn(2, 1, 6, 6)
    graph = trace(model, (1, 6, 6), fold=fold)
    assert [name for name in graph.layers.names if name.startswith("block.0")] == ["block.0", "block.0#2"]
    assert not any("again" in name for name in graph.layers.names)
    assert torch.allclose(graph.module(x), model(x), atol=1e-5)
