"""Layer tables written from a description against those that tracing reads from the network itself."""

from __future__ import annotations

import numpy as np
import pytest

from netsmith.network.graph import trace
from netsmith.network.zoo.block_rows import network_rows
from netsmith.network.zoo.blocks import Block, Description, block_network


def random_description(seed: int) -> Description:
    """Images of any sides, blocks of any kind (some keep their shape, some do not), with or without a head."""
    rng = np.random.default_rng(seed)
    c, blocks = int(rng.choice([4, 8])), []
    stem = c
    for _ in range(4):
        keeps = rng.random() < 0.5
        c, stride = (c, 1) if keeps else (int(rng.choice([4, 8, 12])), int(rng.integers(1, 3)))
        blocks.append(Block(int(rng.choice([1, 3, 5, 7])), int(rng.choice([1, 2, 3, 6])), c, stride))
    shape = (int(rng.choice([1, 3])), int(rng.integers(5, 20)), int(rng.integers(5, 20)))
    return Description(shape, int(rng.integers(2, 20)), stem, int(rng.integers(1, 3)), tuple(blocks), 16 * (seed % 2))


@pytest.mark.parametrize("seed", range(6))
def test_rows_are_those_of_a_trace(seed: int) -> None:
    description = random_description(seed)
    traced, written = trace(block_network(description), description.input_shape).layers, network_rows(description)
    assert written.names == traced.names and written.frozen == traced.frozen == {}
    for name, column in traced.columns.items():
        assert written.columns[name].tolist() == column.tolist(), name


def test_the_cases_above_are_of_every_kind() -> None:
    blocks = [(b, d) for d in map(random_description, range(6)) for b in d.blocks]
    assert {b.expansion for b, _ in blocks} >= {1, 2, 3, 6} and {b.kernel for b, _ in blocks} >= {1, 3, 5, 7}
    assert {b.stride for b, _ in blocks} == {1, 2} and {d.head for _, d in blocks} == {0, 16}
    assert {d.stem_stride for _, d in blocks} == {1, 2} and any(d.input_shape[1] % 2 for _, d in blocks)
    adds = [network_rows(d).kind.tolist().count(3) for d in map(random_description, range(6))]
    assert max(adds) > 0 and min(adds) < 4


def test_a_stride_and_a_shortcut_by_hand() -> None:
    blocks = (Block(3, 6, 16, 2), Block(5, 1, 16, 1))
    table = network_rows(Description((3, 7, 9), 10, 8, 1, blocks, 0))
    assert table.names == (
        "features.0.0", "features.1.conv.0.0", "features.1.conv.1.0", "features.1.conv.2", "features.2.conv.0.0",
        "features.2.conv.1", "features.2/add", "adaptive_avg_pool2d", "flatten", "classifier.1",
    )  # fmt: skip
    assert table.c_out.tolist() == [8, 48, 48, 16, 16, 16, 16, 16, 16, 10]
    assert table.groups.tolist() == [1, 1, 48, 1, 16, 1, 1, 1, 1, 1]
    assert list(zip(table.h_out, table.w_out, strict=True))[1:4] == [(7, 9), (4, 5), (4, 5)]
    assert table.macs.sum() == 63 * (27 * 8 + 8 * 48) + 20 * (9 * 48 + 48 * 16 + 25 * 16 + 16 * 16) + 160
