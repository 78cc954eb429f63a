"""A network run once, operator by operator, on tensors without values, to note which channels depend on which."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakIdKeyDictionary

from netsmith.compression.branches import ZeroBranch
from netsmith.compression.labels import FIXED, GIVEN, IntArray, Labels, Reason
from netsmith.compression.layouts import pieces
from netsmith.compression.operators import grouped
from netsmith.compression.rules import FOLLOWED, RULES, constant, elementwise, unknown
from netsmith.compression.trial import Inputs
from netsmith.network.outputs import tensors_of

SLICED = (_ConvNd, nn.Linear, _NormBase, nn.LayerNorm, nn.RMSNorm, nn.GroupNorm, nn.PReLU, nn.Embedding)
_SPLITS = ("split", "split_with_sizes", "chunk", "tensor_split", "unsafe_split", "unsafe_chunk",
           "unsafe_split_with_sizes")  # fmt: skip


class Followed:
    """What a run showed.

    Attributes:
        labels: what leaves together.
        sides: ``(path of a layer or of a bare parameter, is it the output, dimension of a bare parameter)`` -> labels.
        used: paths of the modules of which an operator read a parameter in evaluation mode.
        computed: layer -> why it is left alone, for layers whose weight is computed from others.
    """

    def __init__(self, labels: Labels) -> None:
        self.labels = labels
        self.sides: dict[tuple[str, bool, int | None], IntArray] = {}
        self.used: set[str] = set()
        self.computed: dict[str, str] = {}


class _Mode(TorchDispatchMode):
    """Intercepts every operator below autograd; composite ones are taken apart unless they have a rule."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.labels = Labels()
        self.known: Any = WeakIdKeyDictionary()
        layers = [m for m in model.modules() if isinstance(m, (_ConvNd, nn.Linear))]
        self.weights = {id(m._parameters.get("weight")) for m in layers}
        self.read: set[int] = set()  # ids of the parameters that an operator took
        self.stack: list[tuple[str, nn.Module]] = [("", model)]
        self.computed: dict[str, Reason] = {n: r for n, m in model.named_modules() if (r := _computed(n, m))}
        self.norms: dict[str, IntArray] = {}
        self.own: dict[str, set[int]] = {}  # module -> labels of the channels that it makes from nothing while it runs
        self.convs: dict[tuple[int, int, bool], tuple[IntArray, IntArray]] = {}

    @property
    def owner(self) -> str:
        return self.stack[-1][0]

    def of(self, x: torch.Tensor) -> list[IntArray]:
        if x not in self.known:
            self.known[x] = constant(x)
        dims: list[IntArray] = self.known[x]
        return dims

    def made(self, n: int) -> IntArray:
        labels = self.labels.fresh(n)
        self.own.setdefault(self.owner, set()).update(labels.tolist())
        return labels

    def is_made(self, labels: IntArray) -> bool:
        return self.own.get(self.owner, set()).issuperset(labels.tolist())

    def side(self, layer: type | tuple[type, ...], labels: IntArray) -> bool:
        """The layer that is running has these channels, if it is of this kind."""
        name, module = self.stack[-1]
        if not isinstance(module, layer):
            return False
        self.labels.tie(self.norms.setdefault(name, labels), labels)
        return True

    def convolution(self, weight: torch.Tensor, groups: int, transposed: bool) -> tuple[IntArray, IntArray]:
        key = (id(weight), groups, transposed)
        if key not in self.convs:
            self.convs[key] = grouped(self.labels, self.of(weight), groups, transposed)
        return self.convs[key]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = str(func._schema.name).removeprefix("aten::")
        composite = torch._C._dispatch_has_kernel_for_dispatch_key(
            func.name(), torch._C.DispatchKey.CompositeImplicitAutograd
        )
        if composite and name not in FOLLOWED:
            with self:
                out = func.decompose(*args, **kwargs)
            if out is not NotImplemented:
                return out
        out = func(*args, **kwargs)
        given = [a for x in (*args, *kwargs.values()) for a in (x if isinstance(x, (list, tuple)) else (x,))]
        self.read |= {id(a) for a in given if isinstance(a, torch.Tensor)}
        values = [kwargs.get(a.name, args[i] if i < len(args) else a.default_value)
                  for i, a in enumerate(func._schema.arguments) if not a.kwarg_only]  # fmt: skip
        outs = [o for o in (out if isinstance(out, (list, tuple)) else (out,)) if isinstance(o, torch.Tensor)]
        if outs:
            self._note(name, func, values, outs)
        return out

    def _note(self, name: str, func: Any, args: list[Any], outs: list[torch.Tensor]) -> None:
        if name in ("set_", "resize_"):
            return
        written = name.endswith("_") and not name.endswith("__")
        base = name.removesuffix("_") if written else name
        tensors = [a for a in args if isinstance(a, torch.Tensor)]
        if name in _SPLITS or name == "unbind":
            dim = next((a for a in reversed(args) if isinstance(a, int)), 0)
            if name == "unbind":
                dims = self.of(args[0])
                self.labels.pin(dims[dim], "the forward takes some of its channels by their number")
                rest = [d for i, d in enumerate(dims) if i != dim % len(dims)]
                found = [rest for _ in outs]
            else:
                found = pieces(self, args[0], outs, args[-1])
        elif base in RULES:
            try:
                found = [RULES[base](self, args, o) for o in outs[:1]]
            except (IndexError, KeyError, TypeError, ValueError):  # an overload with other arguments
                found = [unknown(self, args, o, base) for o in outs[:1]]
        elif not tensors and not any(
            isinstance(a, (list, tuple)) and a and isinstance(a[0], torch.Tensor) for a in args
        ):
            found = [constant(o) for o in outs]
        elif base in _SAME or torch.Tag.pointwise in func.tags:
            found = [elementwise(self, args, o) for o in outs]
        else:
            found = [unknown(self, args, o, base) for o in outs]
        for out, dims in zip(outs, [*found, *found[:1] * (len(outs) - len(found))], strict=True):
            if [len(d) for d in dims] != list(out.shape):  # a second output of another shape, an odd overload
                dims = unknown(self, args, out, base)
            if written and out in self.known:
                for a, b in zip(self.known[out], dims, strict=True):
                    self.labels.tie(a, b)
            else:
                self.known[out] = dims


_ELEMENTWISE = """
clone detach alias _to_copy to contiguous lift lift_fresh lift_fresh_copy copy fill dropout native_dropout
feature_dropout masked_fill where zero clamp hardswish hardsigmoid hardtanh leaky_relu elu celu selu mish softplus
softshrink hardshrink threshold rrelu log_sigmoid_forward silu gelu relu relu6 rrelu_with_noise
"""  # torch tags most of the others
_SAME = frozenset(_ELEMENTWISE.split())


@contextmanager
def _running(mode: _Mode, model: nn.Module, made: dict[str, IntArray]) -> Iterator[None]:
    """Within it the mode knows whose forward runs, and torch's fused fast paths are off."""
    hooks = []
    for name, module in model.named_modules():

        def enter(m: nn.Module, args: Any, name: str = name) -> None:
            mode.stack.append((name, m))
            if name in mode.computed and args:
                mode.labels.pin(mode.of(args[0])[-1 if isinstance(m, nn.Linear) else 1], mode.computed[name])

        def leave(m: nn.Module, _: Any, out: Any, name: str = name) -> None:
            mode.stack.pop()
            made_here = mode.own.pop(name, None)
            if made_here and name and isinstance(out, torch.Tensor):
                mode.labels.padding(name, mode.of(out), made_here)
            if name in mode.computed and isinstance(out, torch.Tensor):
                at = -1 if isinstance(m, nn.Linear) else 1
                dims = mode.known[out] = list(mode.of(out))
                dims[at] = mode.labels.fresh(len(dims[at]))
                mode.labels.pin(dims[at], mode.computed[name])
            if isinstance(m, ZeroBranch) and isinstance(out, torch.Tensor):
                made[name] = mode.of(out)[m.channel_dim]

        hooks += [module.register_forward_pre_hook(enter), module.register_forward_hook(leave)]
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad(), torch._C._AutoDispatchBelowAutograd(), mode:
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for h in hooks:
            h.remove()


def follow(model: nn.Module, inputs: Inputs) -> Followed:
    """Run ``model`` on ``inputs`` and note what its channels depend on, in evaluation and as far as it trains.

    Raises:
        Exception: whatever the forward raises in evaluation mode.
    """
    mode = _Mode(model)
    labels = mode.labels
    tensors = [*model.named_parameters(), *model.named_buffers()]
    for _, t in tensors:
        mode.known[t] = [labels.fresh(s) if s > 1 else np.full(1, FIXED) for s in t.shape]
    for x in inputs:
        if isinstance(x, torch.Tensor):
            mode.known[x] = [np.full(s, FIXED if i == 0 else GIVEN) for i, s in enumerate(x.shape)]
    made: dict[str, IntArray] = {}
    found = Followed(labels)
    _once(model.eval(), inputs, mode, made)
    found.used = {n for n, m in model.named_modules() if mode.read & {id(p) for p in m.parameters(recurse=False)}}
    with suppress(Exception), torch.random.fork_rng(devices=[]):  # auxiliary classifiers read channels as well
        _once(model.train(), inputs, mode, made)
    model.eval()
    _read_sides(model, mode, found)
    found.sides |= {(name, True, None): d for name, d in made.items()}
    return found


def _once(model: nn.Module, inputs: Inputs, mode: _Mode, made: dict[str, IntArray]) -> None:
    del mode.stack[1:]
    with _running(mode, model, made):
        out = model(*inputs)
    for y in tensors_of(out):
        for d in mode.of(y):
            mode.labels.pin(d, "its channels are the network's output")


def _read_sides(model: nn.Module, mode: _Mode, found: Followed) -> None:
    """Which labels are the inputs and outputs of which layer; what cannot be cut is pinned with the reason."""
    labels = mode.labels
    owners: dict[int, list[str]] = {}
    for name, module in model.named_modules():
        for leaf, p in module.named_parameters(recurse=False):
            owners.setdefault(id(p), []).append(f"{name}.{leaf}".lstrip("."))
    for name, module in model.named_modules():
        own = dict(module.named_parameters(recurse=False)) | dict(module.named_buffers(recurse=False))
        computed = mode.computed.get(name)
        if computed is not None:
            inner = module.parametrizations.parameters() if hasattr(module, "parametrizations") else []
            for t in [*own.values(), *inner]:
                for d in mode.of(t):
                    labels.pin(d, computed)
            found.computed[name] = computed.own
        for leaf, t in own.items():
            others = [n for n in owners.get(id(t), []) if n != f"{name}.{leaf}".lstrip(".")]
            if others:
                text = f"its channels meet a weight that {others[0]!r} and {name!r} share, which is left as it is"
                for d in mode.of(t):
                    labels.pin(d, text)
        cut = isinstance(module, SLICED)
        if cut and computed is None:
            _sides_of(name, module, mode, found)
        for leaf, t in own.items():
            if cut and leaf in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
                continue
            if not cut and type(module).__module__.startswith("torch.nn."):
                kind = type(module).__name__
                for d in mode.of(t):
                    labels.pin(
                        d,
                        f"its channels meet the weights of {name!r}, a {kind}, which keeps the width of what it reads",
                    )
                continue
            path = f"{name}.{leaf}" if name else leaf
            for dim, d in enumerate(mode.of(t)):
                if len(d) > 1:
                    found.sides[path, True, dim] = d


def _sides_of(name: str, module: nn.Module, mode: _Mode, found: Followed) -> None:
    weight = getattr(module, "weight", None)
    if isinstance(module, _ConvNd):
        key = (id(weight), module.groups, module.transposed)
        if key not in mode.convs and module.groups > 1:
            return  # its weight is used otherwise, if at all
        c_in, c_out = mode.convolution(module.weight, module.groups, module.transposed)
        found.sides[name, False, None], found.sides[name, True, None] = c_in, c_out
        wrong = [v for k, v in mode.convs.items() if k[0] == id(weight) and k != key]
        for d in [side for v in wrong for side in v]:
            mode.labels.pin(d, f"the forward uses the weight of {name!r} otherwise than that layer would")
        return
    if isinstance(module, nn.Linear):
        out, inside = mode.of(module.weight)
        found.sides[name, True, None], found.sides[name, False, None] = out, inside
        return
    if isinstance(module, nn.Embedding):
        rows, side = mode.of(module.weight)
        mode.labels.pin(rows, "they are the rows of a table")
        found.sides[name, True, None] = side
        return
    if isinstance(module, (nn.LayerNorm, nn.RMSNorm)) and len(module.normalized_shape) > 1:
        return
    if isinstance(module, nn.PReLU) and module.num_parameters < 2:
        return
    tensors = [t for t in (weight, getattr(module, "running_mean", None)) if isinstance(t, torch.Tensor)]
    labels = mode.norms.get(name, mode.of(tensors[0])[0] if tensors else None)
    if labels is not None:
        found.sides[name, True, None] = labels


def _computed(name: str, module: nn.Module) -> Reason | None:
    """The reason if a layer's weight is computed from others in every forward."""
    layer = repr(name)
    if torch.nn.utils.parametrize.is_parametrized(module):
        which = ", ".join(str(k) for k in module.parametrizations)  # type: ignore[union-attr]
        how = (
            f"torch.nn.utils.parametrize.remove_parametrizations(model.get_submodule({layer}), {which!r}) makes it one"
        )
    elif isinstance(module, (_ConvNd, nn.Linear)) and "weight" not in module._parameters:
        old = "remove_weight_norm" if hasattr(module, "weight_g") else "remove_spectral_norm"
        how = f"torch.nn.utils.{old}(model.get_submodule({layer})) makes it one"
    else:
        return None
    own = f"its weight is computed from others in every forward and is no parameter; {how}"
    return Reason(
        f"its channels are also those of {layer}, whose weight is computed from others and is no parameter; {how}",
        name,
        own,
    )
