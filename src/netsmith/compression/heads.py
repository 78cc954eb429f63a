"""Which attentions of a network can lose heads, and the step of a recipe that removes them.

Every attention is tried: half of its heads are removed from a copy with random weights, whose output must be that of
the copy in which the output projection reads zeros in their place. What fails is left as it is, with the reason: a
network may read the attention itself, whose mean over heads is another one then, or have a forward that reads the
weights of the module.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from netsmith.compression.attention import remove_heads, unprunable
from netsmith.compression.channels import ChannelGroup, Member
from netsmith.compression.training_mode import breaks_in_training
from netsmith.compression.trial import Inputs, faulty, randomized, same, shell, where


@dataclass(frozen=True)
class Attention:
    """A packed attention, ``nn.MultiheadAttention``, that can lose heads.

    Attributes:
        path: of the module.
        heads: how many it has.
        size: width of a head.
    """

    path: str
    heads: int
    size: int

    @property
    def output(self) -> str:
        """Path of the projection that reads the heads."""
        return f"{self.path}.out_proj"

    @property
    def group(self) -> ChannelGroup:
        """What the heads compute, as channels that its output projection reads: a unit is a head."""
        width = self.heads * self.size
        every = np.arange(width)
        return ChannelGroup(self.path, width, self.size, (), (Member(self.output, width, every, every),))

    def channels(self, heads: Sequence[int]) -> list[int]:
        """The channels of these heads."""
        return [h * self.size + i for h in heads for i in range(self.size)]


@dataclass(frozen=True)
class HeadReport:
    """Attentions in the order of the network's modules, and the others: path -> why their heads stay."""

    attentions: tuple[Attention, ...]
    frozen: Mapping[str, str]


def find_heads(model: nn.Module, example_input: torch.Tensor | Inputs) -> HeadReport:
    """Find the attentions that can lose heads; ``model`` is not changed.

    Args:
        model: any module.
        example_input: a tensor ``(N, ...)`` or a tuple of arguments.
    """
    every = {n: m for n, m in model.named_modules() if isinstance(m, nn.MultiheadAttention)}
    frozen = {n: reason for n, m in every.items() if (reason := unprunable(m) or _shared(model, n))}
    found = [Attention(n, m.num_heads, m.head_dim) for n, m in every.items() if n not in frozen]
    if not found:
        return HeadReport((), frozen)
    with _plain_kernels(), torch.no_grad():
        try:
            probe, inputs = randomized(model, example_input)
            used = _used(probe, inputs, [a.path for a in found])
        except Exception as error:
            reason = f"a copy of the network with random weights does not run{where(error)}"
            return HeadReport((), frozen | dict.fromkeys((a.path for a in found), reason))
        frozen |= {a.path: "it takes no part in the forward pass (in eval mode)" for a in found if a.path not in used}
        found = [a for a in found if a.path in used]
        rng = np.random.default_rng(0)
        tried = [(a, sorted(rng.permutation(a.heads)[: a.heads // 2].tolist())) for a in found]
        trains = breaks_in_training(probe, inputs) is None
        bad = faulty(tried, lambda some: _trial(probe, inputs, dict(some), trains))
    frozen |= {found[i].path: reason for i, reason in bad.items()}
    return HeadReport(tuple(a for i, a in enumerate(found) if i not in bad), frozen)


def mask_heads(model: nn.Module, kept: Mapping[Attention, Sequence[int]]) -> None:
    """Let the output projections read zeros where the other heads are, in place; widths stay."""
    for attention, heads in kept.items():
        projection = model.get_submodule(attention.output)
        assert isinstance(projection, nn.Linear)
        mask = torch.zeros(attention.heads * attention.size, dtype=torch.bool)
        mask[attention.channels(heads)] = True
        old = projection.weight
        projection.weight = nn.Parameter(old.detach() * mask.to(old.device), requires_grad=old.requires_grad)


def _trial(probe: nn.Module, inputs: Inputs, kept: Mapping[Attention, Sequence[int]], trains: bool) -> str | None:
    masked, small = shell(probe), shell(probe)
    mask_heads(masked, kept)
    try:
        for attention, heads in kept.items():
            remove_heads(small.get_submodule(attention.path), heads)
        got = small(*inputs)
    except Exception as error:
        return f"with fewer heads the forward fails{where(error)}"
    if not same(masked(*inputs), got):
        return "without some of its heads the network computes something else"
    return breaks_in_training(small, inputs) if trains else None


def _shared(model: nn.Module, path: str) -> str | None:
    """Why heads stay of a module one of whose parameters is another module's as well."""
    own = {id(p) for p in model.get_submodule(path).parameters()}
    for name, module in model.named_modules():
        inside = name == path or name.startswith(f"{path}.")
        if not inside and own & {id(p) for p in module.parameters(recurse=False)}:
            return f"it shares a weight with {name!r}"
    return None


def _used(probe: nn.Module, inputs: Inputs, paths: Sequence[str]) -> set[str]:
    """Which of these modules run."""
    used: set[str] = set()
    modules = {path: probe.get_submodule(path) for path in paths}
    hooks = [m.register_forward_hook(lambda *_, path=path: used.add(path)) for path, m in modules.items()]
    try:
        probe(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return used


@contextmanager
def _plain_kernels() -> Iterator[None]:
    """Within it torch's fused kernels for attention are off, which give zeros where tokens are padding."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
