"""Folders in the odd forms that people have: which subfolders are parts, which are classes, what is left out."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from image_files import eight_bits, save, save_classes
from netsmith.data import Data, load_data, pixels, room
from netsmith.errors import InputError

NAMES = ["airplane", "bus", "car", "train"]


def rows(data: Data) -> tuple[int, int, int]:
    return len(data.train) if data.train is not None else 0, len(data.search), len(data.test)


@pytest.mark.parametrize("word", ["train", "val", "test", "dev", "Training"])
def test_a_class_may_be_named_like_a_part(word: str, tmp_path: Path) -> None:
    data = load_data(str(save_classes(tmp_path, ["airplane", "bus", word], n=20)))
    assert set(data.classes) == {"airplane", "bus", word} and sum(rows(data)) == 60


@pytest.mark.parametrize("wrapper", ["images", "a/b", "train/images"])
def test_wrapper_folders_are_looked_through(wrapper: str, tmp_path: Path) -> None:
    save_classes(tmp_path / wrapper, NAMES, n=20)
    (tmp_path / "empty").mkdir()
    (tmp_path / "README.txt").write_text("about")
    data = load_data(str(tmp_path))
    assert data.classes == tuple(NAMES) and sum(rows(data)) == 80


def test_parts_inside_a_wrapper_and_classes_outside_parts(tmp_path: Path) -> None:
    for part, n in (("train", 12), ("valid", 2), ("test", 3)):
        save_classes(tmp_path / "parts" / "x" / part, NAMES, n=n)
        for name in NAMES:
            save_classes(tmp_path / "classes" / name, [part], n=n)
    for folder in ("parts", "classes"):
        data = load_data(str(tmp_path / folder))
        assert rows(data) == (48, 8, 12) and data.classes == tuple(NAMES), folder


def test_one_class_is_one_sentence(tmp_path: Path) -> None:
    save_classes(tmp_path, ["cat"], n=20)
    with pytest.raises(InputError, match="has one class, 'cat'; give images of two or more classes"):
        load_data(str(tmp_path))
    save(eight_bits(0), tmp_path / "plain" / "x.png")
    with pytest.raises(InputError, match=r"FOLDER/CLASS/image\.jpg"):
        load_data(str(tmp_path / "plain"))


def test_parts_without_class_folders_are_refused_or_left_out(tmp_path: Path) -> None:
    for part in ("train", "test"):
        save(eight_bits(0), tmp_path / "bare" / part / "x.png")
    with pytest.raises(InputError, match=r"the images of test and train .* lie in no class subfolders"):
        load_data(str(tmp_path / "bare"))
    save_classes(tmp_path / "d" / "train", NAMES, n=20)
    save_classes(tmp_path / "d" / "val", NAMES, n=2)
    save(eight_bits(0), tmp_path / "d" / "test" / "x.png")
    save(eight_bits(0), tmp_path / "d" / "extra" / "x.png")
    data = load_data(str(tmp_path / "d"))
    assert len(data.test) == 8 and data.classes == tuple(NAMES)
    assert {s.split()[0].rsplit("/")[-1] for s in data.notes} == {"test", "extra"}


def test_an_unlabelled_part_has_one_folder_that_is_no_class(tmp_path: Path) -> None:
    save_classes(tmp_path / "train", NAMES, n=20)
    save_classes(tmp_path / "test", ["unknown"], n=5)
    data = load_data(str(tmp_path))
    assert data.classes == tuple(NAMES) and sum(rows(data)) == 80
    assert any("unknown is no class of the train part" in s for s in data.notes)
    save_classes(tmp_path / "test", ["Bus"], n=5)
    with pytest.raises(InputError, match=r"the test part has the classes Bus, unknown, .* none is the same"):
        load_data(str(tmp_path))


def test_a_folder_that_can_be_read_in_two_ways_is_refused(tmp_path: Path) -> None:
    save_classes(tmp_path / "train", ["steam", "electric"])
    save_classes(tmp_path, ["airplane", "bus"])
    with pytest.raises(InputError, match="'train' with subfolders beside 'airplane'"):
        load_data(str(tmp_path))


def test_classes_that_only_another_part_has_are_named(tmp_path: Path) -> None:
    save_classes(tmp_path / "train", NAMES, n=20)
    save_classes(tmp_path / "test", [*NAMES[1:], "zebra"], n=2)
    data = load_data(str(tmp_path))
    assert data.classes == (*NAMES, "zebra")
    assert any("1 class without training images: zebra" in s for s in data.notes)
    assert not any("without images" in s for s in data.notes)


def test_empty_class_folders_and_other_files_are_named(tmp_path: Path) -> None:
    save_classes(tmp_path, NAMES, n=3)
    (tmp_path / "zoo").mkdir()
    (tmp_path / "dog").mkdir()
    (tmp_path / "dog" / "1.heic").write_bytes(b"x")
    (tmp_path / "car" / "labels.txt").write_text("x")
    save(eight_bits(0), tmp_path / "preview.png")
    data = load_data(str(tmp_path))
    assert data.classes == tuple(NAMES) and sum(rows(data)) == 12
    assert any("no class: 'dog', 'zoo' in" in s and "1.heic" in s for s in data.notes)
    assert any("no images and left out: 1 file" in s and "labels.txt" in s for s in data.notes)
    assert any("beside the class folders and left out: 1 image" in s and "preview.png" in s for s in data.notes)


def test_what_file_managers_leave_is_not_seen(tmp_path: Path) -> None:
    save_classes(tmp_path, NAMES, n=3)
    for junk in ("._0.png", ".DS_Store", "Thumbs.db", "desktop.ini"):
        (tmp_path / "car" / junk).write_bytes(b"junk")
    for folder in ("__MACOSX/car", ".ipynb_checkpoints"):
        save(eight_bits(0), tmp_path / folder / "0.png")
    data = load_data(str(tmp_path))
    assert data.classes == tuple(NAMES) and sum(rows(data)) == 12 and len(data.notes) == 0


def test_links_to_folders_are_followed_and_changes_behind_them_are_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("netsmith.data.load._WORTH_CACHING_S", 0.0)
    save_classes(tmp_path / "away", NAMES, n=2)
    (tmp_path / "d" / "deep").mkdir(parents=True)
    for name in NAMES:
        (tmp_path / "d" / name).mkdir()
        (tmp_path / "d" / name / "inner").symlink_to(tmp_path / "away" / name)
    (tmp_path / "d" / "deep" / "loop").symlink_to(tmp_path / "d")
    first = load_data(str(tmp_path / "d"))
    assert first.classes == tuple(NAMES) and sum(rows(first)) == 8
    save(np.full((6, 6), 200, dtype=np.uint8), tmp_path / "away" / "car" / "0.png")
    assert not bool((load_data(str(tmp_path / "d")).search.images == first.search.images).all())


@pytest.mark.parametrize(
    ("content", "why"),
    [(b"", "it is empty"), (b"no image", "its format is not known"), (None, "it is no file"), ("gone", "no such file")],
)
def test_a_broken_file_is_named(content: bytes | str | None, why: str, tmp_path: Path) -> None:
    save_classes(tmp_path, NAMES, n=2)
    file = tmp_path / "car" / "7.png"
    if content is None:
        os.mkfifo(file)
    elif isinstance(content, str):
        file.symlink_to(tmp_path / content)
    else:
        file.write_bytes(content)
    with pytest.raises(InputError, match=rf"car/7\.png is not a readable image \(.*{why}"):
        load_data(str(tmp_path))


def test_a_truncated_image_and_one_without_pixels_are_named(tmp_path: Path) -> None:
    save_classes(tmp_path, NAMES, n=2)
    whole = save(np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8), tmp_path / "x.jpg")
    (tmp_path / "bus" / "7.jpg").write_bytes(whole.read_bytes()[:600])
    with pytest.raises(InputError, match=r"bus/7\.jpg is not a readable image"):
        load_data(str(tmp_path))
    (tmp_path / "bus" / "7.jpg").unlink()
    np.save(tmp_path / "bus" / "7.npy", np.zeros((0, 4)))
    with pytest.raises(InputError, match=r"bus/7\.npy is not a readable image \(it has no pixels\)"):
        load_data(str(tmp_path))


def test_links_to_folders_above_are_not_followed(tmp_path: Path) -> None:
    save_classes(tmp_path / "d", NAMES, n=2)
    save_classes(tmp_path / "other", ["zebra"], n=2)
    for i, target in enumerate((tmp_path, Path("/"), tmp_path / "d")):
        (tmp_path / "d" / f"link{i}").symlink_to(target)
    assert load_data(str(tmp_path / "d")).classes == tuple(NAMES)


def test_folders_that_all_link_to_each_other_are_refused_at_once(tmp_path: Path) -> None:
    save_classes(tmp_path, "abcdefghijkl", n=1)
    for one in "abcdefghijkl":
        for other in "abcdefghijkl":
            (tmp_path / one / f"to-{other}").symlink_to(tmp_path / other)
    with pytest.raises(InputError, match="is linked to in more than 20 ways; remove links between folders"):
        load_data(str(tmp_path))


def test_images_that_take_more_memory_than_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = str(save_classes(tmp_path / "d", NAMES, n=5, of=lambda i: np.full((500, 400), i, dtype=np.uint8)))
    monkeypatch.setattr(room, "free_bytes", lambda: 4_000_000)
    with pytest.raises(InputError, match=r"decoded, takes .* GB of memory or more, .* smaller --image-size"):
        load_data(folder)
    data = load_data(folder, image_size=8)  # each is resized as soon as it is read
    assert data.input_shape == (1, 8, 8) and data.notes[0].startswith("20 of 20 images of one flat colour")
    with pytest.raises(InputError, match=r"takes 5\.37 GB"):
        load_data(folder, image_size=16384)
    monkeypatch.setattr(pixels, "_LARGE", 1000)
    with pytest.raises(InputError, match=r"0\.png takes .* GB of memory or more.*; make it smaller"):
        monkeypatch.setattr(room, "free_bytes", lambda: 6_000_000)
        load_data(folder, image_size=8)


def test_an_image_that_is_hardly_more_than_a_line_is_not_resized(tmp_path: Path) -> None:
    save(np.arange(20_000, dtype=np.uint8)[None], save_classes(tmp_path) / "a" / "line.png")
    with pytest.raises(
        InputError, match=r"line\.png has 20000x1 pixels, of which 64x64 would show .*; cut it or remove"
    ):
        load_data(str(tmp_path), image_size=64)


def test_names_that_are_no_text(tmp_path: Path) -> None:
    save_classes(tmp_path, NAMES, n=2)
    try:
        (Path(os.fsdecode(os.fsencode(tmp_path) + b"/car/caf\xe9.txt"))).write_text("x")
    except OSError:
        pytest.skip("this file system has no such names")
    (said,) = [s for s in load_data(str(tmp_path)).notes if "caf" in s]
    said.encode()
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")).symlink_to(tmp_path / "car")
    with pytest.raises(InputError, match=r"class folder 'caf.' .* is not UTF-8"):
        load_data(str(tmp_path))


def test_images_of_several_sizes_are_said(tmp_path: Path) -> None:
    save_classes(tmp_path, NAMES, n=2)
    save(eight_bits(0)[:4], tmp_path / "car" / "7.png")
    assert any("2 sizes" in s and "6x6" in s for s in load_data(str(tmp_path)).notes)


def test_rare_classes_train_and_are_named(tmp_path: Path) -> None:
    save_classes(tmp_path, ["cat", "dog"], n=40)
    save_classes(tmp_path, ["elk", "fox", "gnu"], n=3)
    save_classes(tmp_path, ["hen"], n=1)
    data = load_data(str(tmp_path))
    assert data.train is not None
    train, search, test = (np.bincount(s.labels, minlength=6) for s in (data.train, data.search, data.test))
    assert train.min() >= 1 and test[2:5].tolist() == [1, 1, 1] and test[:2].min() >= 6
    assert (train + search + test).tolist() == [40, 40, 3, 3, 3, 1]
    assert any("4 rare classes with fewer than 10 training images: elk (1), fox (1), gnu (1)" in s for s in data.notes)


def test_too_few_of_every_class_is_said_as_it_is(tmp_path: Path) -> None:
    data = load_data(str(save_classes(tmp_path, NAMES, n=5)))
    assert data.train is None and "at most 5 rows a class, fewer than 10" in data.note


def test_very_many_classes(tmp_path: Path) -> None:
    data = load_data(str(save_classes(tmp_path, [f"c{i:04d}" for i in range(60)], n=1)))
    assert len(data.classes) == 60
    assert "60 classes, sorted as text: c0000, c0001, c0002, c0003, ..., c0056" in data.sentences[0]


@pytest.mark.parametrize(
    ("train", "test"),
    [("training_set", "test_set"), ("seg_train/seg_train", "seg_test/seg_test"), ("train/train", "test/test")],
)
def test_parts_are_known_by_a_word_of_their_name(train: str, test: str, tmp_path: Path) -> None:
    save_classes(tmp_path / train, NAMES, n=12)
    save_classes(tmp_path / test, NAMES, n=3)
    save_classes(tmp_path / "seg_pred", ["seg_pred"], n=3)
    data = load_data(str(tmp_path))
    assert data.classes == tuple(NAMES) and sum(rows(data)) == 60 and len(data.test) == 12
    assert any("seg_pred" in note for note in data.notes)


def test_classes_with_a_word_of_a_part_in_their_names(tmp_path: Path) -> None:
    save_classes(tmp_path / "train station", ["steam", "diesel"], n=12)
    save_classes(tmp_path / "test tube", ["glass", "plastic"], n=12)
    assert load_data(str(tmp_path)).classes == ("test tube", "train station")
