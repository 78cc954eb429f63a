"""What the decisions of every search must do, and what every search space."""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from netsmith.decisions.search_space import Designs, RowSpace, SearchSpace
from netsmith.network.layers import LayerTable
from netsmith.space import Space


def check_decisions(space: Space, seed: int = 0, n: int = 32) -> None:
    """Prove the contract of decisions: shapes, validity, ties, encoding, operators and the JSON round trip.

    Raises:
        AssertionError: one sentence on what is broken.
    """
    rng = np.random.default_rng(seed)
    designs = space.sample(rng, n)
    count = len(space)
    assert designs.shape == (n, count), f"sample(rng, {n}) has shape {designs.shape}, expected {(n, count)}"
    assert np.issubdtype(designs.dtype, np.integer), f"sample returns {designs.dtype}, expected integers"
    assert space.valid(designs).all(), "sample returned a design that valid() rejects (range or ties)"
    again = space.sample(np.random.default_rng(seed), n)
    assert (designs == again).all(), "sample is not deterministic for one seed of the generator"

    before = designs.copy()
    assert (space.mutate(rng, designs, 0.0) == designs).all(), "mutate with rate 0 changed a design"
    mutated = space.mutate(rng, designs, 1.0)
    assert (designs == before).all(), "mutate changed its input in place"
    assert space.valid(mutated).all(), "mutate returned a design that valid() rejects"
    free = space.sizes > 1
    assert (mutated[:, free] != designs[:, free]).all(), "mutate with rate 1 left a decision at its old choice"

    other = space.sample(rng, n)
    children = space.crossover(rng, designs, other)
    assert space.valid(children).all(), "crossover returned a design that valid() rejects"
    assert ((children == designs) | (children == other)).all(), "crossover made a choice that neither parent has"

    code = space.encode(designs)
    assert code.shape == (n, int(space.sizes.sum())), f"encode has shape {code.shape}, expected one column a choice"
    assert np.isin(code, (0, 1)).all() and (code.sum(axis=1) == count).all(), "encode is not one-hot a decision"
    distinct = len(np.unique(designs, axis=0))
    assert len(np.unique(code, axis=0)) == distinct, "encode gives two designs one code"

    assert not space.valid(designs + space.sizes).any(), "valid() accepts choices out of range"
    assert not space.valid(np.full((1, count), -1)).any(), "valid() accepts negative choices"
    for i, decision in enumerate(space.decisions):
        assert space.index(decision.name) == i, f"index({decision.name!r}) is not {i}"
    for design in designs[:4]:
        assert (space.design(space.describe(design)) == design).all(), "design(describe(x)) is not x"
    assert type(space).from_json(space.to_json()) == space, "from_json(to_json()) is not the same space"


def check_space(
    space: RowSpace, input_shape: tuple[int, ...] | None = None, network: Any = None, seed: int = 0, n: int = 12
) -> None:
    """Prove the contract of a search space: its decisions, its reference, its rows, and the networks that it builds.

    Args:
        space: a given network's decisions, or a family of networks.
        input_shape: of one sample, ``(C, H, W)``; given, networks are built, traced and held against their rows, which
            takes a ``SearchSpace`` (what is built of a given network is held against its rows by ``check_kind``).
        network: of all designs; given as well, what it computes for a design is held against the network that is built
            with its weights.
        n: how many random designs are looked at; of these two are built.

    Raises:
        AssertionError: one sentence on what is broken.
    """
    check_decisions(space.decisions, seed)
    rng, reference, count = np.random.default_rng(seed), np.asarray(space.reference), len(space.decisions)
    assert reference.shape == (count,), f"the reference has shape {reference.shape}, expected {(count,)}"
    assert space.decisions.valid(reference)[0], "the reference is no valid design"
    designs = np.concatenate([reference[None], space.decisions.sample(rng, n)])
    _check_rows(space, designs)
    _check_canonical(space, designs)
    _check_depends(space, designs, rng)
    for design in space.canonical(designs[:3])[1:] if input_shape is not None else ():
        _check_built(cast(SearchSpace, space), design, input_shape or (), network)


def _check_rows(space: RowSpace, designs: Designs) -> None:
    table = space.rows(designs)
    shape = (len(designs), len(table.names))
    assert table.kind.shape == shape, f"rows of {len(designs)} designs have shape {table.kind.shape}, expected {shape}"
    assert len(set(table.names)) == len(table.names), "two rows of the space have one name"
    assert (table.calls >= 0).all(), "a row has fewer than 0 calls"
    for i, design in enumerate(designs):
        alone = space.rows(design[None])
        assert alone.names == table.names, "other designs have other rows: the rows are those of all designs together"
        assert _equal(alone, table, 0, i).all(), "a design has other rows alone than in a population"
    some = list(range(0, shape[1], 2))
    part, whole = space.rows(designs, some), table.take(some)
    assert part.names == whole.names, "rows(designs, at) returns other rows than those asked for"
    same = all((part.columns[k] == whole.columns[k]).all() for k in whole.columns)
    assert same, "rows(designs, at) are not those of rows(designs)"


def _check_canonical(space: RowSpace, designs: Designs) -> None:
    before = designs.copy()
    found = np.asarray(space.canonical(designs))
    assert (designs == before).all(), "canonical changed its input in place"
    assert found.shape == designs.shape, f"canonical returns shape {found.shape} for designs {designs.shape}"
    assert space.decisions.valid(found).all(), "canonical returned a design that is not valid"
    assert (np.asarray(space.canonical(found)) == found).all(), "canonical of a canonical design is another design"
    assert (found[0] == space.reference).all(), "the reference is not canonical"
    given, same = space.rows(designs), space.rows(found)
    runs = given.calls > 0
    assert (runs == (same.calls > 0)).all(), "the canonical design leaves out other rows"
    for name, column in given.columns.items():
        assert (column == same.columns[name])[runs].all(), f"{name} of a row is not what the canonical design has"


def _check_depends(space: RowSpace, designs: Designs, rng: np.random.Generator) -> None:
    depends, decisions = np.asarray(space.depends()), space.decisions
    table = space.rows(designs)
    shape = (len(decisions), len(table.names))
    assert depends.shape == shape and depends.dtype == bool, f"depends is no array of {shape} booleans"
    for r in range(shape[1]):
        touching = space.deciding(r)
        assert sorted(touching) == np.flatnonzero(depends[:, r]).tolist(), f"deciding({r}) is not what depends says"
    for d in range(len(decisions)):
        tied = np.flatnonzero(decisions.leader == decisions.leader[d])
        changed = designs.copy()
        changed[:, tied] = rng.integers(0, decisions.sizes[d], size=(len(designs), 1))
        other, free = space.rows(changed), ~depends[tied].any(axis=0)
        for name, column in table.columns.items():
            wrong = (column != other.columns[name]).any(axis=0) & free
            if wrong.any():
                row = table.names[int(wrong.argmax())]
                raise AssertionError(f"{decisions.decisions[d].name} changes {name} of {row}, unlike depends says")


def _check_built(space: SearchSpace, design: Designs, input_shape: tuple[int, ...], network: Any) -> None:
    import torch

    from netsmith.network.graph import trace

    rows = space.rows(design[None])
    traced = trace(space.build(design).eval(), input_shape).layers
    assert int(traced.macs.sum()) == int(rows.macs.sum()), (
        f"the network of a design has {int(traced.macs.sum())} multiply-accumulates, its rows {int(rows.macs.sum())}"
    )
    if network is None:
        return
    x = torch.randn(2, *input_shape, generator=torch.Generator().manual_seed(0))
    network.eval()
    space.activate(network, design)
    with torch.no_grad():
        found, expected = network(x), space.build(design, network).eval()(x)
    close = torch.allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert close, "a network of all designs computes something else than the one that is built with its weights"


def _equal(a: LayerTable, b: LayerTable, i: int, j: int) -> Any:
    return np.all([a.columns[k][i] == b.columns[k][j] for k in a.columns], axis=0)
