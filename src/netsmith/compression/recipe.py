"""The replayable recipe: what was removed from a network, as indices, applied by slicing tensors.

A recipe knows nothing of dependency graphs: it holds, for each layer, the input and output channels that stay. So the
user's own factory output becomes the compressed network without tracing, and the saved weights load strictly.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from netsmith.compression.branches import Branch, ZeroBranch, drop_branches
from netsmith.compression.padding import CutEnds
from netsmith.errors import InputError, shown
from netsmith.files import parse_json, read_json
from netsmith.shapes import Anything, List, Named, Number, Record, Text

IntArray = NDArray[np.int64]
VERSION = 1
_REMEDY = "give the recipe.json of a run"
MOST_CHANNELS = 10_000_000  #: of a layer


def _pass_rule(branch: Mapping[str, Any]) -> str | None:
    """Modules that are passed: a path each, and how many values it yields."""
    for pair in branch["passes"]:
        fits = len(pair) == 2 and isinstance(pair[0], str) and _PLACE.problem(pair[1], "") is None
        if not fits:
            return f"passes has {shown(pair)}, not the path of a module and a small number"
    return None


_COUNT, _PLACE = Number(low=0, high=MOST_CHANNELS, whole=True), Number(low=0, high=7, whole=True)
_BITS = List(Number(low=1, high=32, whole=True), count=2)
_STEP = Record(
    {"do": Text(("drop", "prune"))},
    {
        "groups": Named(List(_COUNT, count=2)), "attributes": Named(Named(_COUNT)),
        "padding": Named(List(_COUNT, count=3)),
        "layers": Named(Record(optional={"in": Text(), "out": Text(), "dim": _PLACE})),
        "branches": List(Record({
            "name": Text(), "zero": Text(), "passes": List(List(Anything())), "channels": _COUNT, "channel_dim": _PLACE,
            "stride": List(_COUNT), "layers": List(Text()),
        }, rule=_pass_rule)),
    },
)  # fmt: skip
_RECIPE = Record(
    {"version": Number(low=1, whole=True), "steps": List(_STEP)},
    {"quantize": Record(optional={"int8": List(Text()), "bits": Named(_BITS)})},
)


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

    layers: Mapping[str, LayerKeep]
    attributes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    groups: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    padding: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class DropStep:
    """Remove residual branches."""

    branches: tuple[Branch, ...]


@dataclass(frozen=True)
class Recipe:
    """Decisions in the order in which they were taken; ``quantize`` belongs to the quantizer.

    >>> Recipe.from_json(Recipe().to_json()) == Recipe()
    True
    """

    steps: tuple[DropStep | PruneStep, ...] = ()
    quantize: Mapping[str, Any] = field(default_factory=dict)
    version: int = VERSION

    def then(self, *steps: DropStep | PruneStep) -> Recipe:
        """Return the recipe with ``steps`` after its own; steps that do nothing are left out."""
        real = [s for s in steps if (s.branches if isinstance(s, DropStep) else s.layers)]
        return Recipe((*self.steps, *real), self.quantize, self.version)

    def to_json(self) -> str:
        """Return the recipe as JSON text; index lists are written as ranges (``0-15,18``)."""
        steps = [_drop_to_dict(s) if isinstance(s, DropStep) else _prune_to_dict(s) for s in self.steps]
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
        if problem := _RECIPE.problem(data, ""):
            raise InputError(f"{called} is no recipe of netsmith: {problem}; {_REMEDY}")
        if data["version"] > VERSION:
            raise InputError(
                f"{called} has version {data['version']}, this netsmith reads up to {VERSION}; update netsmith"
            )
        try:
            steps = tuple(_step_from_dict(s) for s in data["steps"])
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{called} is no recipe of netsmith ({shown(str(error))}); {_REMEDY}") from error
        return cls(steps, data.get("quantize") or {}, data["version"])


def apply_recipe(model: nn.Module, recipe: Recipe) -> nn.Module:
    """Apply every step to ``model`` in place, without tracing, and return it; weights then load strictly.

    Raises:
        InputError: the recipe names a layer or a channel that the model does not have.
    """
    for step in recipe.steps:
        if isinstance(step, DropStep):
            drop_branches(model, step.branches)
        else:
            apply_prune(model, step)
    return model


def apply_prune(model: nn.Module, step: PruneStep) -> nn.Module:
    """Slice the layers of one step in place and return the model. Raises InputError as ``apply_recipe`` does."""
    for name, keep in step.layers.items():
        if keep.dim is not None:
            _slice_bare(model, name, keep)
        else:
            slice_layer(_submodule(model, name), keep, name)
    for name, values in step.attributes.items():
        module = _submodule(model, name)
        for attribute, value in values.items():
            if not isinstance(getattr(module, attribute, None), int):
                raise InputError(
                    f"the recipe sets {attribute!r} of layer {name!r}, which is no number there; use the same MODEL"
                )
            setattr(module, attribute, value)
    for name, (dim, front, behind) in step.padding.items():
        _submodule(model, name).register_forward_hook(CutEnds(dim, front, behind))
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
    module = _submodule(model, parent)
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
            f"{_to_ranges(keep) or '(none)'} do not fit; use the same MODEL that the recipe was made from"
        )
    index = torch.as_tensor(np.asarray(keep, dtype=np.int64), device=tensor.device)
    return tensor.detach().index_select(dim, index)


def _replace(module: nn.Module, attribute: str, value: torch.Tensor) -> None:
    old = getattr(module, attribute)
    if isinstance(old, nn.Parameter):
        setattr(module, attribute, nn.Parameter(value, requires_grad=old.requires_grad))
    else:
        setattr(module, attribute, value)  # a buffer stays a registered buffer


def _submodule(model: nn.Module, name: str) -> nn.Module:
    try:
        return model.get_submodule(name)
    except AttributeError as e:
        raise InputError(f"the recipe names layer {name!r}, which this model does not have; use the same MODEL") from e


def _to_ranges(indices: Sequence[int]) -> str:
    """``(0, 1, 2, 5)`` as ``"0-2,5"``."""
    parts: list[list[int]] = []
    for i in indices:
        if parts and i == parts[-1][1] + 1:
            parts[-1][1] = i
        else:
            parts.append([i, i])
    return ",".join(f"{a}-{b}" if b > a else f"{a}" for a, b in parts)


def _from_ranges(text: str) -> tuple[int, ...]:
    """The inverse of :func:`_to_ranges`."""
    found: list[int] = []
    for part in text.split(",") if text else ():
        first, _, last = part.partition("-")
        here = range(int(first), int(last or first) + 1)
        if here.stop > MOST_CHANNELS or not here or (found and here.start <= found[-1]):
            raise ValueError(f"the indices {part} are not ascending, or more than a layer has")
        found += here
    return tuple(found)


def _prune_to_dict(step: PruneStep) -> dict[str, Any]:
    layers: dict[str, dict[str, Any]] = {}
    for name, keep in step.layers.items():
        entry: dict[str, Any] = {}
        if keep.inputs is not None:
            entry["in"] = _to_ranges(keep.inputs)
        if keep.outputs is not None:
            entry["out"] = _to_ranges(keep.outputs)
        if keep.dim is not None:
            entry["dim"] = keep.dim
        layers[name] = entry
    attributes = {k: dict(v) for k, v in step.attributes.items()}
    groups = {k: list(v) for k, v in step.groups.items()}
    found = {"do": "prune", "groups": groups, "layers": layers, "attributes": attributes}
    return found | ({"padding": {k: list(v) for k, v in step.padding.items()}} if step.padding else {})


def _drop_to_dict(step: DropStep) -> dict[str, Any]:
    return {"do": "drop", "branches": [b.to_dict() for b in step.branches]}


def _step_from_dict(data: Mapping[str, Any]) -> DropStep | PruneStep:
    if data["do"] == "drop":
        return DropStep(tuple(Branch.from_dict(b) for b in data["branches"]))
    if data["do"] != "prune":
        raise ValueError(f"unknown step {data['do']!r}")
    layers = {
        name: LayerKeep(
            _from_ranges(e["in"]) if "in" in e else None, _from_ranges(e["out"]) if "out" in e else None, e.get("dim")
        )
        for name, e in data["layers"].items()
    }
    groups = {k: (int(v[0]), int(v[1])) for k, v in (data.get("groups") or {}).items()}
    padding = {k: (int(v[0]), int(v[1]), int(v[2])) for k, v in (data.get("padding") or {}).items()}
    return PruneStep(layers, data.get("attributes") or {}, groups, padding)
