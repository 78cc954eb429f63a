"""Whether a user's kind of decisions keeps its contract, before a job spends time on it.

What can be told from one design in a moment is told here; ``check_kind`` of ``netsmith.testing`` proves the rest.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import nn

from netsmith.compression.recipe import Recipe, apply_recipe
from netsmith.compression.steps import Step, step_names
from netsmith.decisions.given import GivenSpace
from netsmith.decisions.kind import Deltas, Designs, Kind
from netsmith.decisions.registry import REMEDY, asked
from netsmith.decisions.tools import Tools
from netsmith.errors import InputError, shown
from netsmith.network.copying import copy_network
from netsmith.network.edit import GraphEdit
from netsmith.network.graph import trace


def check_contract(kind: Kind, model: nn.Module, tools: Tools) -> None:
    """Check what a user's kind does where every decision takes the choice farthest from the reference.

    Args:
        kind: over the trace of ``model``.
        model: in eval mode; not changed.
        tools: that the kind may ask for.

    Raises:
        InputError: one sentence on what is broken.
    """
    called, sizes = f"the kind {kind.name!r}", [len(d.choices) for d in kind.decisions]
    with asked(f"reference of {called}"):
        reference = np.asarray(kind.reference)
    if reference.shape != (len(sizes),) or not all(0 <= k < n for k, n in zip(reference, sizes, strict=True)):
        raise InputError(f"{called} has the reference {shown(reference.tolist())}, which is no design of it; {REMEDY}")
    design = np.array([0 if k else n - 1 for k, n in zip(reference, sizes, strict=True)], dtype=np.int64)
    _check_columns(kind, reference, design, called)
    with asked(f"edit() of {called}"):
        edit = kind.edit(design, GraphEdit(), tools)
    _check_edit(kind, edit, called)
    _check_applied(kind, model, design, tools, called)


def _check_columns(kind: Kind, reference: Designs, design: Designs, called: str) -> None:
    table = kind.graph.layers
    designs, rows = np.stack([reference, design, design]), np.arange(len(table))
    with asked(f"columns() of {called}"):
        deltas = kind.columns(designs, rows)
    if not isinstance(deltas, Deltas):
        raise InputError(f"columns() of {called} returns {shown(deltas)}, no Deltas; {REMEDY}")
    said = {**deltas.removed, **deltas.most} | ({} if deltas.entries is None else {"entries": deltas.entries})
    for name, column in said.items():
        if name not in table.columns:
            raise InputError(f"columns() of {called} changes {name!r}, which is no column of a layer table; {REMEDY}")
        if np.shape(column) != (3, len(table)):
            raise InputError(
                f"columns() of {called} gives {name} the shape {np.shape(column)} for 3 designs and {len(table)} rows, "
                f"not (3, {len(table)}); {REMEDY}"
            )
    space = GivenSpace(kind.graph, (kind,))
    priced = space.rows(reference)
    moved = [n for n, c in priced.columns.items() if (c[0] != table.columns[n]).any()]
    if moved and kind.stage != "numbers":
        raise InputError(f"columns() of {called} changes {moved[0]} at its reference, which changes nothing; {REMEDY}")
    with asked(f"bearing(), sets() or layers() of {called}"):
        bearing, sets = np.shape(kind.bearing()), np.shape(kind.sets())
        for d in range(len(design)):
            kind.layers(d), [kind.gone(d, k) for k in range(len(kind.decisions[d].choices))]
    wanted = (len(design), len(table))
    if bearing != wanted or sets != wanted:
        other, shape = ("bearing", bearing) if bearing != wanted else ("sets", sets)
        raise InputError(f"{other}() of {called} has the shape {shape}, not decisions by rows {wanted}; {REMEDY}")


def _check_edit(kind: Kind, edit: Any, called: str) -> None:
    if not isinstance(edit, GraphEdit):
        raise InputError(f"edit() of {called} returns {shown(edit)}, no GraphEdit; {REMEDY}")
    module = kind.graph.module
    tensors = dict(module.named_parameters(remove_duplicate=False)) | dict(module.named_buffers(remove_duplicate=False))
    for name, value in edit.weights.items():
        if name not in tensors:
            raise InputError(f"edit() of {called} changes {name!r}, which is no parameter of the trace; {REMEDY}")
        if value.shape != tensors[name].shape:
            raise InputError(
                f"edit() of {called} gives {name} the shape {tuple(value.shape)}, and no shape may change from "
                f"{tuple(tensors[name].shape)}; {REMEDY}"
            )


def _check_applied(kind: Kind, model: nn.Module, design: Designs, tools: Tools, called: str) -> None:
    small = copy_network(model)
    with asked(f"apply() of {called}"):
        step: Step | None = kind.apply(small, design, (), tools)
    if step is not None:
        if getattr(step, "do", None) not in step_names():
            raise InputError(f"apply() of {called} returns {shown(step)}, no step that register_step knows; {REMEDY}")
        with asked(f"the step {step.do!r} of {called}"):
            again = Recipe.from_json(Recipe().then(step).to_json())
            small = apply_recipe(small, again)
    with asked(f"the network that {called} makes"):
        built = int(trace(small, kind.graph.example).layers.macs.sum())
    priced = int(GivenSpace(kind.graph, (kind,)).rows(design).macs.sum())
    if built != priced:
        raise InputError(
            f"{called} prices a network at {priced} multiply-accumulates that has {built} as it is built; {REMEDY}"
        )
