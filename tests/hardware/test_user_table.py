"""Target ``table:FILE`` with tables that users bring: layouts, units, interpolation, what is missing, and messages."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from netsmith.errors import InputError
from netsmith.hardware import get_target
from netsmith.hardware.devices.readers import read_table
from netsmith.hardware.devices.target import TableTarget
from netsmith.hardware.table.latency import LatencyTable
from netsmith.network.layers import ACTIVATION, KIND, LayerTable
from netsmith.testing.targets import check_target, example_table
from work import calls

ROWS = [  # kind, c_in, c_out, kernel, stride, groups, size, ms
    ("conv", 3, 16, 3, 1, 1, 16, 0.30),
    ("conv", 16, 16, 3, 1, 1, 16, 0.10),
    ("conv", 16, 48, 3, 1, 1, 16, 0.30),
    ("conv", 16, 32, 3, 2, 1, 16, 0.12),
    ("depthwise", 32, 32, 3, 1, 32, 8, 0.05),
    ("fc", 32, 10, "", "", "", "", 0.01),
]
HEAD = "kind,c_in,c_out,kernel,stride,groups,size,latency_ms"


def csv(rows: list[tuple], head: str = HEAD) -> str:
    return "\n".join([head, *(",".join(map(str, r)) for r in rows)]) + "\n"


def write(tmp_path: Path, text: str, name: str = "t.csv") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


def layers(bits: int = 32) -> LayerTable:
    maps = {
        "kernel_h": 3,
        "kernel_w": 3,
        "h_in": 16,
        "w_in": 16,
        "h_out": 16,
        "w_out": 16,
        "w_bits": bits,
        "a_bits": bits,
    }
    small = {"h_out": 8, "w_out": 8}
    conv = KIND["conv"]
    return LayerTable.from_rows([
        {"name": "stem", "kind": conv, "c_in": 3, "c_out": 16, "activation": 1} | maps,
        {"name": "a", "kind": conv, "c_in": 16, "c_out": 16} | maps,
        {"name": "add", "kind": KIND["add"], "c_in": 16, "c_out": 16} | maps,
        {"name": "b", "kind": conv, "c_in": 16, "c_out": 32, "stride": 2} | maps | small,
        {"name": "dw", "kind": conv, "c_in": 32, "c_out": 32, "groups": 32} | maps | small | {"h_in": 8, "w_in": 8},
        {"name": "fc", "kind": KIND["linear"], "c_in": 32, "c_out": 10, "w_bits": bits, "a_bits": bits},
    ])  # fmt: skip


PRICES = [0.30e-3, 0.10e-3, 0.0, 0.12e-3, 0.05e-3, 0.01e-3]


def test_a_row_a_layer_prices_a_network(tmp_path: Path) -> None:
    target = get_target(f"table:{write(tmp_path, csv(ROWS))}")
    assert isinstance(target, TableTarget) and target.name == "table" and target.capabilities.measured
    cost = target.cost(layers())
    assert cost.latency_s == pytest.approx(PRICES)  # additions are not in the table: not modelled, no cost
    assert cost.fixed_s == 0 and cost.energy_j is None and target.unpriced(layers()) == ()
    assert target.settings["device"] == {"processor": "not stated"}


@pytest.mark.parametrize("suffix", ["tsv", "parquet", "json", "yaml", "rows.json"])
def test_every_file_type_reads_alike(tmp_path: Path, suffix: str) -> None:
    names = HEAD.split(",")
    records = [{k: v for k, v in zip(names, row, strict=True) if v != ""} for row in ROWS]
    path = tmp_path / f"t.{suffix}"
    if suffix == "tsv":
        path.write_text(csv(ROWS).replace(",", "\t"))
    elif suffix == "parquet":
        pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        pq.write_table(pa.Table.from_pylist(records).replace_schema_metadata({"device": "board"}), path)
    elif suffix == "yaml":
        yaml = pytest.importorskip("yaml")
        path.write_text(yaml.safe_dump(records))
    else:
        path.write_text(json.dumps({"device": "board", "rows": records} if suffix == "rows.json" else records))
    target = TableTarget(path)
    assert target.cost(layers()).latency_s == pytest.approx(PRICES)
    if suffix in ("parquet", "rows.json"):
        assert target.settings["device"]["processor"] == "board"


@pytest.mark.parametrize(
    ("column", "option", "scale"),
    [
        ("latency_us", "", 1e-3), ("Latency (ms)", "", 1.0), ("time[s]", "", 1e3), ("mean_ms", "", 1.0),
        ("ms", "", 1.0),
        ("median_ns", "", 1e-6), ("latency", ",unit=us", 1e-3), ("cycles", ",unit=cycles@2kHz", 0.5),
    ],
)  # fmt: skip
def test_units(tmp_path: Path, column: str, option: str, scale: float) -> None:
    path = write(tmp_path, csv(ROWS, HEAD.replace("latency_ms", column)))
    assert get_target(f"table:{path}{option}").cost(layers()).latency_s == pytest.approx(np.array(PRICES) * scale)


def test_other_names_of_columns_and_both_sides(tmp_path: Path) -> None:
    text = (
        "Layer,Type,in_channels,out_channels,kernel_size,strides,group,H,W,out_h,out_w,act,time_us,std_us,runs,energy_mJ\n"
        "x,Conv2D,3,16,(3; 3),1x1,1,16,16,16,16,relu,5,1,40,2\n"
        "y,conv,16,16,3x3,1,1,16,16,16,16,none,7,1,40,3\n"
    ).replace(";", " ")
    target = TableTarget(write(tmp_path, text))
    cost = target.cost(layers().take([0, 1]))
    assert cost.latency_s == pytest.approx([5e-6, 7e-6]) and cost.energy_j == pytest.approx([2e-3, 3e-3])
    entry = next(iter(target.table.entries.values()))
    assert entry.n == 40 and entry.iqr_s == pytest.approx(1.349e-6)
    assert target.unpriced(layers().take([0, 1]).replace(activation=ACTIVATION["relu6"])) == ("stem", "a")
    assert target.unpriced(layers().take([1]).replace(h_out=14)) == ("a",)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, csv(ROWS))
    wide = layers().replace(c_out=np.where(np.array(layers().names) == "a", 24, layers().c_out))
    target = TableTarget(path)
    assert target.unpriced(wide) == ("a",)
    with pytest.raises(InputError, match=r"t.csv has no time for 1 of 6 layers: a \(.*c_in 16 c_out 24.*missing=zero"):
        target.cost(wide)
    zero = get_target(f"table:{path},missing=zero")
    assert zero.cost(wide).latency_s == pytest.approx([0.30e-3, 0, 0, 0.12e-3, 0.05e-3, 0.01e-3])
    large = [layers().row(1) | {"name": f"l{i}", "kernel_h": 5, "kernel_w": 5} for i in range(20)]
    with pytest.raises(InputError, match="20 of 20 layers: l0, l1, l2, l3, l4 and 15 more"):
        target.cost(LayerTable.from_rows(large))
    population = layers().replace(c_out=layers().c_out + np.array([[0], [1]]))
    assert "a" in target.unpriced(population)
    with pytest.raises(InputError, match=r"no time for 5 of 6 layers, in 5 of 11 sizes and bit-widths: stem, a, b, "):
        target.prepare(population)
    assert zero.prepare(population) is None


def test_interpolation_stays_between_measured_channels(tmp_path: Path) -> None:
    path = write(tmp_path, csv(ROWS))
    layer = layers().take([1])
    loose = get_target(f"table:{path},interpolate=1")
    widths = np.arange(16, 49)[:, None]
    cost = loose.cost(layer.replace(c_out=widths)).latency_s[:, 0]
    assert cost[0] == pytest.approx(0.10e-3) and cost[-1] == pytest.approx(0.30e-3)  # measured points
    assert cost[16] == pytest.approx(0.20e-3) and (np.diff(cost) > 0).all()
    assert loose.unpriced(layer.replace(c_out=8)) == ("a",) and loose.unpriced(layer.replace(c_out=49)) == ("a",)
    assert get_target(f"table:{path}").unpriced(layer.replace(c_out=32)) == ("a",)


def test_negative_times_are_refused(tmp_path: Path) -> None:
    rows = [("conv", 1, 16, 3, 1, 1, 16, -0.5), *ROWS]
    with pytest.raises(InputError, match=r"t.csv, line 2, column 'latency_ms': '-0.5' is no number of at least 0"):
        read_table(write(tmp_path, csv(rows)))


def test_bits_are_rounded_up_to_what_was_measured(tmp_path: Path) -> None:
    text = "kind,c_in,c_out,kernel,size,w_bits,a_bits,latency_us\n" + "".join(
        f"conv,16,16,3,16,{w},{a},{t}\n" for w, a, t in [(8, 8, 8), (4, 8, 5), (4, 4, 3)]
    )
    target = TableTarget(write(tmp_path, text))
    layer = layers().take([1])
    assert target.capabilities.bits == ((8, 8), (4, 8), (4, 4))
    for w, a, micro in [(8, 8, 8), (4, 8, 5), (3, 6, 5), (2, 2, 3), (5, 4, 8), (4, 4, 3)]:
        assert target.cost(layer.replace(w_bits=w, a_bits=a)).latency_s == pytest.approx([micro * 1e-6])
    assert target.unpriced(layer) == ("a",)  # 32 bits were not measured


def test_repeated_rows_give_the_median_and_their_spread(tmp_path: Path) -> None:
    rows = [("conv", 16, 16, 3, 1, 1, 16, t) for t in (1.0, 2.0, 9.0)]
    table = read_table(write(tmp_path, csv(rows)))
    (entry,) = table.entries.values()
    assert entry.seconds == pytest.approx(2e-3) and entry.iqr_s == pytest.approx(4e-3)
    assert table.campaigns[0]["repeated"] == 2


def test_user_table_is_saved_in_netsmiths_format(tmp_path: Path) -> None:
    head = "# device: board x\n# date: 2026-01-02\n# runs: 50\n# batch: 4\n"
    path = write(tmp_path, head + csv([(*r, 7) for r in ROWS], f"{HEAD},energy_mj"))
    first = TableTarget(path, interpolate=True)
    first.table.save(tmp_path / "own.json")
    second = get_target(f"table:{tmp_path / 'own.json'},interpolate=1")
    wide = layers().replace(c_out=np.where(np.array(layers().names) == "a", 24, layers().c_out))
    a, b = first.cost(wide, batch=4), second.cost(wide, batch=4)
    assert (a.latency_s == b.latency_s).all() and (a.energy_j == b.energy_j).all() and a.energy_j is not None
    assert second.settings["device"] == first.settings["device"]
    assert second.settings["device"]["processor"] == "board x" and second.settings["device"]["runs"] == "50"
    assert second.settings["campaigns"][0]["date"] == "2026-01-02"
    assert math.isnan(next(iter(second.table.entries.values())).iqr_s)
    with pytest.raises(InputError, match="batch 4, not 1"):
        second.cost(layers())


def test_conformance(tmp_path: Path) -> None:
    rows = []
    table = example_table()
    for c_in, c_out in ((1, 1), (2, 1), (1, 2), (3, 1), (1, 3)):  # what the conformance test scales by
        for i in range(len(table)):
            r = table.row(i)
            deep = r["groups"] == r["c_in"] > 1
            a, b = (max(c_in, c_out),) * 2 if deep else (c_in, c_out)
            if r["kind"] == KIND["add"] or r["kind"] == KIND["avgpool"]:
                a = b = max(c_in, c_out)
            kind = "conv" if r["kind"] == KIND["conv"] else ("add", "avgpool", "matmul", "linear")[
                [KIND["add"], KIND["avgpool"], KIND["matmul"], KIND["linear"]].index(r["kind"])
            ]  # fmt: skip
            groups = r["groups"] * (a if deep else 1)
            time_us = 1 + 0.01 * r["c_in"] * a * r["c_out"] * b / groups
            rows.append(
                (
                    kind,
                    r["c_in"] * a,
                    r["c_out"] * b,
                    r["kernel_h"],
                    r["stride"],
                    groups,
                    r["h_in"],
                    r["h_out"],
                    time_us,
                )
            )
            if kind in ("add", "avgpool"):  # glue may keep its channels or not
                rows += [(kind, r["c_in"] * a, r["c_out"] * x, *rows[-1][3:]) for x in (1, a)]
    head = "kind,c_in,c_out,kernel,stride,groups,h,h_out,latency_us"
    check_target(TableTarget(write(tmp_path, csv(rows, head))))


def test_ten_thousand_candidates_are_priced_at_once(tmp_path: Path) -> None:
    rows = [("conv", 16, c, 3, 1, 1, 16, 0.01 * c) for c in range(16, 513, 16)]
    target = TableTarget(write(tmp_path, csv(rows)), interpolate=True)
    table = layers().take([1] * 20)
    widths = np.random.default_rng(0).integers(16, 513, (10_000, 20))
    population = table.replace(c_out=widths)
    cost, few = target.cost(population), table.replace(c_out=widths[:100])
    assert calls(lambda: target.cost(population)) < 1.2 * calls(lambda: target.cost(few))
    assert np.allclose(cost.latency_s, widths * 1e-5, rtol=1e-9)


# ---- by layer name --------------------------------------------------------------------------------------------------


def test_haq_tables_are_by_name_and_bits(tmp_path: Path) -> None:
    cycles = {n: [[100 * (w + 1) * (a + 1) * (i + 1) for a in range(8)] for w in range(8)]
              for i, n in enumerate(("stem", "a", "b", "dw", "fc"))}  # fmt: skip
    path = write(tmp_path, json.dumps(cycles), "haq.json")
    target = get_target(f"table:{path},unit=cycles@100MHz")
    table = layers(8)
    cost = target.cost(table.replace(w_bits=[8, 4, 32, 8, 2, 8], a_bits=[8, 8, 32, 3, 2, 8])).latency_s
    assert cost * 1e6 == pytest.approx([64, 2 * 32, 0, 3 * 24, 4 * 4, 5 * 64])
    assert target.capabilities.bits[0] == (8, 8) and len(target.capabilities.bits) == 64
    assert target.unpriced(layers(32)) == ("stem", "a", "b", "dw", "fc")
    with pytest.raises(InputError, match="unit"):
        get_target(f"table:{path}")
    pruned = table.replace(c_out=np.array([[16], [8]]))
    with pytest.raises(InputError, match="by its name and knows nothing of c_out"):
        target.cost(pruned)


@pytest.mark.parametrize("nested", ["lists", "mappings"])
def test_netadapt_tables_are_by_name_and_channels(tmp_path: Path, nested: str) -> None:
    def times(most_out: int, most_in: int) -> object:
        if nested == "lists":
            return [[(i + 1) * (o + 1) for i in range(most_in)] for o in range(most_out)]
        return {str(o): {str(i): o * i for i in (1, most_in)} for o in (1, most_out)}

    tree = {"unit": "us", "layers": {"a": times(16, 16), "b": times(32, 16)}}
    target = TableTarget(write(tmp_path, json.dumps(tree), "netadapt.json"), interpolate=True)
    table = layers().take([1, 3])
    cost = target.cost(table.replace(c_in=[[16, 16], [4, 16]], c_out=[[16, 32], [16, 8]])).latency_s * 1e6
    assert cost == pytest.approx(np.array([[256, 512], [64, 128]]))
    assert target.unpriced(table.replace(c_out=64)) == ("a", "b")
    assert target.unpriced(layers()) == ("stem", "dw", "fc")


def test_plain_times_by_name_and_rows_by_name(tmp_path: Path) -> None:
    path = write(tmp_path, json.dumps({"unit": "ms", "layers": {"a": 1, "b": 2.5}}), "t.json")
    assert TableTarget(path).cost(layers().take([1, 2, 3])).latency_s == pytest.approx([1e-3, 0, 2.5e-3])
    text = "layer,w_bits,a_bits,latency_ms\na,8,8,1\na,4,4,0.5\n"
    target = TableTarget(write(tmp_path, text))
    assert target.cost(layers(4).take([1])).latency_s == pytest.approx([0.5e-3])


def test_lists_that_could_be_either_ask(tmp_path: Path) -> None:
    path = write(tmp_path, json.dumps({"a": [[1, 2], [3, 4]]}), "t.json")
    with pytest.raises(InputError, match="layout=bits or layout=channels"):
        read_table(path, unit="ms")
    target = get_target(f"table:{path},unit=ms,layout=bits")
    assert target.cost(layers(2).take([1])).latency_s == pytest.approx([4e-3])
    path.write_text(json.dumps({"a": [[1, None], [3, "x"]]}))
    with pytest.raises(InputError, match=r"a\[2\]\[2\]: 'x' is no number of at least 0"):
        read_table(path, unit="ms", layout="bits")


# ---- messages -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind,c_in,c_out,kernel,size,latency\nconv,3,8,3,8,1\n", "unit of its column 'latency'"),
        ("kind,c_in,c_out,kernel,size\nconv,3,8,3,8\n", "no column of times"),
        ("kind,c_in,c_out,kernel,size,latency_ms,time_ms\nconv,3,8,3,8,1,1\n", "more than one column of times"),
        ("kind,c_inn,c_out,kernel,size,latency_ms\nconv,3,8,3,8,1\n", r"no column 'c_in' \(did you mean 'c_inn'"),
        ("kind,c_in,c_out,kernel,size,latency_ms\nconv,3,8,3,8,1\ncnov,3,8,3,8,1\n", "line 3: 'cnov' is no kind"),
        ("kind,c_in,c_out,kernel,size,latency_ms\n# note\n\nconv,3,x,3,8,1\n", "line 4, column 'c_out': 'x' is no"),
        ("kind,c_in,c_out,kernel,size,latency_ms\nconv,3,8,3,8,fast\n", "line 2, column 'latency_ms': 'fast'"),
        ("kind,c_in,c_out,kernel,size,latency_ms\nconv,3,8,3,8,\n", "line 2: column 'latency_ms' is empty"),
        ("kind,c_in,c_out,kernel,size,latency_ms\nconv,3,8,,8,1\n", "line 2: a convolution needs its kernel"),
        ("kind,c_in,c_out,kernel,latency_ms\nconv,3,8,3,1\n", "line 2: a layer of kind 'conv' needs the size"),
        ("kind,c_in,c_out,kernel,size,latency_ms\nconv,3,8,3,8,1,9\n", "line 2: it has 7 cells but there are 6"),
        ("kind,c_in,c_out,kernel,size,act,latency_ms\nconv,3,8,3,8,relo,1\n", "'relo' is no activation.*'relu'"),
        ("kind,c_in,c_out,kernel,size,bits,latency_ms\nconv,3,8,3,8,8,1\nconv,3,8,3,8,,1\n", "line 3: w_bits is empty"),
        ("kind,c_in,c_in,kernel,size,latency_ms\nconv,3,8,3,8,1\n", "two columns named 'c_in'"),
        ("kind,c_in,c_out,kernel,size,latency_ms\nconv,3,8,3,8,0\n", "every time is 0"),
        ("kind,c_in,c_out\n", "no rows"), ("", "is empty"),
    ],
)  # fmt: skip
def test_messages_name_file_line_and_column(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read_table(write(tmp_path, text))
    assert "t.csv" in str(caught.value)


def test_messages_of_other_files_and_options(tmp_path: Path) -> None:
    for name, text, message in [
        ("t.json", "{", "no JSON"), ("t.json", "[]", "holds no latency table"),
        ("t.json", "[[[1]]]", "by the number of a layer"),
        ("t.txt", "", "must end in .csv"), ("t.yaml", "a: [", "no YAML"), ("t.parquet", "x", "as parquet"),
    ]:  # fmt: skip
        if name == "t.yaml":
            pytest.importorskip("yaml")
        with pytest.raises(InputError, match=message):
            read_table(write(tmp_path, text, name))
    path = write(tmp_path, csv(ROWS))
    for option, message in [
        ("unit=parsec", "no unit of time"), ("unit=us", "contradict"),
        ("interpolat=1", "did you mean 'interpolate'"), ("interpolate=yes", "0 or 1"),
        ("missing=eror", "did you mean 'error'"), ("layout=rows", "bits or channels"),
    ]:  # fmt: skip
        with pytest.raises(InputError, match=message):
            get_target(f"table:{path},{option}")


def test_a_table_that_is_no_text_is_said_in_words(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_bytes(b"\xff\0")
    with pytest.raises(InputError, match="not in UTF-8"):
        read_table(tmp_path / "t.json")


def test_own_format_is_checked_as_before(tmp_path: Path) -> None:
    path = write(tmp_path, json.dumps({"format": "netsmith-latency-table/9"}), "t.json")
    with pytest.raises(InputError, match="not a latency table of format"):
        get_target(f"table:{path}")
    table = read_table(write(tmp_path, csv(ROWS)))
    table.save(path)
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"columns": ["kind", "colour"]}))
    with pytest.raises(InputError, match="damaged"):
        LatencyTable.load(path)


def test_the_multiple_of_channels_is_the_files_or_an_option(tmp_path: Path) -> None:
    plain, headed = write(tmp_path, csv(ROWS)), write(tmp_path, "# channel_multiple: 8\n" + csv(ROWS), "h.csv")
    assert get_target(f"table:{plain}").capabilities.channel_multiple == 1
    own = get_target(f"table:{headed}")
    assert own.capabilities.channel_multiple == 8 and "channel_multiple" not in own.settings["device"]
    own.table.save(tmp_path / "own.json")
    assert get_target(f"table:{tmp_path / 'own.json'}").capabilities.channel_multiple == 8
    assert get_target(f"table:{tmp_path / 'own.json'},multiple=4").capabilities.channel_multiple == 4
    for wrong in ("0", "x", "1.5"):
        with pytest.raises(InputError, match=f"multiple is a whole number of channels above 0, not '{wrong}'"):
            get_target(f"table:{plain},multiple={wrong}")


def test_a_table_that_is_elsewhere(tmp_path: Path) -> None:
    write(tmp_path, csv(ROWS), "board.csv")
    with pytest.raises(InputError, match=r"boards.csv does not exist \(did you mean '.*board.csv'\?\); name the file"):
        get_target(f"table:{tmp_path / 'boards.csv'}")
    with pytest.raises(InputError, match="is a folder; name the file of a table"):
        get_target(f"table:{tmp_path}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (csv(ROWS).replace(",", ";"), "separates its columns by semicolons; write commas"),
        (csv(ROWS, HEAD.replace("kind", "what")), r"has no column 'kind'; its columns are what, c_in"),  # c_in is known
        (csv(ROWS, HEAD.replace("kind", "kinds")), r"has no column 'kind' \(did you mean 'kinds'\?\)"),
    ],
)
def test_columns_that_are_not_understood(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_table(write(tmp_path, text))


def test_netsmiths_own_tables_have_a_unit(tmp_path: Path) -> None:
    read_table(write(tmp_path, csv(ROWS))).save(tmp_path / "own.json")
    with pytest.raises(InputError, match=r"own.json is a table of netsmith's own format, in seconds; drop unit="):
        get_target(f"table:{tmp_path / 'own.json'},unit=ms")
