"""Which tensors of a file are the weights of a network: those below some key or prefix, whoever wrote the file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from netsmith.network.copying import copy_network

if TYPE_CHECKING:
    import torch
    from torch import nn

#: last names of numbers that are kept beside weights and that no inference reads: of batch norm, of averages, profilers
#: and training loops
COUNTERS = frozenset({
    "num_batches_tracked", "n_averaged", "total_ops", "total_params", "epoch", "step", "global_step", "iter",
    "iteration", "num_updates", "initted",
})  # fmt: skip
_MAY_BE_MISSING = "num_batches_tracked"
#: first words of keys whose weights are taken before others, and of averages, which are taken if nothing else fits
_FIRST = (
    "", "state_dict", "model", "model_state", "model_state_dict", "net", "network", "params", "module", "_orig_mod",
    "student", "generator", "online_model",
)  # fmt: skip
_AVERAGES = ("ema", "swa", "avg", "averag", "teacher", "target", "shadow", "momentum", "encoder_k")
#: words that tools put between the names of modules that they wrap
_WRAPPERS = frozenset({"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})
_TRIED = 4  #: prefixes that are tried on a copy of the network


@dataclass(frozen=True)
class Fit:
    """The tensors of a file below one prefix, compared with those of a network.

    Attributes:
        prefix: with its dot; empty for the names as they are in the file.
        state: tensors by names of the network; counters that it has not are left out.
        missing, extra, shapes: what keeps them from being its weights; nothing if they are.
        unused: names of the file that go nowhere.
    """

    prefix: str
    state: dict[str, torch.Tensor]
    missing: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)
    shapes: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)

    @property
    def key(self) -> str:
        return self.prefix.removesuffix(".")

    @property
    def good(self) -> bool:
        return not (self.missing or self.extra or self.shapes)


def find_fits(model: nn.Module, tensors: Mapping[str, torch.Tensor], key: str = "") -> list[Fit]:
    """Prefixes whose tensors are the weights of ``model``, in the order in which they are to be taken.

    Where names differ, ``load_state_dict`` of a copy judges: modules may read what older versions of them wrote.

    Args:
        key: only prefixes that begin with it.

    Returns:
        Those that fit; or, if none does, the one that comes nearest. Empty if no name begins with the key.
    """
    own = {k: v for k, v in model.state_dict().items() if hasattr(v, "shape")}
    found = _nearest(own, tensors, key)
    good = [fit for fit in found if fit.good]
    if not good and (bare := _unwrapped(tensors)).keys() != tensors.keys():
        good = [fit for fit in _nearest(own, bare, key) if fit.good]
    wrapper = _shared_word(own)
    if not good and wrapper:  # the network is wrapped and the file is not
        inner = _nearest({k.removeprefix(wrapper): v for k, v in own.items()}, tensors, key)
        good = [replace(f, state={f"{wrapper}{k}": v for k, v in f.state.items()}) for f in inner if f.good]
    if not good:
        good = [fit for fit in (_tried(model, f) for f in found[:_TRIED]) if fit is not None]
    return sorted(good, key=lambda fit: _rank(fit.prefix)) or found[:1]


def _nearest(own: Mapping[str, torch.Tensor], tensors: Mapping[str, torch.Tensor], key: str) -> list[Fit]:
    """Prefixes below which many names are those of the network, the most first."""
    wanted = f"{key}." if key else ""
    hits = {p: n for p, n in _hits(own, tensors).items() if p.startswith(wanted)}
    order = sorted(hits, key=lambda p: (-hits[p], *_rank(p)))
    return [_compare(own, tensors, p) for p in order if hits[p] == hits[order[0]] or hits[p] >= max(len(own) // 2, 1)]


def _unwrapped(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same tensors by the names that they have where no module is wrapped."""
    return {".".join(word for word in k.split(".") if word not in _WRAPPERS): v for k, v in tensors.items()}


def _shared_word(own: Mapping[str, object]) -> str:
    """The first word of all names with its dot, if it is the same."""
    words = {name.partition(".")[0] for name in own if "." in name} if all("." in name for name in own) else set()
    return f"{words.pop()}." if len(words) == 1 else ""


def _hits(own: Mapping[str, object], tensors: Iterable[str]) -> dict[str, int]:
    """Prefix -> how many names of the network follow it in the file."""
    hits: dict[str, int] = {}
    for name in tensors:
        parts = name.split(".")
        for cut in range(len(parts)):
            prefix = "".join(f"{part}." for part in parts[:cut])
            hits[prefix] = hits.get(prefix, 0) + (".".join(parts[cut:]) in own)
    return hits


def _rank(prefix: str) -> tuple[bool, int, int, str]:
    """Plain weights before averages of them, known keys before others, short ones before long ones."""
    words = prefix.removesuffix(".").split(".")
    averages = any(a in w.lower() for w in words for a in _AVERAGES)
    return averages, _FIRST.index(words[0]) if words[0] in _FIRST else len(_FIRST), len(words), prefix


def _compare(own: Mapping[str, torch.Tensor], tensors: Mapping[str, torch.Tensor], prefix: str) -> Fit:
    below = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
    counters = [k for k, v in below.items() if k not in own and _is_counter(k, v)]
    state = {k: v for k, v in below.items() if k not in counters}
    beside = [k for k in tensors if not k.startswith(prefix)]
    *parents, last = prefix.split(".")[:-1] or [""]
    if last not in _FIRST and not any("." in k for k in own):  # "weight" and "bias" alone are in every file somewhere
        state |= {k: tensors[k] for k in beside if k.startswith("".join(f"{p}." for p in parents))}
    extra = [k for k in state if k not in own]
    return Fit(
        prefix, state, [k for k in own if k not in state and not k.endswith(_MAY_BE_MISSING)], extra,
        [f"{k} {_shape(state[k])} instead of {_shape(own[k])}"
         for k in own if k in state and state[k].shape != own[k].shape],
        counters + beside,
    )  # fmt: skip


def _tried(model: nn.Module, fit: Fit) -> Fit | None:
    """The same tensors, if a copy of the network takes them under other names than its own."""
    try:
        found = copy_network(model).load_state_dict(fit.state, strict=False)
    except Exception:  # shapes differ, or a hook of the network refuses
        return None
    left = [k for k in found.missing_keys if not k.endswith(_MAY_BE_MISSING)]
    return None if left or found.unexpected_keys else Fit(fit.prefix, fit.state, unused=fit.unused)


def _is_counter(name: str, tensor: torch.Tensor) -> bool:
    return name.rpartition(".")[2] in COUNTERS and tensor.numel() <= 1


def _shape(tensor: torch.Tensor) -> str:
    return "x".join(str(s) for s in tensor.shape) or "scalar"
