from __future__ import annotations

import numpy as np
import pytest

from netsmith.network.layers import KIND, LayerTable


def test_distinct_rows_of_tables_of_any_shape() -> None:
    rows = [{"name": n, "kind": KIND["conv"], "c_in": c, "c_out": 8} for n, c in (("a", 3), ("b", 4), ("c", 3))]
    table = LayerTable.from_rows(rows)
    population = table.replace(a_bits=np.array([[32], [8], [32]]) + np.zeros((1, 3), dtype=int))
    found = LayerTable.distinct([table, population])
    assert found.kind.shape == (4,) and len(found) == 4  # two widths, each at 8 and at 32 bits
    assert sorted(zip(found.c_in.tolist(), found.a_bits.tolist(), strict=True)) == [(3, 8), (3, 32), (4, 8), (4, 32)]
    assert (found.c_out == 8).all() and (found.w_bits == 32).all()
    assert sorted(found.names) == ["a", "a", "b", "b"]


@pytest.mark.parametrize(("kind", "reads"), [("conv", 1), ("add", 2), ("mul", 2), ("avgpool", 1)])
def test_moved_elements_count_both_operands(kind: str, reads: int) -> None:
    row = {"name": "a", "kind": KIND[kind], "c_in": 8, "h_in": 4, "w_in": 5, "c_out": 16, "h_out": 2, "w_out": 3}
    assert LayerTable.from_rows([row]).moved.tolist() == [reads * 8 * 4 * 5 + 16 * 2 * 3]
