"""What can be done to a module, as data: each step says itself as JSON values and replays on a fresh module."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, ClassVar, Protocol, Self, TypeVar

from torch import nn

from netsmith.compression.branches import Branch, drop_branches
from netsmith.compression.padding import CutEnds
from netsmith.compression.slicing import (
    MOST_CHANNELS,
    LayerKeep,
    from_ranges,
    slice_bare,
    slice_layer,
    submodule,
    to_ranges,
)
from netsmith.errors import InputError, shown
from netsmith.shapes import Anything, List, Named, Number, Record, Text


class Step(Protocol):
    """One change of a module, without tracing. Classes of steps are registered by :func:`register_step`."""

    do: ClassVar[str]  #: how files name it
    shape: ClassVar[Record]  #: of its JSON values

    def __bool__(self) -> bool:
        """Whether it does anything."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """Its JSON values, without ``do``."""
        ...

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The step that ``to_dict`` wrote; ``data`` has the ``shape``. Raises ValueError where it makes no sense."""
        ...

    def apply(self, model: nn.Module) -> None:
        """Change ``model`` in place.

        Raises:
            InputError: it names a layer or a channel that the model does not have.
        """
        ...


S = TypeVar("S", bound=type[Step])
_STEPS: dict[str, type[Step]] = {}
#: modules of ours that register a step when they are imported
_HOMES = {"heads": "netsmith.compression.heads", "sparsify": "netsmith.compression.sparsify"}


def register_step(step: S) -> S:
    """Let recipes hold steps of a class; whoever replays such a recipe must have imported it."""
    _STEPS[step.do] = step
    return step


def step_names() -> list[str]:
    """What a step may be called in a file."""
    return sorted({*_STEPS, *_HOMES})


def step_class(name: str) -> type[Step]:
    """The class of the steps that files call ``name``."""
    if name not in _STEPS:
        import_module(_HOMES[name])
    return _STEPS[name]


_COUNT, _PLACE = Number(low=0, high=MOST_CHANNELS, whole=True), Number(low=0, high=7, whole=True)


def _pass_rule(branch: Mapping[str, Any]) -> str | None:
    """Modules that are passed: a path each, and how many values it yields."""
    for pair in branch["passes"]:
        fits = len(pair) == 2 and isinstance(pair[0], str) and _PLACE.problem(pair[1], "") is None
        if not fits:
            return f"passes has {shown(pair)}, not the path of a module and a small number"
    return None


@register_step
@dataclass(frozen=True)
class DropStep:
    """Remove residual branches."""

    do: ClassVar[str] = "drop"
    shape: ClassVar[Record] = Record({
        "branches": List(Record({
            "name": Text(), "zero": Text(), "passes": List(List(Anything())), "channels": _COUNT, "channel_dim": _PLACE,
            "stride": List(_COUNT), "layers": List(Text()),
        }, rule=_pass_rule)),
    })  # fmt: skip
    branches: tuple[Branch, ...]

    def __bool__(self) -> bool:
        return bool(self.branches)

    def to_dict(self) -> dict[str, Any]:
        return {"branches": [b.to_dict() for b in self.branches]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> DropStep:
        return cls(tuple(Branch.from_dict(b) for b in data["branches"]))

    def apply(self, model: nn.Module) -> None:
        drop_branches(model, self.branches)


@register_step
@dataclass(frozen=True)
class PruneStep:
    """Slice layers.

    Attributes:
        layers: module path (or parameter path) to what stays.
        attributes: module path to integer attributes that its forward reads (``num_heads``) and their new values.
        groups: group name to the number of kept and original channels; a note for readers, not used in replay.
        padding: path of a module that pads channels to ``(dim, front, behind)``: the dimension of its output, and by
            how many it is cut in front and behind.
    """

    do: ClassVar[str] = "prune"
    shape: ClassVar[Record] = Record(
        {"layers": Named(Record(optional={"in": Text(), "out": Text(), "dim": _PLACE}))},
        {
            "groups": Named(List(_COUNT, count=2)),
            "attributes": Named(Named(_COUNT)),
            "padding": Named(List(_COUNT, count=3)),
        },
    )
    layers: Mapping[str, LayerKeep]
    attributes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    groups: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    padding: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.layers)

    def to_dict(self) -> dict[str, Any]:
        """Index lists are written as ranges (``0-15,18``)."""
        layers: dict[str, dict[str, Any]] = {}
        for name, keep in self.layers.items():
            entry: dict[str, Any] = {}
            if keep.inputs is not None:
                entry["in"] = to_ranges(keep.inputs)
            if keep.outputs is not None:
                entry["out"] = to_ranges(keep.outputs)
            if keep.dim is not None:
                entry["dim"] = keep.dim
            layers[name] = entry
        attributes = {k: dict(v) for k, v in self.attributes.items()}
        groups = {k: list(v) for k, v in self.groups.items()}
        found = {"groups": groups, "layers": layers, "attributes": attributes}
        return found | ({"padding": {k: list(v) for k, v in self.padding.items()}} if self.padding else {})

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> PruneStep:
        layers = {
            name: LayerKeep(
                from_ranges(e["in"]) if "in" in e else None, from_ranges(e["out"]) if "out" in e else None, e.get("dim")
            )
            for name, e in data["layers"].items()
        }
        groups = {k: (int(v[0]), int(v[1])) for k, v in (data.get("groups") or {}).items()}
        padding = {k: (int(v[0]), int(v[1]), int(v[2])) for k, v in (data.get("padding") or {}).items()}
        return cls(layers, data.get("attributes") or {}, groups, padding)

    def apply(self, model: nn.Module) -> None:
        for name, keep in self.layers.items():
            if keep.dim is not None:
                slice_bare(model, name, keep)
            else:
                slice_layer(submodule(model, name), keep, name)
        for name, values in self.attributes.items():
            module = submodule(model, name)
            for attribute, value in values.items():
                if not isinstance(getattr(module, attribute, None), int):
                    raise InputError(
                        f"the recipe sets {attribute!r} of layer {name!r}, which is no number there; use the same MODEL"
                    )
                setattr(module, attribute, value)
        for name, (dim, front, behind) in self.padding.items():
            submodule(model, name).register_forward_hook(CutEnds(dim, front, behind))
