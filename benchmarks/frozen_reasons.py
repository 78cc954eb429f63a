"""Is what is said of frozen layers so? Each is pruned by itself, and the failure is compared with the stated reason.

For every frozen layer of 30 networks half of its output channels are cut off, and what obviously follows: the inputs
of the layers and the norms that these channels reach alone. Where they reach is found without netsmith's groups: they
are set to NaN, and hooks see which channels of which layer arrive as NaN. Then the cut network runs: it fails (where?),
or its output has another shape, or is not that of the whole network with those channels zero.

With --peer, the share of output channels that may leave is compared with Torch-Pruning's: of its groups, each on a copy
of its own, those count after whose pruning by half the output is that of the network with these channels masked, all
channels of their layers. netsmith's groups have passed the same.

    python benchmarks/frozen_reasons.py [--peer] [NETWORK ...]
"""

from __future__ import annotations

import argparse
import copy
import re
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from common import ROOT, allow_torchvision
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from netsmith.compression.channels import ChannelGroup, GroupReport, Member
from netsmith.compression.groups import find_groups
from netsmith.compression.layers import sides_of
from netsmith.compression.prune import masked
from netsmith.compression.slicing import LayerKeep, slice_layer
from netsmith.compression.trial import randomized, same, where
from netsmith.network.load import load_model

NETWORKS = (
    "zoo:cifar_resnet20", "zoo:digits", "zoo:mobilenet_v2", "zoo:squeezenet1_1", "timm:resnet18", "timm:regnetx_002",
    "timm:convnextv2_atto", "timm:vit_tiny_patch16_224", "timm:levit_128s", "timm:poolformer_s12", "timm:rexnet_100",
    "timm:inception_next_atto", "timm:efficientvit_b0", "timm:mixer_s32_224", "timm:pvt_v2_b0",
    "torchvision:shufflenet_v2_x1_0", "torchvision:googlenet", "GroupedPair", "GroupedUp", "Shuffled",
    "PlainAttention", "RootMeanSquare", "Normalised", "Decoder", "SliceAdd", "Functional", "ConstantProduct", "Res2",
    "TinySwin", "Encoder",
)  # fmt: skip
_WHOLE = ("timm:vit_tiny_patch16_224", "timm:levit_128s", "timm:mixer_s32_224")  # made for one size of images
_ARGUMENTS: dict[str, tuple[Any, ...]] = {"Normalised": (True,), "Res2": (True,)}


class Encoder(nn.Module):
    """A transformer of torch's own layers, and a layer whose weight is normed."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, 16, 4, 4)
        self.layers = nn.Sequential(*(nn.TransformerEncoderLayer(16, 4, 32, batch_first=True) for _ in range(2)))
        self.mid, self.unused = nn.utils.parametrizations.weight_norm(nn.Linear(16, 12)), nn.Linear(4, 4)
        self.fc = nn.Linear(12, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(torch.relu(self.mid(self.layers(self.embed(x).flatten(2).transpose(1, 2)).mean(1))))


def build(spec: str) -> tuple[nn.Module, torch.Tensor]:
    """A network and an example input."""
    torch.manual_seed(0)
    if ":" in spec:
        small = not spec.startswith("zoo") and spec not in _WHOLE
        shape = (3, 64, 64) if small else None  # what fails does not depend on the size of an image
        loaded = load_model(spec, num_classes=None if spec.startswith("zoo") else 10, input_shape=shape)
        return loaded.model.eval(), loaded.example_input()
    import situations

    model = Encoder() if spec == "Encoder" else getattr(situations, spec)(*_ARGUMENTS.get(spec, ()))
    return model.eval(), torch.randn(2, 3, *((16, 16) if spec == "TinySwin" else (8, 8)))


# --- one layer, pruned by itself ------------------------------------------------------------------------------------


def channel_dim(module: nn.Module, x: torch.Tensor) -> int:
    return x.dim() - 1 if isinstance(module, (nn.Linear, nn.LayerNorm, nn.RMSNorm)) else 1


def reached(probe: nn.Module, inputs: tuple[Any, ...], layer: str, gone: list[int]) -> tuple[dict[str, list[int]], Any]:
    """Which input channels of which layers hold what these channels of ``layer`` say alone, and the output without."""
    found: dict[str, list[int]] = {}
    hooks = []

    def drop(m: nn.Module, _: Any, y: torch.Tensor) -> torch.Tensor:
        return y.index_fill(channel_dim(m, y), torch.tensor(gone), torch.nan)

    def note(name: str) -> Callable[..., Any]:
        def hook(m: nn.Module, args: tuple[Any, ...]) -> Any:
            x = args[0]
            if not isinstance(x, torch.Tensor) or not x.is_floating_point() or not x.isnan().any():
                return None
            d = channel_dim(m, x)
            whole = x.isnan().movedim(d, 0).flatten(1).all(1)
            found[name] = whole.nonzero().squeeze(1).tolist()
            return None if isinstance(m, _NormBase) else (x.nan_to_num(nan=0.0), *args[1:])

        return hook

    cut = (_ConvNd, nn.Linear, _NormBase, nn.LayerNorm, nn.RMSNorm, nn.GroupNorm)
    for name, m in probe.named_modules():
        if isinstance(m, cut):
            hooks.append(m.register_forward_pre_hook(note(name)))
    hooks.append(probe.get_submodule(layer).register_forward_hook(drop))
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad():
            out = probe(*inputs)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for h in hooks:
            h.remove()
    return found, out


def outcome(probe: nn.Module, inputs: tuple[Any, ...], layer: str) -> str:
    """What happens without half of the outputs of ``layer``."""
    module = probe.get_submodule(layer)
    if "weight" not in module._parameters:
        return "computed"
    noisy = copy.deepcopy(probe)
    with torch.no_grad():
        weight = noisy.get_submodule(layer).weight
        weight.add_(torch.randn_like(weight))
        if same(noisy(*inputs), probe(*inputs)):
            return "no part"
    n = module.out_channels if isinstance(module, _ConvNd) else module.out_features
    if n < 2:
        return "one channel"
    groups = getattr(module, "groups", 1)
    gone = [i for i in range(n) if i % (n // groups) >= max(n // groups // 2, 1)] or list(range(n // 2))
    found, want = reached(probe, inputs, layer, gone)
    small = copy.deepcopy(probe)
    try:
        for name, channels in found.items():
            m = small.get_submodule(name)
            size = _inputs(m)
            kept = tuple(sorted(set(range(size)) - set(channels)))
            one_sided = not isinstance(m, (_ConvNd, nn.Linear)) or getattr(m, "groups", 1) == size > 1
            slice_layer(m, LayerKeep(None, kept) if one_sided else LayerKeep(kept, None), name)
        slice_layer(small.get_submodule(layer), LayerKeep(None, tuple(sorted(set(range(n)) - set(gone)))), layer)
        with torch.no_grad():
            got = small(*inputs)
    except Exception as error:
        return f"fails{where(error)}"
    if isinstance(got, torch.Tensor) and got.shape != want.shape:
        return "output"
    return "nothing" if same(want, got) else "changes"


def _inputs(m: Any) -> int:
    for name in ("in_channels", "in_features", "num_features", "num_channels"):
        if hasattr(m, name):
            return int(getattr(m, name))
    return int(m.normalized_shape[0])


def agrees(reason: str, found: str) -> bool:
    """Whether what happened is what the reason says would."""
    for said, kinds in (
        ("takes no part", ("no part",)), ("its weight is computed", ("computed",)), ("one output channel", ("one ch",)),
        ("network's output", ("output", "fails")),
    ):  # fmt: skip
        if said in reason:
            return found.startswith(kinds)
    line = re.search(r" in (\S+, line \d+)", reason)
    if "the forward fails" in reason and line:  # at that line, or where a group that is only partly cut stops before
        return found.startswith("fails")
    return found.startswith(("fails", "changes", "output"))


def same_line(reason: str, found: str) -> bool:
    lines = [re.search(r" in (\S+, line \d+)", text) for text in (reason, found)]
    return all(lines) and lines[0].group(1) == lines[1].group(1)  # type: ignore[union-attr]


# --- what may leave -------------------------------------------------------------------------------------------------


def share(report: GroupReport) -> tuple[int, int]:
    """Output channels that may leave, and all."""
    free: dict[str, set[int]] = {}
    for g in report.groups:
        for m in g.outputs:
            if m.layer in report.counts:
                free.setdefault(m.layer, set()).update(m.index.tolist())
    return sum(map(len, free.values())), sum(c for _, c in report.counts.values())


def peer_share(model: nn.Module, x: torch.Tensor) -> tuple[int, int]:
    """The same of Torch-Pruning: what is left of a group pruned by half computes what the masked network does."""
    import torch_pruning as tp

    probe, inputs = randomized(model, x)
    layers = {n: m for n, m in probe.named_modules() if isinstance(m, (_ConvNd, nn.Linear))}
    free: dict[str, set[int]] = {}
    seen: set[str] = set()
    for name in layers:
        if name in seen:
            continue
        try:
            small = copy.deepcopy(probe)
            graph = tp.DependencyGraph().build_dependency(small, inputs, verbose=False)
            names = {m: n for n, m in small.named_modules()} | {p: n for n, p in small.named_parameters()}
            m = small.get_submodule(name)
            n, groups = graph.get_out_channels(m), getattr(m, "groups", 1)
            per = n // groups if groups < n else n
            gone = [i for i in range(n) if i % per >= per // 2]
            group = graph.get_pruning_group(m, graph.get_pruner_of_module(m).prune_out_channels, gone)
            if not graph.check_pruning_group(group):
                continue
            ours = _as_group(group, names, probe)
            group.prune()
            with torch.no_grad():
                want = masked(probe, GroupReport([ours], {}, {}), {ours.name: [0]})(*inputs)
                if same(want, small(*inputs)):
                    for member in ours.outputs:
                        free.setdefault(member.layer, set()).update(range(member.size))
                        seen.add(member.layer)
        except Exception:  # it does not follow this layer, or what is left does not run
            continue
    report = find_counts(layers)
    return sum(c for n, c in report.items() if n in free), sum(report.values())


def find_counts(layers: dict[str, nn.Module]) -> dict[str, int]:
    return {n: m.out_channels if isinstance(m, _ConvNd) else m.out_features for n, m in layers.items()}  # type: ignore[misc]


def _as_group(group: Any, names: dict[Any, str], probe: nn.Module) -> ChannelGroup:
    """What Torch-Pruning cuts together, as a group of two channels of which the second goes."""
    sides: tuple[dict[str, Member], dict[str, Member]] = ({}, {})
    for dep, gone in group:
        target = dep.target.module
        if target not in names:
            continue
        name, dim, out = names[target], None, "in_channels" not in dep.handler.__name__
        if isinstance(target, nn.Parameter):
            dim = dep.target.pruning_dim % target.dim()
            size = target.shape[dim]
        elif isinstance(target, (_ConvNd, nn.Linear)):
            size = sides_of(target)[out]
        elif isinstance(target, (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.PReLU)):
            size, out = _inputs(target) if not isinstance(target, nn.PReLU) else target.num_parameters, True
        else:
            continue
        if not out and getattr(target, "groups", 1) == size > 1:
            continue
        side = sides[not out]
        index = np.unique(np.concatenate([np.asarray(gone), side[name].index if name in side else []]).astype(int))
        side[name] = Member(name, size, index, np.ones(len(index), dtype=np.int64), dim)
    return ChannelGroup("its", 2, 1, tuple(sides[0].values()), tuple(sides[1].values()), meeting=True)


def main() -> None:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("networks", nargs="*", default=list(NETWORKS))
    made.add_argument("--peer", action="store_true", help="compare with what Torch-Pruning can prune")
    args = made.parse_args()
    sys.path.insert(0, str(ROOT / "tests"))
    allow_torchvision()
    kinds: Counter[tuple[str, str]] = Counter()
    right = layers = lines = stated = 0
    shares: list[list[float]] = []
    for spec in args.networks:
        start = time.process_time()
        model, x = build(spec)
        report = find_groups(model, x)
        probe, inputs = randomized(model, x)
        wrong = []
        for layer, reason in report.frozen.items():
            found = outcome(probe, inputs, layer)
            layers += 1
            kinds[re.sub(r"( in \S+, line .*|'[^']*')", "", reason), re.sub(r" in .*", "", found)] += 1
            if "the forward fails" in reason:
                stated, lines = stated + 1, lines + same_line(reason, found)
            if agrees(reason, found):
                right += 1
            else:
                wrong.append(f"    {layer}: said {reason!r}, found {found!r}")
        free, total = share(report)
        row = [free / total]
        if args.peer:
            row.append(peer_share(model, x)[0] / total)
        shares.append(row)
        print(
            f"{spec:34s} frozen {len(report.frozen):3d}, as said {len(report.frozen) - len(wrong):3d}; may leave "
            + ", ".join(f"{100 * s:5.1f} %" for s in row) + f"; {time.process_time() - start:.1f} s", flush=True,
        )  # fmt: skip
        print("\n".join(wrong), end="\n" if wrong else "")
    print(
        f"\n{right} of {layers} reasons are so; {lines} of {stated} stated lines are where the layer alone fails, too"
    )
    means = [100 * sum(s) / len(s) for s in zip(*shares, strict=True)]
    print("may leave, mean over networks: " + ", ".join(f"{m:.1f} %" for m in means) + " (netsmith, Torch-Pruning)")
    for (reason, found), n in kinds.most_common():
        print(f"{n:5d}  {reason:100s} -> {found}")


if __name__ == "__main__":
    main()
