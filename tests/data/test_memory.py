"""Data that a user has in memory: what each form gives, and what is refused in which words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import ConcatDataset, DataLoader, Dataset, IterableDataset, Subset, TensorDataset

from netsmith.data import Normalisation, data_for, describe, load_data, recorded, room
from netsmith.data.normalise import AS_GIVEN
from netsmith.errors import InputError

N = 60
PIXELS = np.random.default_rng(0).integers(0, 256, (N, 6, 5), dtype=np.uint8)  # no two rows are alike
COLOUR = np.random.default_rng(1).integers(0, 256, (N, 3, 6, 5), dtype=np.uint8)
LABELS = np.arange(N) % 3
X, Y = torch.from_numpy(PIXELS).float()[:, None] / 100 - 1, torch.from_numpy(LABELS)


class Rows(Dataset[Any]):
    """A data set of the user's own, whose transform may be random."""

    def __init__(self, *, random: bool = False, broken: int = -1) -> None:
        self.classes: tuple[str, ...] = ("ant", "bee", "cat")
        self.random, self.broken = random, broken

    def __len__(self) -> int:
        return N

    def __getitem__(self, i: int) -> Any:
        if i == self.broken:
            raise ValueError("no such file")
        return X[i] + (torch.rand(()) if self.random else 0), int(LABELS[i])


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        return rows()


def rows() -> Iterator[Any]:
    yield from zip(PIXELS, LABELS, strict=True)


def table() -> datasets.Dataset:
    kinds = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=list("abc"))})
    images = [Image.fromarray(image) for image in PIXELS]
    return datasets.Dataset.from_dict({"image": images, "label": LABELS.tolist()}, features=kinds)


def transformed(batch: dict[str, Any]) -> dict[str, Any]:
    inputs = [torch.from_numpy(np.array(image)).float()[None] / 100 - 1 for image in batch["image"]]
    return {"pixel_values": inputs, "labels": batch["label"]}


def batches() -> Iterator[Any]:
    for part in range(0, N, 20):
        yield {"pixel_values": X[part : part + 20], "labels": Y[part : part + 20]}


FLOATS: dict[str, Callable[[], Any]] = {
    "DataLoader of TensorDataset": lambda: DataLoader(TensorDataset(X, Y), 16),
    "DataLoader of Rows": lambda: DataLoader(Rows(), 16, num_workers=2),
    "TensorDataset": lambda: TensorDataset(X, Y),
    "Subset of TensorDataset": lambda: Subset(TensorDataset(X, Y), range(N)),
    "Rows": Rows,
    "60x1x6x5 float32 tensor and 60 int64 tensor": lambda: (X, Y),
    "60x1x6x5 float64 array and 60 int64 array": lambda: (X.double().numpy(), LABELS),
    "list of 60": lambda: list(zip(X, LABELS.tolist(), strict=True)),
    "generator batches": batches,
    "Dataset": lambda: table().with_transform(transformed),
}
IMAGES: dict[str, Callable[[], Any]] = {
    "60x6x5 uint8 tensor and 60 int64 tensor": lambda: (torch.from_numpy(PIXELS), Y),
    "60x1x6x5 uint8 array and 60 int64 array": lambda: (PIXELS[:, None], LABELS),
    "60x6x5x1 uint8 array and 60 int64 array": lambda: (PIXELS[..., None], LABELS),
    "list of 60": lambda: [(Image.fromarray(image), "xyz"[label]) for image, label in zip(PIXELS, LABELS, strict=True)],
    "generator rows": rows,
    "function rows": lambda: rows,
    "Stream": Stream,
    "DataLoader of Stream": lambda: DataLoader(Stream(), 7),
    "Dataset": table,
    "IterableDataset": lambda: table().to_iterable_dataset(),
}


@pytest.mark.parametrize("name", FLOATS)
def test_floats_are_taken_as_they_are(name: str) -> None:
    given = FLOATS[name]()
    assert describe(given) == name
    data = load_data(given)
    want = load_data((X, Y))
    assert data.as_given and data.name == name and data.input_shape == (1, 6, 5)
    for split, other in ((data.need_train(), want.need_train()), (data.search, want.search), (data.test, want.test)):
        inputs, labels = next(split.batches(100, normalise=data.normalisation))
        assert torch.equal(inputs, other.images) and torch.equal(labels, other.labels)
        inputs.zero_()
    assert torch.equal(data.search.images, want.search.images), "a network that writes in place harms no data"
    said = data.feeding.preprocessing
    assert said["scale"] is said["mean"] is said["std"] is None and said["size"] == [6, 5]
    assert "mean" not in data.metadata and "taken as given" in " ".join(data.sentences)
    assert data.with_normalisation(Normalisation((0.5,), (0.5,))).normalisation == AS_GIVEN


def test_a_normalisation_that_is_not_that_of_the_weights_is_kept_and_said() -> None:
    data = load_data((PIXELS, Y), mean=(0.25,), std=(0.5,))
    for silent in ({}, {"mean": "[0.250001]", "std": "[0.5]"}, {"mean": "[none]", "std": "[0.5]"}):
        assert data.compared_with(silent) is data
    kept = data.compared_with({"mean": "[0.75]", "std": "[0.5]"})
    assert kept.normalisation == data.normalisation
    assert "not those of the file of the weights, mean 0.75 and std 0.5; drop them" in kept.sentences[-1]


@pytest.mark.parametrize("name", IMAGES)
def test_images_are_treated_as_files_are(name: str) -> None:
    given = IMAGES[name]()
    assert describe(given) == name
    data, want = load_data(given, mean=[0.5], std=[0.25]), load_data((PIXELS, LABELS))
    assert not data.as_given and data.normalisation == Normalisation((0.5,), (0.25,))
    assert torch.equal(data.search.images, want.search.images) and torch.equal(data.test.labels, want.test.labels)
    assert data.search.images.dtype == torch.uint8 and data.input_shape == (1, 6, 5)


def test_colour_has_its_channels_first_or_last() -> None:
    first, last = load_data((COLOUR, LABELS)), load_data((COLOUR.transpose(0, 2, 3, 1), LABELS))
    assert torch.equal(first.test.images, last.test.images) and first.input_shape == (3, 6, 5)
    assert load_data((COLOUR, LABELS), image_size=4).input_shape == (3, 4, 4)


def test_classes_come_from_the_data() -> None:
    for given in (Rows(), DataLoader(Subset(Rows(), range(50))), ConcatDataset([Rows(), Rows()])):
        assert load_data(given).classes == ("ant", "bee", "cat")
    assert load_data(table()).classes == load_data(table().with_transform(transformed)).classes == ("a", "b", "c")
    assert load_data(IMAGES["list of 60"]()).classes == ("x", "y", "z")
    assert load_data((X, Y)).known_classes is None


def test_parts_of_a_dict() -> None:
    train, few = TensorDataset(X, Y), (X[:12], Y[:12])
    data = load_data({"train": train, "search": few, "test": lambda: DataLoader(TensorDataset(X[30:], Y[30:]))})
    assert (
        len(data.need_train()) == N
        and torch.equal(data.search.images, X[:12])
        and torch.equal(data.test.images, X[30:])
    )
    data = load_data({"train": train, "search": few})
    assert len(data.need_train()) == 48 and len(data.search) == 12 == len(data.test), "search is never the test part"
    data = load_data({"train": train, "test": DataLoader(train)})
    assert any("train and test are the same data" in note for note in data.notes)
    halves = table().train_test_split(0.5, seed=0)
    assert describe(halves) == "train: Dataset, test: Dataset"
    assert len(load_data(halves).test) == 30
    hidden = load_data({"train": train, "test": (X, torch.full((N,), -1))})
    assert len(hidden.test) == 12 and "one split" in hidden.note


def rows_that_end_badly() -> Iterator[Any]:
    yield X[0], 0
    yield X[0, :, :3], 1


def no_rows(n: int) -> Any:
    return n


NAN = X.clone()
NAN[7, 0, 2] = float("nan")
TWO = Rows()
TWO.classes = ("ant", "bee")
REFUSED: dict[str, tuple[Any, str]] = {
    "one tensor": (X, "a Tensor without labels.*give a DataLoader"),
    "nothing": (None, "NoneType.*give a DataLoader"),
    "a network": (torch.nn.Linear(2, 2), "Linear.*give a DataLoader"),
    "a class": (Rows, "class Rows.*give a DataLoader"),
    "a set": ({1, 2}, "type set.*give a DataLoader"),
    "a function with arguments": (no_rows, "cannot be called.*function that returns one"),
    "a function that raises": (lambda: 1 / 0, "raised ZeroDivisionError: division by zero"),
    "a function of a function": (lambda: no_rows, "returned a function"),
    "empty": ([], "is empty"),
    "a loader of nothing": (DataLoader(TensorDataset(X[:0], Y[:0])), "is empty"),
    "unknown parts": ({"pixel_values": X, "labels": Y}, "'pixel_values' is no part"),
    "no parts": ({}, "dict of parts is empty"),
    "a part twice": ({"val": (X, Y), "validation": (X, Y)}, "twice"),
    "search and validation": ({"search": (X, Y), "val": (X, Y)}, "mean the same"),
    "parts of two kinds": ({"train": (X, Y), "test": (PIXELS, Y)}, "train part .* has floats and test pixels"),
    "three tensors": (TensorDataset(X, Y, Y), "3 tensors; give two"),
    "three in a batch": (DataLoader(TensorDataset(X, Y, Y), 8), "batch 0 has 3 parts"),
    "inputs alone": (DataLoader(X, 8), "batch 0 has no label"),
    "a dict without labels": ([{"image": X[0]}], "row 0 is a dict with image and no labels"),
    "one-hot labels": ((X, torch.eye(3)[Y]), r"shape 60x3; give .*argmax"),
    "float labels": ((X, Y.float()), "labels of the data are float32; give whole numbers"),
    "a float label": ([(X[0], 0.5), (X[1], 1.0)], "0.5.*floating-point"),
    "labels out of range": ((X, Y * 10**6), "far above the number of rows"),
    "a label beyond the names": (TWO, "row 2 .* is none of the 2 classes"),
    "negative labels": ((X, Y - 1), "negative"),
    "labels too few": ((X, Y[:9]), "60 inputs and 9 labels"),
    "NaN": ((NAN, Y), "row 7 has NaN or infinite"),
    "inputs without values": ((X.to("meta"), Y), "input of row 0 is .* without values; give a dense"),
    "labels without values": ((X, Y.to("meta")), "labels? of .* without values"),
    "vectors": ((X.flatten(1), Y), "shape 30; .* channels x height x width"),
    "floats, channels last": ((torch.rand(N, 6, 5, 3), Y), "6x5x3, with the channels last"),
    "shapes that change": (rows_that_end_badly(), "row 1 is 1x3x5, and those before it are 1x6x5"),
    "floats after pixels": ([(PIXELS[0], 0), (X[0], 1)], "row 1 has floats, and rows before it have pixels"),
    "a loader that raises": (DataLoader(Rows(broken=40), 16), "batch 2 .* raised ValueError: no such file"),
    "inputs all the same": ((X * 0, Y), "all 60 inputs .* are the same"),
    "a loader that exits": (map(exit, "12"), "raised SystemExit"),
    "one class": ((X, Y * 0), "has one class"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused_in_a_sentence(name: str) -> None:
    given, words = REFUSED[name]
    with pytest.raises(InputError, match=words) as caught:
        load_data(given)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


@pytest.mark.parametrize("option", [{"mean": [0.5], "std": [0.5]}, {"image_size": 4}, {"pixel_range": [0, 1]}])
def test_options_of_pixels_are_refused_for_floats(option: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="for pixels; these inputs are floats"):
        load_data((X, Y), **option)


def endless() -> Iterator[Any]:
    while True:
        yield X[0], 0


@pytest.mark.parametrize("given", [endless, DataLoader(TensorDataset(X, Y), 4), (X, Y), (PIXELS, Y), table()])
def test_no_more_than_half_of_the_memory_is_taken(given: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "free_bytes", lambda: PIXELS.nbytes)
    with pytest.raises(InputError, match=r"of memory or more, and .* are free"):
        load_data(given)


def test_what_would_not_be_read_again_is_recorded(tmp_path: Any) -> None:
    generator, order = torch.Generator().manual_seed(1), ("cat", "ant", "bee")
    shuffling = DataLoader(TensorDataset(X, Y), 16, shuffle=True, generator=generator)
    own = DataLoader(TensorDataset(X, Y), collate_fn=lambda pairs: (pairs[0][0][None], pairs[0][1][None]))
    for i, given in enumerate([shuffling, Rows(random=True), rows(), Stream(), lambda: (X, Y), own]):
        path = tmp_path / f"{i}.safetensors"
        first = data_for(given, {}, record=path, classes=order)
        again = data_for(given, {}, record=path, classes=order)
        assert path.exists() and again.sentences == first.sentences and again.classes == order
        for name in ("train", "search", "test"):
            one, other = getattr(first, name), getattr(again, name)
            assert torch.equal(one.images, other.images) and torch.equal(one.labels, other.labels)
        assert again.metadata == first.metadata
    assert not torch.equal(load_data(shuffling).test.images, load_data(shuffling).test.images)
    assert any("differ each time" in note for note in load_data(DataLoader(Rows(random=True))).notes)
    for given in (DataLoader(Rows(), 16), Rows(), TensorDataset(X, Y), (X, Y), table()):
        data_for(given, {}, record=tmp_path / "no.safetensors")
        assert not (tmp_path / "no.safetensors").exists()


def test_a_damaged_record_is_named(tmp_path: Any) -> None:
    path = tmp_path / "recorded.safetensors"
    load_data(rows, record=path)
    content = path.read_bytes()
    for damaged in (content[:-1] + bytes([content[-1] ^ 1]), content[:100], b"", content[:8] + b"{}"):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"recorded\.safetensors is damaged or was edited"):
            recorded.read(path)
