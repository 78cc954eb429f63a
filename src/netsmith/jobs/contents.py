"""Digests of what a job works on, so that a resumed one finds out when the same words name something else.

They are of what was loaded, not of files alone: the bytes of all weights, the traced graph, the code that a user's
network comes from, and the decoded images and labels of all splits, which lie in memory anyway. SHA-256 takes half a
second to a second for a gigabyte of them.
"""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import fx, nn

from netsmith.data import normalisation_from_metadata
from netsmith.files import digest_file
from netsmith.network.load import LoadedModel, named
from netsmith.network.sourcefiles import code_of, source_files
from netsmith.tasks.task import Task
from netsmith.usercode import is_own

_ADDRESS = re.compile(r"0x[0-9a-f]+")


def contents_of(
    loaded: LoadedModel, given: Any, weights: str | Path | None = None, graph: fx.Graph | None = None, who: str = ""
) -> dict[str, str]:
    """Digests of a network and of its weights, by what they are called in messages.

    Args:
        loaded: the network with its weights, as it is before anything changes it.
        given: what was loaded: MODEL, or a module or function of Python's.
        weights: file of the weights; without one they are part of the network.
        graph: of the traced network.
        who: what it is to the job, such as ``teacher``.
    """
    name = f"the {who + ' ' if who else ''}network {loaded.spec}"
    model, saved = loaded.model, set(loaded.model.state_dict())
    network = [*_code(given, model), *_structure(model), *(_texts(graph) if graph is not None else ())]
    outside = {n: t for n, t in _tensors(model).items() if n not in saved}
    if weights is None:
        return {name: _digest([*network, *_parts(_tensors(model))])}
    expected = repr(normalisation_from_metadata(loaded.metadata))
    state = {n: t for n, t in model.state_dict().items() if isinstance(t, torch.Tensor)}
    return {
        name: _digest([*network, *_parts(outside)]),
        f"the weights in {weights}": _digest([expected, *_parts(state)]),
    }


def task_contents(task: Task) -> dict[str, str]:
    """Digests of a task's examples and of what it says of itself, and of its code where that is the user's."""
    data = _digest([task.says, *_parts(dict(task.contents()))])
    return {f"the data set {task.name}": data} | own_contents(task.code)


def target_contents(spec: str) -> dict[str, str]:
    """The digest of the file that a target is described by, if it is; ``cpu`` measures into its table and has none."""
    if spec.partition(":")[0] == "cpu":
        return {}
    paths = [Path(words) for words in (spec, spec.partition(":")[2]) if words]
    return {f"the target {spec}": digest_file(path) for path in paths if path.is_file()}


def code_digest(spec: str) -> str:
    """The digest of the user's files that a MODEL comes from; of nothing where it is of a library."""
    return _digest(_code_of_files(spec))


def code_contents(what: str, thing: Any) -> dict[str, str]:
    """The digest of the code of a user's function or object, and of what an object says of itself."""
    return {what: _digest([*_sources([thing if hasattr(thing, "__qualname__") else type(thing)]), _said(thing)])}


def own_contents(things: Mapping[str, Any]) -> dict[str, str]:
    """Digests of the code of those functions, classes and objects, by what they are, that are a user's own."""
    found: dict[str, str] = {}
    for what, thing in things.items():
        if is_own(thing):
            found |= code_contents(what, thing if hasattr(thing, "__qualname__") else type(thing))
    return found


def thing_contents(what: str, thing: Any) -> dict[str, str]:
    """The digest of a value whose representation says all of it."""
    return {what: _digest([repr(thing)])}


def _code(given: Any, model: nn.Module) -> Iterator[str]:
    if isinstance(given, str):
        yield from _code_of_files(given)
        return
    classes = {type(module) for module in model.modules()}
    things = [c for c in classes if not c.__module__.startswith(("torch.", "torchvision.", "timm.", "netsmith."))]
    things += [] if isinstance(given, nn.Module) else [named(given)]
    yield from _sources(sorted(things, key=lambda t: (t.__module__, t.__qualname__)))


def _sources(things: Iterable[Any]) -> Iterator[str]:
    """What the files say of classes and functions."""
    for thing in things:
        try:
            yield inspect.getsource(thing)
        except (OSError, TypeError):  # typed at a prompt, or built in C
            yield thing.__qualname__


def _code_of_files(spec: str) -> Iterator[str]:
    return (f"{path.name} {code_of(path)}" for path in source_files(spec))


def _structure(model: nn.Module) -> Iterator[str]:
    yield _said(model)
    yield repr([(name, p.requires_grad) for name, p in model.named_parameters()])


def _said(thing: Any) -> str:
    return _ADDRESS.sub("", repr(thing))


def _texts(graph: fx.Graph) -> Iterator[str]:
    for node in graph.nodes:
        value = node.meta.get("val")
        shape = f"{tuple(value.shape)} {value.dtype}" if isinstance(value, torch.Tensor) else ""
        yield _ADDRESS.sub("", f"{node.op} {node.name} {node.target} {node.args} {node.kwargs} {shape}")


def _tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    """All tensors of a network by name: also buffers that no file has, and plain attributes."""
    found: dict[str, torch.Tensor] = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    for prefix, module in model.named_modules():
        for name, value in vars(module).items():
            if isinstance(value, torch.Tensor):
                found[f"{prefix}.{name}".lstrip(".")] = value
    return found


def _parts(tensors: Mapping[str, torch.Tensor]) -> Iterator[str | memoryview]:
    for name, tensor in sorted(tensors.items()):
        yield f"{name} {tuple(tensor.shape)} {tensor.dtype}"
        if tensor.layout is torch.strided and not tensor.is_quantized and tensor.numel():
            raw = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous().reshape(-1)
            yield raw.view(torch.uint8).numpy().data
        else:
            yield repr(tensor)


def _digest(parts: Iterable[str | memoryview]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode() + b"\0" if isinstance(part, str) else part)
    return digest.hexdigest()
