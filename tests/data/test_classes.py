"""The order of classes: said, given, or taken from the weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from image_files import eight_bits, save_classes
from netsmith.data import check_classes, load_data
from netsmith.data.classes import read_classes
from netsmith.errors import InputError

NUMBERS = [str(i) for i in range(12)]


@pytest.fixture
def numbered(tmp_path: Path) -> str:
    return str(save_classes(tmp_path / "numbered", NUMBERS, n=12))


def test_numbers_sorted_as_text_are_warned_of(numbered: str, tmp_path: Path) -> None:
    data = load_data(numbered)
    assert data.classes[:4] == ("0", "1", "10", "11")
    said = data.sentences[0]
    assert said.startswith("12 classes, sorted as text: 0, 1, 10, 11, ..., 6, 7, 8, 9;") and "--classes FILE" in said
    for names in (["cat", "dog"], NUMBERS[:10], ["c01", "c02", "c10"]):
        sentence = load_data(str(save_classes(tmp_path / names[-1], names))).sentences[0]
        assert names[-1] in sentence and "--classes" not in sentence
    assert "--classes" in load_data(str(save_classes(tmp_path / "c", ["c1", "c2", "c10"]))).sentences[0]


@pytest.mark.parametrize("form", ["lines", "list", "index to name", "name to index", "python"])
def test_an_order_given_renumbers_the_labels(form: str, numbered: str, tmp_path: Path) -> None:
    file = tmp_path / "classes"
    texts = {
        "lines": "\ufeff" + "\r\n".join(NUMBERS) + "\n\n", "list": json.dumps(NUMBERS),
        "index to name": json.dumps(dict(reversed(list(enumerate(NUMBERS))))),
        "name to index": json.dumps({n: i for i, n in enumerate(NUMBERS)}), "python": "",
    }  # fmt: skip
    file.write_text(texts[form], encoding="utf-8")
    plain = load_data(numbered)
    data = load_data(numbered, classes=NUMBERS if form == "python" else file)
    assert data.classes == tuple(NUMBERS) and json.loads(data.metadata["classes"]) == NUMBERS
    assert "--classes FILE" not in data.sentences[0] and "0, 1, 2, 3, ..., 8, 9, 10, 11" in data.sentences[0]
    assert torch.equal(data.test.images, plain.test.images)  # the parts are the same rows
    for old, new in zip(plain.test.labels, data.test.labels, strict=True):
        assert plain.classes[old] == data.classes[new]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (None, "there is no file"),
        ("", "names no classes"),
        ("a\na\n", "has 'a' twice"),
        ("{}", "neither a JSON list of names nor"),
        ("[1.5]", "neither a JSON list"),
        ('{"0": "a", "2": "b"}', "neither a JSON list"),
        ("[" * 100000, "neither a JSON list"),
        ("\n".join(NUMBERS[1:]), "the class '0' is not among the 11 of --classes"),
    ],
)
def test_a_wrong_file_of_classes_is_one_sentence(text: str | None, match: str, numbered: str, tmp_path: Path) -> None:
    file = tmp_path / "classes.txt"
    if text is not None:
        file.write_text(text)
    with pytest.raises(InputError, match=match):
        load_data(numbered, classes=str(file))
    with pytest.raises(InputError, match="Is a directory"):
        read_classes(tmp_path)
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="another encoding"):
        read_classes(tmp_path / "binary")


def test_the_order_of_the_weights_is_taken(numbered: str) -> None:
    data = load_data(numbered, metadata={"classes": json.dumps(NUMBERS)})
    assert data.classes == tuple(NUMBERS) and "as the metadata of the weights has them" in data.sentences[0]
    same = load_data(numbered).for_weights({"classes": json.dumps(NUMBERS)})
    assert torch.equal(same.train.labels, data.train.labels)  # type: ignore[union-attr]
    assert load_data(numbered, metadata={"classes": "twelve numbers"}).classes[2] == "10"
    other = load_data(numbered, metadata={"classes": json.dumps(["cat", "dog"])})
    assert any("trained on other classes: 2 classes" in s and "cat, dog" in s for s in other.sentences)


def test_what_contradicts_the_weights_is_refused(numbered: str) -> None:
    theirs = {"classes": json.dumps(NUMBERS)}
    data = load_data(numbered, classes=NUMBERS[::-1], metadata=theirs)
    with pytest.raises(InputError, match=r"class 0 of .* is '11' in the order of the classes given, but the weights"):
        check_classes(data, 12, theirs)


def test_data_may_have_some_of_the_classes(tmp_path: Path) -> None:
    folder = str(save_classes(tmp_path, ["b", "d"]))
    data = load_data(folder, classes=list("abcd"))
    assert data.classes == tuple("abcd") and data.known_classes == 4
    assert set(data.test.labels.tolist()) | set(data.search.labels.tolist()) == {1, 3}
    assert any("of the 4 classes, 2 occur in the data" in s for s in data.sentences)
    one = str(save_classes(tmp_path / "one", ["b"]))
    assert load_data(one, classes=list("abcd")).classes == tuple("abcd")


def test_an_order_that_a_library_found_in_a_folder_is_warned_of_too(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=sorted(NUMBERS))})
    rows = {"image": [eight_bits(i) for i in range(12)], "label": list(range(12))}
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(str(tmp_path / "d"))
    assert "as the data declares them: 0, 1, 10, 11" in (said := load_data(str(tmp_path / "d")).sentences[0])
    assert "--classes FILE" in said


def test_names_that_differ_in_case_only_are_said(tmp_path: Path) -> None:
    folder = save_classes(tmp_path, ["Cat", "cat", "dog"])
    if len(list(folder.iterdir())) < 3:
        pytest.skip("this file system does not tell case apart")
    assert any("'Cat' and 'cat' have nearly the same name" in s for s in load_data(str(folder)).sentences)
