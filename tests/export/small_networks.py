"""Small networks, one for each way in which layers meet what stands around them; each takes ``(1, 4, 4)`` images."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F

Forward = Callable[..., torch.Tensor]


class Net(nn.Module):
    """A network of named layers and a function that runs them."""

    def __init__(self, forward: Forward, **layers: nn.Module) -> None:
        super().__init__()
        for name, layer in layers.items():
            self.add_module(name, layer)
        self.run = forward

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.run(self, x)


def linear(c_in: int = 16, c_out: int = 16, bias: bool = True) -> nn.Linear:
    return nn.Linear(c_in, c_out, bias=bias)


def conv(c_in: int = 6, c_out: int = 6, kernel: int = 3, **options: int) -> nn.Conv2d:
    return nn.Conv2d(c_in, c_out, kernel, padding=kernel // 2, **options)


def tokens(x: torch.Tensor) -> torch.Tensor:
    return x.reshape(x.shape[0], 4, 4)


def fan(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """A linear layer read by another layer and by an addition, a rectifier before an addition."""
    x = m.a(x.flatten(1))
    return m.fc(x + F.relu(m.b(x)))


def skipped(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
    x = F.relu(m.a(x.flatten(1)))
    return m.fc(x + F.relu(m.b(x)))


def twice(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
    x = F.relu(m.i(x))
    for _ in range(2):
        x = F.relu(m.bn(m.c(x)))
    return m.fc(x.mean((2, 3)))


def scales(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
    x = F.relu(m.i(x))
    out = [F.relu(bn(m.c(v))).mean((2, 3)) for v, bn in ((x, m.bn), (F.max_pool2d(x, 2), m.bn2))]
    return m.fc(torch.cat(out, 1))


def flattens(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
    return m.fc(F.relu(torch.cat([m.a(x.flatten(1)), m.b(torch.flatten(x, 1))], 1)))


def attention(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
    q, k, v = m.qkv(tokens(x)).chunk(3, -1)
    return m.fc(m.out(F.scaled_dot_product_attention(q, k, v)).mean(1))


def mixer(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
    x = m.a(tokens(x))
    return m.fc((x + F.relu(m.b(x)) + F.silu(m.c(F.gelu(x)))).mean(1))


def gates(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
    x = F.hardswish(m.a(x))
    x = x * torch.sigmoid(m.c(F.relu6(m.b(x.mean((2, 3), keepdim=True)))))
    return m.fc((x + F.silu(m.d(x))).mean((2, 3)))


def decoder(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
    x = F.relu(m.a(x.flatten(1))).view(-1, 4, 2, 2)
    return m.fc(F.relu(m.up(x)).mean((2, 3)))


def lines(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
    x = F.relu(m.a(x.flatten(2)))
    x = F.relu(m.b(x)).unsqueeze(2).unflatten(3, (4, 4))
    return m.fc(F.relu(m.c(x)).mean((2, 3, 4)))


def groups(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
    return m.fc(F.relu(m.a(x) + m.c(F.relu(m.b(m.a(x))))).amax((2, 3)))


def bounds(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
    x = x.flatten(1)
    return m.fc(F.relu(m.a(x.clamp(-1, 0.5))) * m.b(x.clamp(0, 2)))


def shared_bias() -> nn.Module:
    net = Net(lambda m, x: m.fc(F.relu(m.b(F.relu(m.a(x.flatten(1)))))), a=linear(), b=linear(), fc=linear(16, 5))
    net.b.bias = net.a.bias
    return net


def tied() -> nn.Module:
    """An embedding and the output layer share their weight, which stays in floats behind an integer layer."""

    def run(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
        levels = (x.flatten(1) * 3).abs().clamp(0, 4).long()
        return m.fc(F.relu(m.a(m.e(levels).mean(1))))

    net = Net(run, e=nn.Embedding(5, 16), a=linear(), fc=linear(16, 5, bias=False))
    net.fc.weight = net.e.weight
    return net


def equal_layers() -> nn.Module:
    """Layers of equal values, which an exporter stores once, and of zeros, of which biases alone are left."""
    net = Net(flattens, a=linear(), b=linear(), fc=linear(32, 5))
    net.b.load_state_dict(net.a.state_dict())
    with torch.no_grad():
        net.b.bias.mul_(50)
    return net


def names() -> nn.Module:
    """Paths that are one name when dots are underscores, and a parameter called as integers are."""
    net = Net(lambda m, x: m.fc(F.relu(m.a_b(F.relu(m.a.b(x.flatten(1)))))) + m.fc.weight_q, fc=linear(16, 5))
    net.add_module("a_b", linear())
    net.add_module("a", nn.Module())
    net.a.add_module("b", linear())
    net.fc.register_parameter("weight_q", nn.Parameter(torch.randn(5)))
    return net


#: name -> how to make it; those of the first half are tried in every test run
NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "skipped": lambda: Net(skipped, a=linear(), b=linear(), fc=linear(16, 5)),
    "twice": lambda: Net(twice, i=conv(1), c=conv(), bn=nn.BatchNorm2d(6), fc=linear(6, 5)),
    "flattens": lambda: Net(flattens, a=linear(), b=linear(16, 8), fc=linear(24, 5)),
    "mixer": lambda: Net(mixer, a=linear(4, 8, False), b=linear(8, 8, False), c=linear(8, 8), fc=linear(8, 5)),
    "shared bias": shared_bias,
    "fan": lambda: Net(fan, a=linear(), b=linear(), fc=linear(16, 5)),
    "scales": lambda: Net(
        scales, i=conv(1), c=conv(), bn=nn.BatchNorm2d(6), bn2=nn.BatchNorm2d(6), fc=linear(12, 5)
    ),
    "tied": tied,
    "equal layers": equal_layers,
    "names": names,
    "attention": lambda: Net(attention, qkv=linear(4, 24), out=linear(8, 8), fc=linear(8, 5)),
    "gates": lambda: Net(gates, a=conv(1), b=conv(6, 2, 1), c=conv(2, 6, 1), d=conv(), fc=linear(6, 5)),
    "decoder": lambda: Net(decoder, a=linear(), up=nn.ConvTranspose2d(4, 6, 2, 2), fc=linear(6, 5)),
    "lines": lambda: Net(
        lines, a=nn.Conv1d(1, 6, 3), b=nn.Conv1d(6, 6, 3, padding=2, groups=6),
        c=nn.Conv3d(6, 8, (1, 3, 3), groups=2), fc=linear(8, 5),
    ),
    "groups": lambda: Net(groups, a=conv(1), b=conv(groups=3), c=conv(dilation=1, groups=6), fc=linear(6, 5)),
    "bounds": lambda: Net(bounds, a=linear(), b=linear(), fc=linear(16, 5)),
}  # fmt: skip
EVERY_RUN = list(NETWORKS)[:5]
