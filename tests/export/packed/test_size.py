"""The size in advance is the size on disk."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packed_cases import codebook, linear, sparse

import netsmith
from netsmith.errors import InputError
from netsmith.export.packed import Stored, Tensor, layer_bytes, packed_bytes, table_bytes, write_packed
from netsmith.export.packed.records import Cursor
from netsmith.export.packed.varints import varint, varint_length
from netsmith.network.layers import KIND, LayerTable

SOURCE = Path(netsmith.__file__).parents[1]
CHOICES = (1, 2, 3, 4, 5, 6, 7, 8, 16, 32)
ROW = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(["conv", "conv", "linear", "add", "matmul"]),
        "groups": st.sampled_from([1, 1, 2, 4]),
        "c_in": st.integers(1, 40),
        "c_out": st.integers(1, 160),
        "kernel_h": st.integers(1, 5),
        "kernel_w": st.integers(1, 5),
        "bias": st.integers(0, 1),
        "share": st.one_of(st.just(0.0), st.floats(0.005, 1.0)),
        "choice": st.integers(0, len(CHOICES) - 1),
        "prefix": st.text(max_size=130),
    }
)


def _table(rows: list[dict[str, Any]]) -> LayerTable:
    out = []
    for i, row in enumerate(rows):
        groups = row["groups"] if row["kind"] == "conv" else 1
        kernel = {} if row["kind"] != "conv" else {"kernel_h": row["kernel_h"], "kernel_w": row["kernel_w"]}
        out.append(
            {
                "name": f"{row['prefix']}{i}",
                "kind": KIND[row["kind"]],
                "groups": groups,
                "c_in": row["c_in"] * groups,
                "c_out": row["c_out"] * groups,
                "bias": row["bias"],
            }
            | kernel
        )
        if row.get("share") and "choice" in row and CHOICES[row["choice"]] != 16:  # half floats are never sparse
            weights = int(LayerTable.from_rows(out[-1:]).weights[0])
            out[-1]["entries"] = int(np.ceil(weights * row["share"]))  # fmt: skip
    return LayerTable.from_rows(out)


def _weight(rng: np.random.Generator, shape: tuple[int, ...], bits: int, scheme: str, entries: int = 0) -> Tensor:
    if entries:
        return sparse(rng, shape, bits, scheme, entries)
    if bits > 8:
        return rng.normal(size=shape).astype(np.float32 if bits == 32 else np.float16)
    return codebook(rng, shape, bits) if scheme == "kmeans" else linear(rng, shape, bits, scheme == "linear-tensor")


def _tensors(table: LayerTable, bits: list[int], scheme: str) -> dict[str, Tensor]:
    rng = np.random.default_rng(0)
    found: dict[str, Tensor] = {}
    for i, name in enumerate(table.names):
        row = table.row(i)
        if row["kind"] not in (KIND["conv"], KIND["linear"]):
            continue
        shape: tuple[int, ...] = (row["c_out"], row["c_in"] // row["groups"])
        shape += (row["kernel_h"], row["kernel_w"]) if row["kind"] == KIND["conv"] else ()
        found[f"{name}.weight"] = _weight(rng, shape, bits[i], scheme, row["entries"])
        if row["bias"]:
            found[f"{name}.bias"] = np.zeros(row["c_out"], dtype=np.float32)
    return found


@settings(max_examples=60)
@given(st.lists(ROW, max_size=5), st.sampled_from(["linear", "linear-tensor", "kmeans"]), st.booleans())
def test_fixed_and_layers_add_up_to_the_file(rows: list[dict[str, Any]], scheme: Any, extras: bool) -> None:
    table = _table(rows)
    bits = [CHOICES[row["choice"]] for row in rows]
    shapes: dict[str, Any] = {"norm.weight": (70, 300), "": ()} if extras else {}
    counters = {"n": np.array(3), "mask": np.ones((2, 2), dtype=bool)} if extras else {}
    fixed, layers = table_bytes(table, CHOICES, scheme, others=shapes | counters)
    assert layers.shape == (len(rows), len(CHOICES))
    total = fixed + int(sum(layers[i, row["choice"]] for i, row in enumerate(rows)))
    others = {name: np.zeros(shape, dtype=np.float32) for name, shape in shapes.items()} | counters
    assert total == write_packed(None, _tensors(table, bits, scheme) | others)


def test_known_bytes_of_one_layer() -> None:
    # 10 x 20 weights at 3 bits are 75 bytes; 10 scales, or 8 values and their number
    table = LayerTable.from_rows([{"name": "fc", "kind": KIND["linear"], "c_in": 20, "c_out": 10, "bias": 1}])
    record, bias = 1 + 9 + 2 + 2, 1 + 7 + 2 + 1 + 40
    assert table_bytes(table, [3])[1].tolist() == [[record + 75 + 40 + bias]]
    assert table_bytes(table, [3], "linear-tensor")[1].tolist() == [[record + 75 + 4 + bias]]
    assert table_bytes(table, [3], "kmeans")[1].tolist() == [[record + 75 + 33 + bias]]
    assert table_bytes(table, [32])[1].tolist() == [[record + 800 + bias]]
    assert table_bytes(table, [])[1].shape == (1, 0)


def test_a_population_costs_what_its_designs_cost() -> None:
    table = _table([{"kind": "conv", "groups": 1, "c_in": 3, "c_out": 8, "kernel_h": 3, "kernel_w": 3, "bias": 1,
                     "prefix": "a"}] * 3)  # fmt: skip
    c_out, w_bits = np.array([[8, 200, 4], [6, 8, 130]]), np.array([[2, 4, 8], [32, 3, 1]])
    population = layer_bytes(table.replace(c_out=c_out, w_bits=w_bits))
    assert population.shape == (2, 3)
    for n in range(2):
        one = table.replace(c_out=c_out[n])
        sizes = table_bytes(one, w_bits[n])[1].diagonal()
        np.testing.assert_array_equal(population[n], sizes)
        assert table_bytes(one, [8])[0] + sizes.sum() == write_packed(None, _tensors(one, list(w_bits[n]), "linear"))


def test_names_kernels_and_shared_weights_as_told() -> None:
    table = LayerTable.from_rows(
        [{"name": "c", "kind": KIND["conv"], "c_in": 4, "c_out": 6, "kernel_h": 6, "kernel_w": 2, "bias": 1},
         {"name": "c#2", "kind": KIND["conv"], "c_in": 4, "c_out": 6, "kernel_h": 6, "kernel_w": 2, "bias": 1},
         {"name": "v", "kind": KIND["conv"], "c_in": 4, "c_out": 6, "kernel_w": 7, "bias": 1}]
    )  # fmt: skip
    stored = {"c": Stored("block.w3d", "block.b", (3, 2, 2)), "c#2": None, "v": Stored("v.weight", None, (7,))}
    fixed, layers = table_bytes(table, [4], stored=stored)
    rng = np.random.default_rng(0)
    tensors: dict[str, Tensor] = {
        "block.w3d": linear(rng, (6, 4, 3, 2, 2), 4), "block.b": np.zeros(6, dtype=np.float32),
        "v.weight": linear(rng, (6, 4, 7), 4),
    }  # fmt: skip
    assert layers[1, 0] == 0
    assert fixed + layers.sum() == write_packed(None, tensors)


@given(st.integers(0, 2**56))
def test_length_of_a_varint(value: int) -> None:
    assert varint_length([value, 0, 127]).tolist() == [len(varint(value)), 1, 1]
    assert Cursor(memoryview(varint(value))).varint() == value


def test_pricing_needs_no_torch() -> None:
    code = "import sys, netsmith.export.packed; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": str(SOURCE)}).returncode == 0


def test_arrays_broadcast_and_bad_choices_are_refused() -> None:
    weights, c_out = np.array([[100], [200]]), np.array([[10], [20]])
    np.testing.assert_array_equal(
        packed_bytes(weights, c_out, [2, 4, 32]), [[25 + 40, 50 + 40, 400], [50 + 80, 100 + 80, 800]]
    )
    np.testing.assert_array_equal(packed_bytes(weights, c_out, [8], "kmeans"), [[100 + 1 + 400], [200 + 1 + 800]])
    for bits in (0, 9, 24):
        with pytest.raises(InputError, match=f"{bits} bits cannot be packed"):
            packed_bytes(weights, c_out, bits)
    with pytest.raises(InputError, match="no scheme 'huffman'"):
        packed_bytes(weights, c_out, 4, "huffman")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="x cannot be packed"):
        table_bytes(_table([]), [4], others={"x": np.zeros(2, dtype=complex)})
