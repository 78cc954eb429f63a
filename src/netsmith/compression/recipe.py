"""The replayable recipe: what was removed from a network, as indices, applied by slicing tensors.

A recipe knows nothing of dependency graphs: it holds, for each layer, the input and output channels that stay. So the
user's own factory output becomes the compressed network without tracing, and the saved weights load strictly.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from netsmith.compression.branches import Branch, ZeroBranch, drop_branches
from netsmith.compression.ranges import MOST_CHANNELS, from_ranges, to_ranges
from netsmith.errors import InputError, shown
from netsmith.files import parse_json, read_json
from netsmith.shapes import List, Named, Number, Record, Text

VERSION = 1
_REMEDY = "give the recipe.json of a run"


_COUNT, _PLACE = Number(low=0, high=MOST_CHANNELS, whole=True), Number(low=0, high=7, whole=True)
_BITS = List(Number(low=1, high=32, whole=True), count=2)
_RECIPE = Record(
    {"version": Number(low=1, whole=True), "steps": List(Record({"do": Text()}))},
    {"quantize": Record(optional={"int8": List(Text()), "bits": Named(_BITS)})},
)


class Step(Protocol):
    """One thing that was done to a network, to be done again to another from the same factory.

    Attributes:
        do: its name in a recipe.
        shape: what its record there must be, beside ``do``.
    """

    do: ClassVar[str]
    shape: ClassVar[Record]

    def __bool__(self) -> bool:
        """Whether it does anything."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """Its record, JSON values without ``do``."""
        ...

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Step:
        """The inverse of :meth:`to_dict`, of a record of its shape.

        Raises:
            KeyError, TypeError, ValueError: the record makes no step.
        """
        ...

    def apply(self, model: nn.Module) -> None:
        """Do it to ``model`` in place, without tracing; weights then load strictly.

        Raises:
            InputError: the model has no such layer, or no such channel.
        """
        ...


STEPS: dict[str, type[Step]] = {}
_HOMES = {"heads": "netsmith.compression.heads"}  #: steps whose module is imported when a recipe names them first
Made = TypeVar("Made", bound=Step)


def register_step(step: type[Made]) -> type[Made]:
    """Let recipes have steps of a class; a decorator."""
    STEPS[step.do] = step
    return step


@dataclass(frozen=True)
class LayerKeep:
    """Channels of a layer that stay, in its present numbering.

    Attributes:
        inputs, outputs: ascending indices; ``None`` leaves the side alone. Norms and depthwise convolutions, whose
            sides are one, use ``outputs`` alone.
        dim: for a bare parameter, the sliced dimension (``outputs`` has the indices); ``None`` for a module.
    """

    inputs: tuple[int, ...] | None = None
    outputs: tuple[int, ...] | None = None
    dim: int | None = None


@register_step
@dataclass(frozen=True)
class PruneStep:
    """Slice layers.

    Attributes:
        layers: module path (or parameter path) to what stays.
        attributes: module path to integer attributes that its forward reads (``num_heads``) and their new values.
        groups: group name to the number of kept and original channels; a note for readers, not used in replay.
    """

    do: ClassVar[str] = "prune"
    shape: ClassVar[Record] = Record(optional={
        "groups": Named(List(_COUNT, count=2)), "attributes": Named(Named(_COUNT)),
        "layers": Named(Record(optional={"in": Text(), "out": Text(), "dim": _PLACE})),
    })  # fmt: skip

    layers: Mapping[str, LayerKeep]
    attributes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    groups: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.layers)

    def to_dict(self) -> dict[str, Any]:
        layers: dict[str, dict[str, Any]] = {}
        for name, keep in self.layers.items():
            sides = (("in", keep.inputs), ("out", keep.outputs))
            layers[name] = {side: to_ranges(kept) for side, kept in sides if kept is not None}
            if keep.dim is not None:
                layers[name]["dim"] = keep.dim
        attributes = {k: dict(v) for k, v in self.attributes.items()}
        return {"groups": {k: list(v) for k, v in self.groups.items()}, "layers": layers, "attributes": attributes}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> PruneStep:
        def side(entry: Mapping[str, Any], name: str) -> tuple[int, ...] | None:
            return from_ranges(entry[name]) if name in entry else None

        layers = {n: LayerKeep(side(e, "in"), side(e, "out"), e.get("dim")) for n, e in data["layers"].items()}
        groups = {k: (int(v[0]), int(v[1])) for k, v in (data.get("groups") or {}).items()}
        return cls(layers, data.get("attributes") or {}, groups)

    def apply(self, model: nn.Module) -> None:
        for name, keep in self.layers.items():
            if keep.dim is not None:
                _slice_bare(model, name, keep)
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


@register_step
@dataclass(frozen=True)
class DropStep:
    """Remove residual branches."""

    do: ClassVar[str] = "drop"
    shape: ClassVar[Record] = Record({"branches": List(Branch.shape)})

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


@dataclass(frozen=True)
class Recipe:
    """Decisions in the order in which they were taken; ``quantize`` belongs to the quantizer.

    >>> Recipe.from_json(Recipe().to_json()) == Recipe()
    True
    """

    steps: tuple[Step, ...] = ()
    quantize: Mapping[str, Any] = field(default_factory=dict)
    version: int = VERSION

    def then(self, *steps: Step) -> Recipe:
        """Return the recipe with ``steps`` after its own; steps that do nothing are left out."""
        return Recipe((*self.steps, *(s for s in steps if s)), self.quantize, self.version)

    def to_json(self) -> str:
        """Return the recipe as JSON text; index lists are written as ranges (``0-15,18``)."""
        steps = [{"do": s.do, **s.to_dict()} for s in self.steps]
        return json.dumps({"version": self.version, "steps": steps, "quantize": dict(self.quantize)}, indent=1)

    @classmethod
    def read(cls, path: str | Path) -> Recipe:
        """Read a ``recipe.json``.

        Raises:
            InputError: it cannot be read, or holds no recipe.
        """
        return cls._of(read_json(Path(path), _REMEDY), str(path))

    @classmethod
    def from_json(cls, text: str) -> Recipe:
        """Read what ``to_json`` wrote.

        Raises:
            InputError: the text is no recipe, or one of a newer version.
        """
        return cls._of(parse_json(text, "the recipe", _REMEDY), "the recipe")

    @classmethod
    def _of(cls, data: Any, called: str) -> Recipe:
        problem = _RECIPE.problem(data, "") or next(filter(None, map(_step_problem, data["steps"])), None)
        if problem:
            raise InputError(f"{called} is no recipe of netsmith: {problem}; {_REMEDY}")
        if data["version"] > VERSION:
            raise InputError(
                f"{called} has version {data['version']}, this netsmith reads up to {VERSION}; update netsmith"
            )
        try:
            steps = tuple(STEPS[s["do"]].from_dict(s) for s in data["steps"])
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{called} is no recipe of netsmith ({shown(str(error))}); {_REMEDY}") from error
        return cls(steps, data.get("quantize") or {}, data["version"])


def _step_problem(data: Mapping[str, Any]) -> str | None:
    """What is wrong with the record of a step, as a sentence without its end, or None."""
    name = data["do"]
    if name not in STEPS and name in _HOMES:
        import_module(_HOMES[name])
    known = Text(tuple(sorted({*STEPS, *_HOMES})))
    return known.problem(name, "do of a step") or STEPS[name].shape.problem(data, f"the step {name}")


def apply_recipe(model: nn.Module, recipe: Recipe) -> nn.Module:
    """Apply every step to ``model`` in place, without tracing, and return it; weights then load strictly.

    Raises:
        InputError: the recipe names a layer or a channel that the model does not have.
    """
    for step in recipe.steps:
        step.apply(model)
    return model


def slice_layer(module: nn.Module, keep: LayerKeep, name: str = "layer") -> None:
    """Keep the channels ``keep`` of a module in place: tensors shrink and the module's own counts follow.

    Raises:
        InputError: the module is of a kind that netsmith cannot slice, or an index is out of range.
    """
    if isinstance(module, nn.modules.conv._ConvNd):
        _slice_conv(module, keep, name)
    elif isinstance(module, nn.Linear):
        if keep.outputs is not None:
            _slice(module, ("weight", "bias"), keep.outputs, name)
            module.out_features = len(keep.outputs)
        if keep.inputs is not None:
            _slice(module, ("weight",), keep.inputs, name, dim=1)
            module.in_features = len(keep.inputs)
    elif keep.outputs is None:
        return
    elif isinstance(module, _NormBase):
        _slice(module, ("weight", "bias", "running_mean", "running_var"), keep.outputs, name)
        module.num_features = len(keep.outputs)
    elif isinstance(module, (nn.LayerNorm, nn.RMSNorm)) and len(module.normalized_shape) == 1:
        _slice(module, ("weight", "bias"), keep.outputs, name)
        module.normalized_shape = (len(keep.outputs),)
    elif isinstance(module, nn.GroupNorm):
        if module.num_groups > 1:  # whole groups go, so the statistics of the others stay what they were
            module.num_groups = len(_whole_groups(keep.outputs, module.num_channels // module.num_groups, name))
        _slice(module, ("weight", "bias"), keep.outputs, name)
        module.num_channels = len(keep.outputs)
    elif isinstance(module, nn.PReLU):
        if module.num_parameters > 1:
            _slice(module, ("weight",), keep.outputs, name)
            module.num_parameters = len(keep.outputs)
    elif isinstance(module, nn.Embedding):
        _slice(module, ("weight",), keep.outputs, name, dim=1)
        module.embedding_dim = len(keep.outputs)
    elif isinstance(module, ZeroBranch):
        module.channels = len(keep.outputs)
    else:
        raise InputError(f"layer {name!r} is a {type(module).__name__}, which netsmith cannot slice; freeze its group")


def _slice_conv(module: Any, keep: LayerKeep, name: str) -> None:
    """Slice a convolution; a grouped one loses whole groups, on both of its sides, or equally many channels of each."""
    out_dim = 1 if module.transposed else 0
    if module.groups == 1:
        if keep.outputs is not None:
            _slice(module, ("weight",), keep.outputs, name, dim=out_dim)
            _slice(module, ("bias",), keep.outputs, name)
            module.out_channels = len(keep.outputs)
        if keep.inputs is not None:
            _slice(module, ("weight",), keep.inputs, name, dim=1 - out_dim)
            module.in_channels = len(keep.inputs)
        return
    n = module.groups
    per = [module.in_channels // n, module.out_channels // n]
    kept = [
        None if side is None else _groups_and_places(side, p, name)
        for side, p in zip((keep.inputs, keep.outputs), per, strict=True)
    ]
    groups = next((k[0] for k in kept if k is not None), list(range(n)))
    if any(k is not None and k[0] != groups for k in kept):
        raise InputError(f"layer {name!r} keeps other convolution groups on its input than on its output")
    inside, outside = (list(range(p)) if k is None else k[1] for k, p in zip(kept, per, strict=True))
    # dimension 0 of the weight runs over all groups, dimension 1 within one
    rows, columns, row = (inside, outside, per[0]) if module.transposed else (outside, inside, per[1])
    _slice(module, ("weight",), [g * row + i for g in groups for i in rows], name)
    if len(columns) < module.weight.shape[1]:
        _slice(module, ("weight",), columns, name, dim=1)
    _slice(module, ("bias",), [g * per[1] + i for g in groups for i in outside], name)
    module.groups, module.in_channels = len(groups), len(inside) * len(groups)
    module.out_channels = len(outside) * len(groups)


def _groups_and_places(keep: Sequence[int], size: int, name: str) -> tuple[list[int], list[int]]:
    """Which groups of a grouped convolution have channels left, and which places within each of them."""
    groups, places = sorted({i // size for i in keep}), sorted({i % size for i in keep})
    if len(groups) * len(places) != len(keep):
        raise InputError(
            f"layer {name!r} works on channel groups of {size}: keep or drop each of them whole, or the same places "
            "in each"
        )
    return groups, places


def _whole_groups(keep: Sequence[int], size: int, name: str) -> list[int]:
    groups = sorted({i // size for i in keep})
    if len(groups) * size != len(keep):
        raise InputError(f"layer {name!r} works on channel groups of {size}: keep or drop each of them whole")
    return groups


def _slice(module: nn.Module, attributes: Sequence[str], keep: Sequence[int], name: str, dim: int = 0) -> None:
    for attribute in attributes:
        tensor = getattr(module, attribute, None)
        if tensor is not None:
            _replace(module, attribute, _select(tensor, keep, dim, name))


def _slice_bare(model: nn.Module, path: str, keep: LayerKeep) -> None:
    parent, _, attribute = path.rpartition(".")
    module = submodule(model, parent)
    tensor = getattr(module, attribute, None)
    if tensor is None:
        raise InputError(f"the recipe names the parameter {path!r}, which this model does not have; use the same MODEL")
    assert keep.outputs is not None and keep.dim is not None
    _replace(module, attribute, _select(tensor, keep.outputs, keep.dim, path))


def _select(tensor: torch.Tensor, keep: Sequence[int], dim: int, name: str) -> torch.Tensor:
    size = tensor.shape[dim]
    if len(keep) == 0 or min(keep) < 0 or max(keep) >= size:
        raise InputError(
            f"layer {name!r} has {size} channels on dimension {dim}, which the kept indices "
            f"{to_ranges(keep) or '(none)'} do not fit; use the same MODEL that the recipe was made from"
        )
    index = torch.as_tensor(np.asarray(keep, dtype=np.int64), device=tensor.device)
    return tensor.detach().index_select(dim, index)


def _replace(module: nn.Module, attribute: str, value: torch.Tensor) -> None:
    old = getattr(module, attribute)
    if isinstance(old, nn.Parameter):
        setattr(module, attribute, nn.Parameter(value, requires_grad=old.requires_grad))
    else:
        setattr(module, attribute, value)  # a buffer stays a registered buffer


def submodule(model: nn.Module, name: str) -> nn.Module:
    try:
        return model.get_submodule(name)
    except AttributeError as e:
        raise InputError(f"the recipe names layer {name!r}, which this model does not have; use the same MODEL") from e
