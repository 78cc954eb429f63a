"""Labels that are none, and files that cells of a table name."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from image_files import eight_bits, save
from netsmith.data import Data, load_data
from netsmith.errors import InputError

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


def png(i: int) -> bytes:
    Image.fromarray(eight_bits(i)).save(stream := io.BytesIO(), "png")
    return stream.getvalue()


def load(path: Path, labels: Any, **options: Any) -> Data:
    """A parquet file of images with these labels, loaded."""
    pq.write_table(pa.table({"image": [png(i) for i in range(len(labels))], "label": labels}), path)
    return load_data(str(path), **options)


@pytest.mark.parametrize(
    ("labels", "match"),
    [
        ([0, None, 1, None], r"row 1 of x\.parquet of .* has no label, and so have 2 of 4 rows"),
        (["cat", None, "dog"], r"row 1 of x\.parquet of .* has no label"),
        ([0, 1, 2**62], r"row 2 of x\.parquet of .*, 4611686018427387904, is far above the number of rows, 3"),
        ([0, 1, 5000], "--classes FILE"),
        ([0, -3, 1], r"row 1 of x\.parquet of .*, -3, is negative"),
        ([0.0, 1.5, 1.0], r"row 0 of x\.parquet of .*, '0.0', is a floating-point number"),
        ([0.0, float("nan")], "is a floating-point number"),
        ([[0, 1], [1]], r"row 0 of x\.parquet of .* is no class \(list\)"),
        ([None, None], "no labelled images"),
        ([0, 0, 0], "has one class, '0'"),
    ],
)
def test_labels_that_are_none_name_their_row(labels: list[Any], match: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=match):
        load(tmp_path / "x.parquet", labels)


def test_unsigned_labels_beyond_the_range(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"row 1 of x\.parquet"):
        load(tmp_path / "x.parquet", pa.array([0, 2**63 + 1], pa.uint64()))


@pytest.mark.parametrize("kind", ["string", "large_string", "dictionary"])
def test_names_of_every_text_type(kind: str, tmp_path: Path) -> None:
    labels = pa.array(["dog", "cat", "dog", "cat"], pa.large_string() if kind == "large_string" else pa.string())
    data = load(tmp_path / "x.parquet", labels.dictionary_encode() if kind == "dictionary" else labels)
    assert data.classes == ("cat", "dog") and data.search.labels.tolist() == [1, 1]


def test_large_numbers_have_names_given(tmp_path: Path) -> None:
    names = [f"n{i}" for i in range(6000)]
    data = load(tmp_path / "x.parquet", [0, 1, 5000], classes=names)
    assert data.classes == tuple(names) and data.classes_named
    with pytest.raises(InputError, match="none of the 100 classes"):
        load(tmp_path / "x.parquet", [0, 1, 500], classes=names[:100])


def paths(folder: Path, cells: list[str]) -> Data:
    folder.mkdir(exist_ok=True)
    images = [{"bytes": None, "path": cell} for cell in cells]
    pq.write_table(pa.table({"image": images, "label": [0, 1][: len(cells)]}), folder / "x.parquet")
    return load_data(str(folder))


def test_cells_name_files_of_the_data_folder_only(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    inside, outside = (save(eight_bits(i), tmp_path / p) for i, p in enumerate(("d/images/0.png", "secret.png")))
    other = save(eight_bits(3), folder / "1.png")
    (folder / "link.png").symlink_to(outside)
    (folder / "linked").symlink_to(tmp_path)
    assert len(paths(folder, ["images/0.png", str(other)]).classes) == 2
    assert len(paths(folder, ["images/../1.png", str(inside)]).classes) == 2
    for cell in (
        str(outside),
        "../secret.png",
        "images/../../secret.png",
        "link.png",
        "linked/secret.png",
        "/dev/zero",
    ):
        with pytest.raises(InputError, match=r"row 1 of x\.parquet names the file .* not in the data's folder"):
            paths(folder, ["1.png", cell])
    (folder / "loop").symlink_to(folder / "loop")
    for cell, why in (("absent.png", "no such file"), ("images", "it is no file"), ("loop", "no such file")):
        with pytest.raises(InputError, match=rf"row 1 of x\.parquet is not a readable image \(.*{why}"):
            paths(folder, ["1.png", cell])


def test_tables_that_cannot_be_read_as_they_are(tmp_path: Path) -> None:
    offsets, text = (pa.py_buffer(b) for b in (b"\0\0\0\0\1\0\0\0\3\0\0\0", b"\xff\xfe\xfd"))
    bad, images = pa.Array.from_buffers(pa.string(), 2, [None, offsets, text]), pa.array([png(0), png(1)])
    paths = pa.StructArray.from_arrays([pa.nulls(2, pa.binary()), bad], ["bytes", "path"])
    for columns, match in (
        ({"image": images, "label": bad}, "not UTF-8"),
        ({"image": paths, "label": [0, 1]}, "not UTF-8"),
        ([images, images, pa.array([0, 1])], "two columns named 'image'"),
    ):
        names = ["image", "image", "label"]
        table = pa.table(columns) if isinstance(columns, dict) else pa.Table.from_arrays(columns, names)
        pq.write_table(table, tmp_path / "x.parquet")
        with pytest.raises(InputError, match=rf"x\.parquet has .*{match}"):
            load_data(str(tmp_path / "x.parquet"))
    with pytest.raises(InputError, match=r"'image' of .* has images, no labels"):
        load(tmp_path / "x.parquet", [0, 1], label_column="image")


def test_text_is_no_image(tmp_path: Path) -> None:
    pq.write_table(pa.table({"image": [{"bytes": "a", "path": "b"}] * 2, "label": [0, 1]}), tmp_path / "x.parquet")
    with pytest.raises(InputError, match=r"x\.parquet has no image column"):
        load_data(str(tmp_path / "x.parquet"))


def test_a_saved_data_set_names_files_of_its_folder_only(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"image": datasets.Image(decode=False), "label": datasets.Value("int64")})
    outside = save(eight_bits(0), tmp_path / "secret.png")
    cells = [{"bytes": png(1), "path": None}, {"bytes": None, "path": str(outside)}]
    table = pa.table(
        {"image": pa.array(cells, features.arrow_schema.field("image").type), "label": pa.array([0, 1])},
        schema=features.arrow_schema,
    )
    datasets.Dataset(table).save_to_disk(str(tmp_path / "d"))
    for file in (tmp_path / "d").glob("*.arrow"):  # saving embeds the bytes; someone else's writer need not
        with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
    with pytest.raises(InputError, match=r"row 1 names the file .*secret\.png"):
        load_data(str(tmp_path / "d"))


def test_two_saved_data_sets_do_not_share_a_cache_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr("netsmith.data.load._WORTH_CACHING_S", 0.0)
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})
    for start in (0, 10):
        rows = {"image": [{"bytes": png(start + i), "path": None} for i in range(2)], "label": [0, 1]}
        datasets.Dataset.from_dict(rows, features=features).save_to_disk(str(tmp_path / str(start)))
    first, second = (load_data(str(tmp_path / name)) for name in ("0", "10"))
    assert not bool((first.search.images == second.search.images).all())


def test_metadata_of_others_that_cannot_be_read_is_ignored(tmp_path: Path) -> None:
    for text in (b"{", b"[1]", b'{"info": {"features": {"label": {"_type": "ClassLabel", "names": 3}}}}'):
        table = pa.table({"image": [png(0), png(1)], "label": [0, 1]})
        pq.write_table(table.replace_schema_metadata({b"huggingface": text}), tmp_path / "x.parquet")
        assert load_data(str(tmp_path / "x.parquet")).classes == ("0", "1")


def test_names_of_classes_in_metadata_are_held_to_what_names_may_be(tmp_path: Path) -> None:
    many = [str(i) for i in range(1_000_001)]
    for names, said in ((["a" * 5000, "b"], "which is too long"), (["a", "a"], "twice"), (many, "the most")):
        features = {"info": {"features": {"label": {"_type": "ClassLabel", "names": names}}}}
        table = pa.table({"image": [png(0), png(1)], "label": [0, 1]})
        table = table.replace_schema_metadata({b"huggingface": json.dumps(features).encode()})
        pq.write_table(table, tmp_path / "x.parquet")
        with pytest.raises(InputError, match=f"the metadata of .*x.parquet .*{said}"):
            load_data(str(tmp_path / "x.parquet"))
