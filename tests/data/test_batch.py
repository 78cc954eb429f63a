"""Batches: trees of tensors that are moved and taken apart as one, and what of them is padding."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from netsmith.data.batch import Batch
from netsmith.data.examples import Rows
from netsmith.errors import InputError


def batch() -> Batch:
    ids, mask = torch.arange(12).view(3, 4), torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]]).bool()
    return Batch((ids,), {"mask": mask, "scale": 2.0}, {"y": torch.arange(3), "weights": torch.ones(7)}, valid=mask)


def test_a_batch_is_taken_apart_with_all_that_belongs_to_its_examples() -> None:
    whole = batch()
    part = whole.take(torch.tensor([2, 0, 0]))
    assert part.size == 3 and part.args[0][:, 0].tolist() == [8, 0, 0] and part.target["y"].tolist() == [2, 0, 0]
    assert part.kwargs["scale"] == 2.0 and len(part.target["weights"]) == 7 and part.valid is not None
    sizes = [b.size for b in whole.batches(2)]
    assert sizes == [2, 1] and len(whole) == 3
    assert whole(lambda ids, mask, scale: (ids * mask * scale).sum()) == float((whole.args[0] * whole.valid).sum() * 2)


def test_padding_is_left_out_of_values_with_an_axis_of_positions() -> None:
    whole = batch()
    tokens, maps = torch.randn(3, 4, 5), torch.randn(3, 5, 4)
    kept = [(0, 0), (0, 1), (0, 2), (0, 3), (1, 0), (1, 1), (2, 0)]
    assert torch.equal(whole.unpadded(tokens), torch.stack([tokens[i, t] for i, t in kept]))
    assert torch.equal(whole.unpadded(maps), torch.stack([maps[i, :, t] for i, t in kept]))
    assert torch.equal(whole.unpadded(tokens.reshape(12, 5)), whole.unpadded(tokens))  # laid out as one row of tokens
    pooled = torch.randn(3, 5)
    assert whole.unpadded(pooled) is pooled  # of what is made of a whole sequence nothing is padding
    plain = Batch((tokens,))
    assert plain.unpadded(tokens) is tokens and plain.size == 3


def test_rows_are_gone_through_from_any_place_alike() -> None:
    rows = Rows((torch.arange(10.0),), target=torch.arange(10))

    def order(**how: int) -> list[int]:
        found = rows.batches(3, rng=np.random.default_rng(4), **how)
        return [int(v) for b in found for v in b.target]

    whole = order()
    assert sorted(whole) == list(range(10)) and order(start=2) == whole[6:]
    halves = [[b.target for b in rows.batches(4, rng=np.random.default_rng(1), part=(i, 2))] for i in (0, 1)]
    both = [int(v) for a, b in zip(*halves, strict=True) for v in (*a, *b)]
    assert sorted(both) == list(range(10))
    assert [len(b.target) for b in rows.batches(4, drop_last=True)] == [4, 4]
    with pytest.raises(InputError, match="at least one input"):
        Rows(("text",))
