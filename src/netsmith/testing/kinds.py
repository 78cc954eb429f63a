"""What every kind of decisions must do."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from netsmith.accuracy.incremental import IncrementalEvaluator
from netsmith.compression.recipe import Recipe, apply_recipe
from netsmith.data.batch import Batch
from netsmith.decisions.given import GivenSpace
from netsmith.decisions.kind import Designs, Kind
from netsmith.decisions.slim import slim
from netsmith.decisions.tools import AtHand, Tools
from netsmith.network.copying import copy_network
from netsmith.network.edit import GraphEdit
from netsmith.network.graph import trace
from netsmith.network.outputs import tensors_of
from netsmith.network.passes import get_parameter
from netsmith.tasks.task import Task

Build = Callable[[Designs], nn.Module]  #: a design ``(D_k,)`` to the network that is built of it


def check_kind(
    kind: Kind, model: nn.Module, images: torch.Tensor | Batch, tools: Tools | None = None, build: Build | None = None,
    tolerance: float = 1e-4,
) -> None:  # fmt: skip
    """Prove the contract of a kind: for every choice, what is evaluated, what is priced and what is built are one.

    Every choice of every decision is taken alone, and then all decisions at once, at random.

    Args:
        kind: over the trace of ``model``.
        model: in eval mode; not changed.
        images: what it takes, ``(N, ...)``, or a batch of several inputs.
        tools: what the kind asks for.
        build: makes a network of a design, where that is more than what ``apply`` does (bits are rounded at export).
        tolerance: of outputs, as a share of the largest one.

    Raises:
        AssertionError: one sentence on what is broken.
    """
    tools, space = tools or AtHand(), GivenSpace(kind.graph, (kind,))
    evaluator = IncrementalEvaluator(kind.graph, Task(), Batch.of(images))
    sizes, reference = space.decisions.sizes, space.reference
    assert len(sizes), "the kind has no decisions"
    assert ((reference >= 0) & (reference < sizes)).all(), f"the reference {reference.tolist()} is no design"
    _check_reference(kind, space, tools)
    depends = space.depends()
    designs = [_with(reference, d, k) for d in range(len(sizes)) for k in range(sizes[d]) if k != reference[d]]
    designs += list(np.random.default_rng(0).integers(0, sizes, size=(4, len(sizes))))
    for design in designs:
        _check_design(kind, space, model, images, evaluator, space.canonical(design), tools, build, tolerance)
        changed = design != reference
        rows = space.rows(np.stack([design, reference]))
        moved = np.any([c[0] != c[1] for c in rows.columns.values()], axis=0)
        other = np.flatnonzero(moved & ~depends[changed].any(axis=0))
        assert not len(other), (
            f"{_said(space, design)} changes row {rows.names[int(other[0])]!r}, which bearing() denies"
        )


def _check_reference(kind: Kind, space: GivenSpace, tools: Tools) -> None:
    rows = space.rows(space.reference)
    for name, column in rows.columns.items():
        least = getattr(kind.graph.layers, name)
        # the widest numbers that a target has may be narrower than those of the network as given
        same = (column[0] == least).all() if kind.stage != "numbers" else (column[0] <= least).all()
        assert same, f"the reference changes the column {name} of the layer table"
    if kind.stage != "numbers":
        edit = space.edit(space.reference, tools)
        assert not (edit.weights or edit.zeros or edit.inputs or edit.outputs), "the reference changes the network"
    assert (space.canonical(space.reference) == space.reference).all(), "canonical() changes the reference"


def _check_design(
    kind: Kind, space: GivenSpace, model: nn.Module, images: torch.Tensor | Batch, evaluator: IncrementalEvaluator,
    design: Designs, tools: Tools, build: Build | None, tolerance: float,
) -> None:  # fmt: skip
    said, before = _said(space, design), {n: t.clone() for n, t in model.state_dict().items()}
    edit = space.edit(design, tools)
    _check_shapes(space, edit, said)
    slimmed = slim(model, space, design, tools)
    assert all(torch.equal(t, before[n]) for n, t in model.state_dict().items()), f"{said}: apply changed the model"
    built = (slimmed.model if build is None else build(design)).eval()
    with torch.inference_mode():
        expected = torch.cat([tensors_of(outputs)[0] for outputs in evaluator.outputs(edit)])
        got = tensors_of(Batch.of(images)(built))[0]
    far = float((got - expected).abs().max() / expected.abs().max().clamp(min=1e-12))
    assert far <= tolerance, f"{said}: what is built differs by {far:.2g} of the largest output from what was evaluated"
    if build is None:
        priced, real = int(space.rows(design).macs.sum()), int(trace(built, kind.graph.example).layers.macs.sum())
        assert priced == real, f"{said}: priced at {priced} multiply-accumulates, built with {real}"
        again = apply_recipe(copy_network(model), Recipe.from_json(slimmed.recipe.to_json()))
        again.load_state_dict(slimmed.model.state_dict())
        with torch.inference_mode():
            replayed = tensors_of(Batch.of(images)(again.eval()))[0]
        assert torch.equal(replayed, got), f"{said}: the recipe, read back, makes another network"


def _check_shapes(space: GivenSpace, edit: GraphEdit, said: str) -> None:
    for name, value in edit.weights.items():
        given = get_parameter(space.graph.module, name)
        assert value.shape == given.shape, f"{said}: the edit gives {name} the shape {tuple(value.shape)}"
        assert bool(torch.isfinite(value).all()), f"{said}: the edit makes {name} infinite or NaN"


def _with(design: Designs, d: int, k: int) -> Designs:
    out = design.copy()
    out[d] = k
    return out


def _said(space: GivenSpace, design: Designs) -> str:
    changed = {
        space.decisions.decisions[d].name: space.decisions.decisions[d].choices[int(design[d])]
        for d in np.flatnonzero(design != space.reference)[:3]
    }
    return ", ".join(f"{name} = {choice}" for name, choice in changed.items()) or "the reference"
