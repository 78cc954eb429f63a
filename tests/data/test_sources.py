"""Every kind of source, good and bad."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from netsmith.data import load_data, normalisation_from_metadata
from netsmith.errors import InputError

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


def png(value: int, size: tuple[int, int] = (8, 8), mode: str = "RGB") -> bytes:
    pixels = np.full((size[1], size[0], 3), value, dtype=np.uint8)
    pixels[..., 1] //= 2
    stream = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(stream, "png")
    return stream.getvalue()


def write_parquet(path: Path, images: list[bytes | None], labels: list[object], names: list[str] | None = None) -> None:
    table = pa.table({"image": [{"bytes": b, "path": None} for b in images], "label": labels})
    if names is not None:
        feature = {
            "info": {"features": {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": names}}}
        }
        table = table.replace_schema_metadata({"huggingface": json.dumps(feature)})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)


def test_digits_are_balanced_disjoint_and_repeatable() -> None:
    data = load_data("digits", seed=3)
    assert data.input_shape == (1, 8, 8) and data.classes == tuple("0123456789") and data.train is not None
    assert len(data.train) + len(data.search) + len(data.test) == 1797
    counts = torch.bincount(data.search.labels, minlength=10)
    assert int(counts.max() - counts.min()) <= 1
    rows = [bytes(i.numpy().tobytes()) for s in (data.train, data.search, data.test) for i in s.images]
    assert len(set(rows)) == 1797  # no two digits are equal, so no row is in two splits
    again, other = load_data("digits", seed=3), load_data("digits", seed=4)
    assert torch.equal(again.search.images, data.search.images)
    assert not torch.equal(other.search.images, data.search.images)


def test_parquet_folder_with_train_and_test(tmp_path: Path) -> None:
    write_parquet(
        tmp_path / "d" / "train-00000.parquet", [png(i) for i in range(40)], [i % 2 for i in range(40)], ["a", "b"]
    )
    write_parquet(tmp_path / "d" / "val.parquet", [png(200), png(210)], [0, 1], ["a", "b"])
    data = load_data(str(tmp_path / "d"), search_size=6)
    assert data.train is not None
    assert (len(data.train), len(data.search), len(data.test)) == (34, 6, 2)
    assert data.classes == ("a", "b") and torch.bincount(data.search.labels).tolist() == [3, 3]
    # the pixel value is the row number, so labels must follow their images
    assert torch.equal(data.train.images[:, 0, 0, 0].long() % 2, data.train.labels)
    assert data.test.images[:, 0, 0, 0].tolist() == [200, 210] and data.test.images[0, 1, 0, 0] == 100


def test_files_that_number_classes_differently_are_refused(tmp_path: Path) -> None:
    for name, names in (("train", ["a", "b"]), ("test", ["b", "a"])):
        write_parquet(tmp_path / "d" / f"{name}.parquet", [png(1), png(2)], [0, 1], names)
    with pytest.raises(InputError, match=r"train\.parquet has 'a' as class 0, a file before it 'b'"):
        load_data(str(tmp_path / "d"))


def test_grey_images_among_colour_become_rgb_and_sizes_are_cut(tmp_path: Path) -> None:
    images = [png(100, (8, 12)), png(90, (20, 10), "L"), png(80, (10, 10), "RGBA"), png(70, (9, 9), "P")]
    write_parquet(tmp_path / "x.parquet", images, [0, 1, 0, 1])
    data = load_data(str(tmp_path / "x.parquet"), image_size=6)
    assert data.input_shape == (3, 6, 6) and data.train is None and not data.classes_named
    grey = torch.cat([data.search.images, data.test.images])[[0, 2, 1, 3]][1]
    assert torch.equal(grey[0], grey[1]) and torch.equal(grey[1], grey[2])


def test_all_grey_stays_one_channel(tmp_path: Path) -> None:
    write_parquet(tmp_path / "x.parquet", [png(i, mode="L") for i in range(4)], [0, 1, 0, 1])
    assert load_data(str(tmp_path / "x.parquet")).input_shape == (1, 8, 8)


def test_few_rows_a_class_give_no_training_data(tmp_path: Path) -> None:
    write_parquet(tmp_path / "x.parquet", [png(i) for i in range(10)], list(range(0, 20, 2)))
    data = load_data(str(tmp_path / "x.parquet"))
    assert data.train is None and "no training rows" in data.note and len(data.classes) == 19
    assert sorted(data.search.labels.tolist() + data.test.labels.tolist()) == list(range(0, 20, 2))
    with pytest.raises(InputError, match="no training rows"):
        data.need_train()


def test_official_validation_split_is_the_search_split(tmp_path: Path) -> None:
    for name, n in (("train", 12), ("validation", 6), ("test", 4)):
        write_parquet(tmp_path / "d" / name / "0.parquet", [png(i) for i in range(n)], [i % 2 for i in range(n)])
    data = load_data(str(tmp_path / "d"))
    assert data.train is not None and (len(data.train), len(data.search), len(data.test)) == (12, 6, 4)


def test_string_labels_and_label_column(tmp_path: Path) -> None:
    table = pa.table({"picture": [png(i) for i in range(4)], "kind": ["dog", "cat", "dog", "cat"]})
    pq.write_table(table, tmp_path / "x.parquet")
    with pytest.raises(InputError, match="--label-column"):
        load_data(str(tmp_path / "x.parquet"))
    data = load_data(str(tmp_path / "x.parquet"), label_column="kind")
    assert (
        data.classes == ("cat", "dog") and data.search.labels.tolist() == [1, 1] and data.test.labels.tolist() == [0, 0]
    )


def test_image_folder(tmp_path: Path) -> None:
    for split, n in (("train", 8), ("val", 2)):
        for c in ("cat", "dog"):
            for i in range(n):
                file = tmp_path / "d" / split / c / f"{i}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(png(i + (100 if c == "dog" else 0)))
    data = load_data(str(tmp_path / "d"))
    assert data.train is not None and data.classes == ("cat", "dog") and len(data.test) == 4
    assert torch.equal(data.train.labels, (data.train.images[:, 0, 0, 0] >= 100).long())


def test_folder_of_save_to_disk(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"img": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b"])})
    rows = {"img": [{"bytes": png(i), "path": None} for i in range(40)], "label": [i % 2 for i in range(40)]}
    part = datasets.Dataset.from_dict(rows, features=features)
    datasets.DatasetDict({"train": part, "test": part.select([3, 1])}).save_to_disk(str(tmp_path / "d"))
    data = load_data(str(tmp_path / "d"))
    assert data.train is not None and len(data.train) + len(data.search) == 40 and data.classes == ("a", "b")
    assert data.test.images[:, 0, 0, 0].tolist() == [3, 1] and data.test.labels.tolist() == [1, 1]


def test_unreadable_image_names_its_row(tmp_path: Path) -> None:
    write_parquet(tmp_path / "x.parquet", [png(1), b"no image", png(2)], [0, 1, 0])
    with pytest.raises(InputError, match=r"row 1 of x\.parquet is not a readable image"):
        load_data(str(tmp_path / "x.parquet"))
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(stream, "png")
    noise = stream.getvalue()
    write_parquet(tmp_path / "y.parquet", [png(1), noise[: len(noise) // 2], png(2)], [0, 1, 0])
    with pytest.raises(InputError, match=r"row 1 of y\.parquet"):
        load_data(str(tmp_path / "y.parquet"))
    write_parquet(tmp_path / "z.parquet", [png(1), None], [0, 1])
    with pytest.raises(InputError, match=r"row 1 of z\.parquet .*empty"):
        load_data(str(tmp_path / "z.parquet"))


def test_wrong_specs_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no file or folder"):
        load_data(str(tmp_path / "absent"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="class subfolders"):
        load_data(str(tmp_path / "empty"))
    (tmp_path / "x.csv").write_text("a,b")
    with pytest.raises(InputError, match="not a parquet file"):
        load_data(str(tmp_path / "x.csv"))
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 but no more")
    with pytest.raises(InputError, match="cannot be read as parquet"):
        load_data(str(tmp_path / "broken.parquet"))
    pq.write_table(pa.table({"text": ["a"], "label": [1]}), tmp_path / "text.parquet")
    with pytest.raises(InputError, match="no image column"):
        load_data(str(tmp_path / "text.parquet"))
    write_parquet(tmp_path / "hidden.parquet", [png(1), png(2)], [-1, -1])
    with pytest.raises(InputError, match="no labelled images"):
        load_data(str(tmp_path / "hidden.parquet"))
    with pytest.raises(InputError, match="belong together"):
        load_data("digits", mean=[0.5])
    with pytest.raises(InputError, match="leaves nothing"):
        load_data("digits", search_size=5000)
    with pytest.raises(InputError, match="one value a channel"):
        load_data("digits", mean=[0.5, 0.5], std=[0.1, 0.1])


def test_train_limit_is_balanced() -> None:
    data = load_data("digits", train_limit=50)
    assert data.train is not None and torch.bincount(data.train.labels).tolist() == [5] * 10


def test_cache_gives_the_same_and_survives_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netsmith.data.load._WORTH_CACHING_S", 0.0)
    file = tmp_path / "x.parquet"
    write_parquet(file, [png(i) for i in range(6)], [0, 1, 0, 1, 0, 1], ["a", "b"])
    first = load_data(str(file))
    (entry,) = (tmp_path / "cache" / "data").iterdir()
    assert entry.suffix == ".safetensors"
    with monkeypatch.context() as patch:
        patch.setattr("netsmith.data.load.decode", lambda *a: pytest.fail("decoded again"))
        second = load_data(str(file))
    assert torch.equal(first.search.images, second.search.images) and first.classes == second.classes
    entry.write_bytes(b"damaged")
    assert torch.equal(load_data(str(file)).search.images, first.search.images)
    write_parquet(file, [png(i + 50) for i in range(6)], [0, 1, 0, 1, 0, 1], ["a", "b"])
    assert int(load_data(str(file)).search.images.max()) >= 50  # other content, other entry


def test_imagenet_sample(shared_data: Path) -> None:
    data = load_data(str(shared_data / "imagenet-sample" / "even.parquet"), image_size=64)
    assert data.train is None and (len(data.search), len(data.test)) == (250, 250)
    assert data.input_shape == (3, 64, 64) and not data.classes_named
    assert not set(data.search.labels.tolist()) & set(data.test.labels.tolist())


@pytest.mark.parametrize(
    ("spec", "options", "words"),
    [
        ("", {}, "--data is empty"),
        (":", {}, "no file or folder"),
        ("~nobody-of-that-name/x", {}, "no file or folder"),
        ("a\0b", {}, "no file or folder"),
        ("digits", {"image_size": 10**9}, "--image-size 1000000000"),
        ("digits", {"seed": -1}, "--seed -1"),
        ("digits", {"mean": ["a"], "std": [1.0]}, "--mean"),
        ("digits", {"mean": [0.5], "std": [float("nan")]}, "--std"),
        ("digits", {"mean": [127.0], "std": [60.0]}, "by 255"),
    ],
)
def test_odd_words_and_numbers_are_one_sentence(spec: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError) as found:
        load_data(spec, **options)
    assert words in str(found.value)
    assert "list index" not in str(found.value)


@pytest.mark.parametrize("metadata", [{"mean": "[" * 9999, "std": "1"}, {"input": "0..255 minus (1,2,)"}])
def test_metadata_that_cannot_be_read_is_named(metadata: dict[str, str]) -> None:
    with pytest.raises(InputError, match="--mean and --std"):
        normalisation_from_metadata(metadata)


def test_bytes_that_are_no_bytes_and_damaged_saved_data(tmp_path: Path) -> None:
    nested = {"image": [{"bytes": {"x": png(1)}}] * 4, "label": [0, 1, 0, 1]}
    pq.write_table(pa.table(nested), tmp_path / "nested.parquet")
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "dataset_info.json").write_text("{")
    for path, words in ((tmp_path / "nested.parquet", "no image column"), (tmp_path / "saved", "save it again")):
        with pytest.raises(InputError) as found:
            load_data(str(path))
        assert words in str(found.value) and "Expecting" not in str(found.value)


def test_parquet_suffixes_in_capitals(tmp_path: Path) -> None:
    write_parquet(tmp_path / "X.PARQUET", [png(i) for i in range(40)], [i % 2 for i in range(40)])
    assert len(load_data(str(tmp_path)).classes) == len(load_data(str(tmp_path / "X.PARQUET")).classes) == 2
