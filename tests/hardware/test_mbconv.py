"""Tables of whole blocks, as ProxylessNAS and once-for-all have them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from netsmith.errors import InputError
from netsmith.hardware.devices.readers import read_table
from netsmith.hardware.devices.target import TableTarget
from netsmith.hardware.table.mbconv import find_blocks
from netsmith.network.layers import ACTIVATION, KIND, LayerTable

PROXYLESS = {  # the form of the phone table; the times are of this test
    "Conv-input:224x224x3-output:112x112x32": (4.0, 9),
    "expanded_conv-input:112x112x32-output:112x112x16-expand:1-kernel:3-stride:1-idskip:0": (3.0, 5),
    "expanded_conv-input:112x112x16-output:56x56x24-expand:3-kernel:5-stride:2-idskip:0": (6.5, 5),
    "expanded_conv-input:56x56x24-output:56x56x24-expand:6-kernel:3-stride:1-idskip:1": (8.25, 5),
    "Conv_1-input:56x56x24-output:56x56x96": (2.0, 5),
    "Logits-input:56x56x96-output:1000": (0.5, 5),
}


def row(name: str, kind: str, c_in: int, c_out: int, h_in: int, h_out: int, kernel: int = 1, **more: int) -> dict:
    stride = h_in // h_out if kind == "conv" else 1
    return {
        "name": name, "kind": KIND[kind], "c_in": c_in, "c_out": c_out, "kernel_h": kernel, "kernel_w": kernel,
        "stride": stride, "h_in": h_in, "w_in": h_in, "h_out": h_out, "w_out": h_out,
    } | more  # fmt: skip


def block(
    name: str, c_in: int, c_out: int, h: int, expand: int, kernel: int, stride: int = 1, skip: bool = False
) -> list:
    middle = c_in * expand
    rows = [row(f"{name}.expand", "conv", c_in, middle, h, h)] if expand > 1 else []
    rows += [
        row(f"{name}.dw", "conv", middle, middle, h, h // stride, kernel, groups=middle),
        row(f"{name}.project", "conv", middle, c_out, h // stride, h // stride),
    ]
    return rows + [row(f"{name}.add", "add", c_out, c_out, h // stride, h // stride)] * skip


def network() -> LayerTable:
    return LayerTable.from_rows([
        row("stem", "conv", 3, 32, 224, 112, 3),
        *block("b0", 32, 16, 112, 1, 3), *block("b1", 16, 24, 112, 3, 5, 2), *block("b2", 24, 24, 56, 6, 3, skip=True),
        row("head", "conv", 24, 96, 56, 56), row("pool", "avgpool", 96, 96, 56, 1), row("fc", "linear", 96, 1000, 1, 1),
    ])  # fmt: skip


def proxyless(tmp_path: Path) -> Path:
    path = tmp_path / "phone.json"
    path.write_text(json.dumps({k: {"mean": m, "count": n, "variance": 0.04} for k, (m, n) in PROXYLESS.items()}))
    return path


def test_blocks_are_priced_as_wholes(tmp_path: Path) -> None:
    target, table = TableTarget(proxyless(tmp_path)), network()
    cost = target.cost(table).latency_s
    by_name = dict(zip(table.names, cost * 1e3, strict=True))
    assert cost.sum() == pytest.approx(sum(m for m, _ in PROXYLESS.values()) * 1e-3)
    assert by_name["b1.dw"] == pytest.approx(6.5) and by_name["b2.dw"] == pytest.approx(8.25)
    assert by_name["b1.expand"] == by_name["b1.project"] == by_name["b2.add"] == by_name["pool"] == 0
    entry = next(iter(target.table.entries.values()))
    assert entry.n == 9 and entry.iqr_s == pytest.approx(1.349 * 0.2e-3)


def test_a_population_of_blocks_is_priced_at_once(tmp_path: Path) -> None:
    target, table = TableTarget(proxyless(tmp_path)), network()
    kernels = np.where(np.array(table.names) == "b1.dw", [[5], [3]], table.kernel_h)
    population = table.replace(kernel_h=kernels, kernel_w=kernels)
    assert target.unpriced(population) == ("b1.dw",)
    with pytest.raises(InputError, match="inverted residual block c_in 16 c_out 24 kernel_h 3"):
        target.cost(population)
    whole = TableTarget(proxyless(tmp_path), missing="zero").cost(population).latency_s.sum(axis=1)
    assert whole * 1e3 == pytest.approx([24.25, 24.25 - 6.5])
    with pytest.raises(InputError, match="designs of one layout"):
        target.cost(table.replace(kind=np.stack([table.kind, np.roll(table.kind, 1)])))


def test_once_for_all_tables_count_middle_channels(tmp_path: Path) -> None:
    tree = {
        "expanded_conv-input:56x56x24-output:56x56x24-expand:96-kernel:3-stride:1-idskip:1-se:1-hs:1": 3.0,
        "expanded_conv-input:56x56x24-output:56x56x24-expand:96-kernel:3-stride:1-idskip:1-se:0-hs:0": 2.0,
    }
    path = tmp_path / "ofa.yaml"
    yaml = pytest.importorskip("yaml")
    path.write_text(yaml.safe_dump({k: {"mean": m, "count": 10, "std": 0.1} for k, m in tree.items()}))
    target = TableTarget(path)
    expand, dw, project, add = block("b", 24, 24, 56, 4, 3, skip=True)
    hard = {"activation": ACTIVATION["hardswish"]}
    squeeze = [
        row("act", "activation", 96, 96, 56, 56, **hard), row("squeeze", "avgpool", 96, 96, 56, 1),
        row("reduce", "conv", 96, 24, 1, 1), row("relu", "activation", 24, 24, 1, 1),
        row("widen", "conv", 24, 96, 1, 1), row("gate", "activation", 96, 96, 1, 1), row("mul", "mul", 96, 96, 56, 56),
    ]  # fmt: skip
    plain = LayerTable.from_rows([expand, dw, project, add])
    gated = LayerTable.from_rows(
        [expand, row("act0", "activation", 96, 96, 56, 56, **hard), dw, *squeeze, project, add]
    )
    assert target.cost(plain).latency_s.tolist() == pytest.approx([0, 2e-3, 0, 0])
    assert target.cost(gated).latency_s.sum() == pytest.approx(3e-3)
    (found,) = find_blocks(gated)
    assert found.squeeze and found.rows == range(len(gated)) and found.added == len(gated) - 1


def test_round_trip_through_netsmiths_format(tmp_path: Path) -> None:
    first = TableTarget(proxyless(tmp_path))
    first.table.save(tmp_path / "own.json")
    again = TableTarget(tmp_path / "own.json")
    assert again.table == first.table
    assert (again.cost(network()).latency_s == first.cost(network()).latency_s).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"Cnov-input:8x8x3-output:8x8x4": 1}, r"'Cnov' .* is no type of layer \(did you mean 'Conv'"),
        ({"Conv-input:8x3-output:8x8x4": 1}, "not HxWxC"),
        ({"expanded_conv-input:8x8x3-output:8x8x4-kernel:3": 1}, "lacks expand, stride, idskip"),
        ({"Conv-input:8x8x3": 1}, "no key of the form"),
        ({"Conv-input:8x8x3-output:8x8x4": {"count": 1}}, "has no mean"),
        ({"Conv-input:8x8x3-output:8x8x4": -1}, "no number of at least 0"),
        ({"expanded_conv-input:8x8x3-output:8x8x4-expand:6-kernel:3-stride:1-idskip:0-se:0-hs:0": 1}, "mixes blocks"),
    ],
)
def test_messages(tmp_path: Path, change: dict, message: str) -> None:
    path = tmp_path / "t.json"
    path.write_text(json.dumps({k: m for k, (m, _) in PROXYLESS.items()} | change))
    with pytest.raises(InputError, match=message):
        read_table(path)


def test_a_table_of_blocks_says_that_it_does_not_price_row_by_row(tmp_path: Path) -> None:
    assert not TableTarget(proxyless(tmp_path)).capabilities.by_row
    path = tmp_path / "layers.csv"
    path.write_text("kind,c_in,c_out,kernel,size,latency_ms\nconv,3,16,3,8,1.0\n")
    assert TableTarget(path).capabilities.by_row
