"""What networks return: logits, or logits among other things."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from torch.utils import _pytree

_NAMES = ("logits", "out", "output", "pred", "predictions", "main")  #: of logits among named outputs


def logits_among(output: Any) -> Any:
    """The logits of a network that returns more than those while it trains: by their name, else what comes first.

    Auxiliary classifiers return their own beside them, in a tuple, a mapping or a data class. What holds no tensor is
    returned as it is.
    """
    while not isinstance(output, torch.Tensor):
        parts = _parts(output)
        if not parts:
            return output
        output = next((parts[name] for name in _NAMES if name in parts), next(iter(parts.values())))
    return output


def describe_output(output: Any) -> str:
    """What a network returns, in words: its shape, or how many of what."""
    if isinstance(output, torch.Tensor):
        return f"a tensor of shape {tuple(output.shape)}"
    if output is None:
        return "nothing"
    parts = _parts(output)
    kind = "dictionary" if isinstance(output, Mapping) else type(output).__name__
    if not parts:
        return f"an object of type {kind}"
    named = f" ({', '.join(map(str, parts))})" if not isinstance(output, (tuple, list)) else ""
    return f"a {kind} of {len(parts)} output{'s' if len(parts) > 1 else ''}{named}"


def _parts(output: Any) -> dict[Any, Any]:
    """What an output is made of, by name or number, without what is empty."""
    if isinstance(output, Mapping):
        found = dict(output)
    elif isinstance(output, tuple) and hasattr(output, "_fields"):
        found = dict(zip(output._fields, output, strict=True))
    elif isinstance(output, (list, tuple)):
        found = dict(enumerate(output))
    elif dataclasses.is_dataclass(output) and not isinstance(output, type):
        found = {f.name: getattr(output, f.name) for f in dataclasses.fields(output)}
    else:
        found = {}
    return {k: v for k, v in found.items() if v is not None}


def register_outputs(output: Any) -> None:
    """Let torch see the tensors of data classes of the user's own among the outputs, as it does in tuples and mappings.

    A forward that returns one could not be traced otherwise. What is registered already stays.
    """
    from torch.utils._pytree import SUPPORTED_NODES

    if dataclasses.is_dataclass(output) and not isinstance(output, type) and type(output) not in SUPPORTED_NODES:
        torch.export.register_dataclass(
            type(output), serialized_type_name=f"{type(output).__module__}.{type(output).__qualname__}"
        )
    for part in _parts(output).values():
        if not isinstance(part, torch.Tensor):
            register_outputs(part)


class Named(dict[str, Any]):
    """Outputs by name, read as a mapping, an object with attributes, or by place: ``out["a"]``, ``out.a``, ``out[0]``.

    A file cannot bring the class that a network returns its outputs in; this stands in for it.
    """

    def __getitem__(self, key: Any) -> Any:
        return list(self.values())[key] if isinstance(key, (int, slice)) else super().__getitem__(key)

    def __getattr__(self, name: str) -> Any:
        if name in self:
            return self[name]
        raise AttributeError(f"no output is called {name!r}; there are {', '.join(self)}")


_pytree.register_pytree_node(
    Named, lambda named: (list(named.values()), list(named)),
    lambda values, names: Named(zip(names, values, strict=True)),
    flatten_with_keys_fn=lambda named: (
        [(_pytree.MappingKey(name), value) for name, value in named.items()], list(named)
    ),
    serialized_type_name="netsmith.Named", to_dumpable_context=list, from_dumpable_context=list,
)  # fmt: skip


def named(output: Any) -> Any:
    """The same outputs with every mapping as one that can be read in any of the three ways."""
    if isinstance(output, dict):
        return Named((str(name), named(part)) for name, part in output.items())
    return type(output)(map(named, output)) if type(output) in (tuple, list) else output


def plain(output: Any) -> Any:
    """The same outputs without anybody's classes: tuples stay or become plain ones, what has names is a dictionary."""
    if isinstance(output, tuple):
        return tuple(map(plain, output))
    if isinstance(output, list):
        return list(map(plain, output))
    parts = _parts(output)
    return {str(name): plain(part) for name, part in parts.items()} if parts else output


def output_paths(output: Any) -> list[tuple[str, ...]]:
    """Where each part of an output stands that is not made of parts: names and numbers from the outside in."""
    parts = _parts(output)
    if not parts:
        return [()]
    return [(str(name), *path) for name, part in parts.items() for path in output_paths(part)]


def tensors_of(output: Any) -> list[torch.Tensor]:
    """Every tensor of an output, in order."""
    if isinstance(output, torch.Tensor):
        return [output]
    return [tensor for part in _parts(output).values() for tensor in tensors_of(part)]
