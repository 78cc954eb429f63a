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
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from netsmith.compression.attention import remove_heads, unprunable
from netsmith.compression.channels import ChannelGroup, Member
from netsmith.compression.slicing import from_ranges, submodule, to_ranges
from netsmith.compression.steps import register_step
from netsmith.compression.training_mode import breaks_in_training
from netsmith.compression.trial import Inputs, faulty, randomized, same, shell, where
from netsmith.errors import InputError
from netsmith.shapes import Named, Record, Text


@dataclass(frozen=True)
class Attention:
    """A packed attention, ``nn.MultiheadAttention``, that can lose heads.

    Attributes:
        path: of the module.
        heads: how many it has.
        size: width of a head.
        packed: whether one weight makes queries, keys and values.
    """

    path: str
    heads: int
    size: int
    packed: bool = True

    @property
    def output(self) -> str:
        """Path of the projection that reads the heads."""
        return f"{self.path}.out_proj"

    @property
    def group(self) -> ChannelGroup:
        """What the heads compute, as channels that its output projection reads: a unit is a head."""
        width = self.heads * self.size
        three, one = np.arange(3 * width), np.arange(width)
        made = (Member(self.path, 3 * width, three, three % width),) if self.packed else ()
        return ChannelGroup(self.path, width, self.size, made, (Member(self.output, width, one, one),))

    def channels(self, heads: Sequence[int]) -> list[int]:
        """The channels of these heads."""
        return [h * self.size + i for h in heads for i in range(self.size)]


@dataclass(frozen=True)
class HeadReport:
    """Attentions in the order of the network's modules, and the others: path -> why their heads stay."""

    attentions: tuple[Attention, ...]
    frozen: Mapping[str, str]


@register_step
@dataclass(frozen=True)
class HeadsStep:
    """Remove heads.

    Attributes:
        attentions: path of a module -> its heads that stay, in its present numbering, ascending.
    """

    do: ClassVar[str] = "heads"
    shape: ClassVar[Record] = Record({"attentions": Named(Text())})

    attentions: Mapping[str, tuple[int, ...]]

    def __bool__(self) -> bool:
        return bool(self.attentions)

    def to_dict(self) -> dict[str, Any]:
        return {"attentions": {path: to_ranges(heads) for path, heads in self.attentions.items()}}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> HeadsStep:
        return cls({path: from_ranges(heads) for path, heads in data["attentions"].items()})

    def apply(self, model: nn.Module) -> None:
        """Encoders that hold such attentions no longer pack samples by their padding, which needs all heads' kernel."""
        for path, heads in self.attentions.items():
            module = submodule(model, path)
            try:
                remove_heads(module, heads)
            except InputError as error:
                raise InputError(
                    f"the recipe removes heads of layer {path!r}: {error}; use the same MODEL that it was made from"
                ) from error
            for name, encoder in model.named_modules():
                if isinstance(encoder, nn.TransformerEncoder) and (not name or path.startswith(f"{name}.")):
                    encoder.use_nested_tensor = False


def find_heads(model: nn.Module, example_input: torch.Tensor | Inputs) -> HeadReport:
    """Find the attentions that can lose heads; ``model`` is not changed.

    Args:
        model: any module.
        example_input: a tensor ``(N, ...)`` or a tuple of arguments.
    """
    every = {n: m for n, m in model.named_modules() if isinstance(m, nn.MultiheadAttention)}
    frozen = {n: reason for n, m in every.items() if (reason := unprunable(m) or _shared(model, n))}
    free = {n: m for n, m in every.items() if n not in frozen}
    found = [Attention(n, m.num_heads, m.head_dim, m.in_proj_weight is not None) for n, m in free.items()]
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
        HeadsStep({a.path: tuple(heads) for a, heads in kept.items()}).apply(small)
        got = small(*inputs)
    except Exception as error:
        return f"with fewer heads the forward fails{where(error)}"
    if not same(masked(*inputs), got):
        return "without some of its heads the network computes something else"
    return breaks_in_training(small, inputs) if trains else None


def _shared(model: nn.Module, path: str) -> str | None:
    """Why heads stay of a module that stands at another place too, or one of whose parameters another module has."""
    attention = model.get_submodule(path)
    own = {id(p) for p in attention.parameters()}
    for name, module in model.named_modules(remove_duplicate=False):
        inside = name == path or name.startswith(f"{path}.")
        if not inside and module is attention:
            return f"it is {name!r} as well"
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
