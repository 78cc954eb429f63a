"""Weights of a network: read from safetensors or PyTorch files, written atomically as safetensors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netsmith.errors import InputError, shown
from netsmith.files import write_atomic
from netsmith.network.checkpoint import check_file, read_content, split_key
from netsmith.network.tensorfile import metadata_of, serialised

if TYPE_CHECKING:
    import torch
    from torch import nn

    from netsmith.network.fitting import Fit

MADE_HERE = {"writer": "netsmith"}  #: metadata of all files that :func:`save_weights` writes
_PREFIXES = ("module.", "_orig_mod.")  # of DataParallel and torch.compile
_SHOWN, _LONGEST_NAME = 6, 100


@dataclass(frozen=True)
class Loaded:
    """What was made of a file of weights.

    Attributes:
        metadata: the file's header (none in PyTorch files).
        notes: which of its tensors were taken and what was left, a sentence each; none where it holds nothing else.
    """

    metadata: dict[str, str]
    notes: tuple[str, ...] = ()


def read_weights(path: str | Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Read a file of weights as it is.

    Args:
        path: ``.safetensors``, or a PyTorch file (``.pth``, ``.pt``, ``.th``) of a state dict.

    Returns:
        Tensors by name on the CPU, half precision widened to float32, and the file's metadata (none in PyTorch files).

    Raises:
        InputError: no such file, another format, or damaged.
    """
    content = read_content(Path(path))
    state = content.tensors
    for prefix in _PREFIXES * 2:  # compiled and wrapped, in either order
        if all(k.startswith(prefix) for k in state):
            state = {k.removeprefix(prefix): v for k, v in state.items()}
    return {name: _widen(tensor) for name, tensor in state.items()}, content.metadata


def read_metadata(path: str | Path) -> dict[str, str]:
    """The metadata of a file of weights, without its tensors; empty where it has none.

    Raises:
        InputError: there is no such file, or none that could be one: jobs find it here, before they load data.
    """
    file = split_key(path)[0]
    check_file(file)
    return metadata_of(file)


def load_weights(model: nn.Module, path: str | Path) -> Loaded:
    """Load the weights of ``path`` into ``model``, strictly: every tensor has its place and its shape.

    They are found below whatever keys and prefixes the file has them; counters that no inference reads may be missing
    or too many. Of several that fit, plain weights are taken before averages of them.

    Args:
        path: the file, or ``FILE#KEY`` for the weights below a key of it (``best.pth#state_dict_ema``).

    Raises:
        InputError: the file cannot be read, holds the weights of another network (names the first differences), or
            values that are not finite; the network is left as it was.
    """
    from netsmith.network.fitting import find_fits

    file, key = split_key(path)
    content = read_content(file)
    fits = find_fits(model, content.tensors, key)
    if not fits:
        raise InputError(
            f"{file} has no weights under {key!r}; it has {_few(list(dict.fromkeys(map(_head, content.tensors))))}"
        )
    fit, *others = fits
    if not fit.good:
        raise InputError(_differences(path, fit, model))
    state = {name: _widen(tensor) for name, tensor in fit.state.items()}
    _check_values(file, state, model)
    model.load_state_dict(state, strict=False)  # all but counters was checked above
    return Loaded(content.metadata, tuple(_notes(file, fit, others, content.others)))


def save_weights(
    path: str | Path, state: Mapping[str, torch.Tensor], metadata: Mapping[str, Any] | None = None
) -> None:
    """Write a state dict as safetensors so that the file is either whole or not there.

    Args:
        path: target; its folder is made if needed.
        state: tensors by name; views and tied tensors are written out in full.
        metadata: kept in the file's header, values as strings.

    Raises:
        InputError: the place cannot be written (no permission, full disk, a file where a folder should be).
    """
    path = Path(path)
    tensors = {k: v.detach().cpu().contiguous().clone() for k, v in state.items()}
    write_atomic(path, serialised(tensors, {k: str(v) for k, v in (metadata or {}).items()} | MADE_HERE))


def check_parameters(model: nn.Module, spec: str) -> None:
    """Check that the parameters of a network are tensors that hold their values.

    Raises:
        InputError: names the first that does not.
    """
    import torch
    from torch.nn.parameter import is_lazy

    for name, tensor in model.named_parameters():
        if not isinstance(tensor, torch.Tensor):
            raise InputError(f"{spec} has a parameter that is no tensor: {shown(name)}")
        if is_lazy(tensor):
            raise InputError(f"{spec} has a lazy layer, {name} has no size yet; give its sizes, or run it once first")
        if tensor.is_meta or tensor.layout is not torch.strided:
            kind = "no values (it is on the meta device)" if tensor.is_meta else "sparse values"
            raise InputError(f"{spec} has weights that cannot be used: {name} has {kind}; make it a dense tensor")


def check_finite_parameters(model: nn.Module, spec: str) -> None:
    """Check the weights of a network that came as it is.

    Raises:
        InputError: names the first parameter or running statistic that has values that are not finite.
    """
    running = ((n, b) for n, b in model.named_buffers() if n.rpartition(".")[2].startswith("running_"))
    for name, tensor in (*model.named_parameters(), *running):
        if problem := _not_finite(tensor):
            raise InputError(f"{spec} has weights that cannot be used: {name} has {problem}")


def _check_values(path: Path, state: Mapping[str, torch.Tensor], model: nn.Module) -> None:
    """Check that a file has values for what it names, of a kind that the network can take over as they are."""
    own, parameters = model.state_dict(), {name for name, _ in model.named_parameters()}
    for name, tensor in state.items():
        if tensor.is_meta:
            raise InputError(f"{path} is unusable: {name} has a shape but no values; save the weights themselves")
        whole = name in parameters and own[name].is_floating_point() and not tensor.is_floating_point()
        if tensor.is_quantized or whole:
            kind = str(tensor.dtype).removeprefix("torch.")
            raise InputError(
                f"{path} is unusable: {name} has values of type {kind}, not floating-point numbers; save the weights "
                "as they were before they were quantized or converted"
            )
        if name in own and _not_finite(own[name]):  # a mask is made with infinite values
            continue
        like = own[name].dtype if name in own and own[name].is_floating_point() else tensor.dtype
        if problem := _not_finite(tensor.to(like)):
            raise InputError(f"{path} is unusable: {name} has {problem}")
        if name.rpartition(".")[2] == "running_var" and bool((tensor < 0).any()):
            raise InputError(f"{path} is unusable: {name} has negative variances")


def _not_finite(tensor: torch.Tensor) -> str:
    """How many values are not finite, in words; empty if all are."""
    import torch

    if not (tensor.is_floating_point() or tensor.is_complex()) or tensor.is_meta:
        return ""
    wrong = int((~torch.isfinite(tensor)).sum())
    if not wrong:
        return ""
    kinds = [w for w, found in (("NaN", tensor.isnan()), ("infinite", tensor.isinf())) if bool(found.any())]
    return f"{wrong} of {tensor.numel()} values that are not finite numbers ({' and '.join(kinds)})"


def _differences(path: str | Path, fit: Fit, model: nn.Module) -> str:
    parts = [
        f"{len(found)} {what} ({', '.join(map(_printed, found[:3]))}{', ...' if len(found) > 3 else ''})"
        for what, found in (("missing", fit.missing), ("unexpected", fit.extra), ("of another shape", fit.shapes))
        if found
    ]
    below = f" under {fit.key!r}" if fit.key else ""
    return (
        f"{path} holds the weights of another network{below}: of {len(model.state_dict())} tensors {', '.join(parts)}"
    )


def _notes(path: Path, fit: Fit, others: list[Fit], values: tuple[str, ...]) -> Iterable[str]:
    if fit.key:
        yield f"{path}: took the weights under {fit.key!r}, names without it"
    if others:
        keys = [repr(f.key) for f in others]
        yield f"{path}: the weights under {_few(keys)} fit as well; to take them, write {path}#{others[0].key}"
    below = tuple(f.prefix for f in others)
    inside = [n.removeprefix(fit.prefix) for n in fit.unused if n.startswith(fit.prefix)]
    outside = [n for n in fit.unused if not n.startswith((fit.prefix, *below))]
    outside += [n for n in values if not n.startswith(below)]
    left = dict.fromkeys([*inside, *(_head(n, fit.prefix) for n in outside)])
    if left:
        yield f"{path}: did not use what else it holds, {_few(list(left))}"


def _head(name: str, prefix: str = "") -> str:
    """The first word of a name by which it differs from a prefix."""
    words, known = name.split("."), prefix.split(".")
    return next((w for i, w in enumerate(words) if i >= len(known) or w != known[i]), name)


def _few(names: list[str]) -> str:
    return ", ".join(map(_printed, names[:_SHOWN])) + (f", ... ({len(names)} in all)" if len(names) > _SHOWN else "")


def _printed(name: str) -> str:
    """A name of a file, which may be anything, as it can be printed."""
    name = "".join(c if c.isprintable() else "?" for c in name)
    return name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}..."


def _widen(tensor: torch.Tensor) -> torch.Tensor:
    import torch

    if tensor.layout is not torch.strided:
        tensor = tensor.to_dense()
    return tensor.float() if tensor.is_floating_point() and tensor.element_size() < 4 else tensor
