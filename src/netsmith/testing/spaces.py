"""What every space must do."""

from __future__ import annotations

import numpy as np

from netsmith.space import Space


def check_space(space: Space, seed: int = 0, n: int = 32) -> None:
    """Prove the contract of a space: shapes, validity, ties, encoding, operators and the JSON round trip.

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
