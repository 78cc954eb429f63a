"""Batches, augmentation, normalisation, classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from netsmith.data import Augment, Split, check_classes, load_data, normalisation_from_metadata
from netsmith.data.normalise import Normalisation, statistics
from netsmith.data.splits import balanced
from netsmith.errors import InputError

NORM = Normalisation((0.5, 0.4, 0.3), (0.2, 0.25, 0.3))


@pytest.fixture
def split() -> Split:
    rng = np.random.default_rng(0)
    return Split(torch.from_numpy(rng.integers(0, 256, (23, 3, 6, 5), dtype=np.uint8)), torch.arange(23))


@pytest.mark.parametrize("channels_last", [True, False])
def test_normalised_batches_equal_the_formula(split: Split, channels_last: bool) -> None:
    batches = list(split.batches(10, normalise=NORM, channels_last=channels_last))
    assert [len(y) for _, y in batches] == [10, 10, 3]
    x = torch.cat([b for b, _ in batches])
    expected = (split.images.double() / 255 - torch.tensor(NORM.mean).view(3, 1, 1)) / torch.tensor(NORM.std).view(
        3, 1, 1
    )
    assert x.dtype == torch.float32 and torch.allclose(x, expected.float(), atol=2e-6)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    assert batches[0][0].is_contiguous(memory_format=layout)


def test_augmentation_equals_a_loop_over_images(split: Split) -> None:
    augment = Augment(pad=2, flip=True)
    dy, dx, flips = augment.draw(23, np.random.default_rng(5))
    assert set(dy) == set(range(5)) and flips.any() and not flips.all()
    got = augment.apply(split.images, (dy, dx, flips))
    padded = F.pad(split.images, (2, 2, 2, 2))
    for i in range(23):
        want = padded[i, :, dy[i] : dy[i] + 6, dx[i] : dx[i] + 5]
        assert torch.equal(got[i], want.flip(-1) if flips[i] else want)


def test_skipped_batches_leave_the_rest_unchanged(split: Split) -> None:
    def batches(start: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
        rng = np.random.default_rng(1)
        return list(split.batches(4, normalise=NORM, shuffle_rng=rng, augment=Augment(), drop_last=True, start=start))

    full = batches(0)
    assert len(full) == 5 and len({int(v) for _, y in full for v in y}) == 20
    for (x, y), (x2, y2) in zip(full[3:], batches(3), strict=True):
        assert torch.equal(x, x2) and torch.equal(y, y2)


def test_parts_of_batches_make_up_the_whole_ones(split: Split) -> None:
    def batches(part: tuple[int, int], shuffled: bool) -> list[tuple[torch.Tensor, torch.Tensor]]:
        rng, augment = (np.random.default_rng(1), Augment()) if shuffled else (None, None)
        return list(split.batches(5, normalise=NORM, shuffle_rng=rng, augment=augment, part=part))

    for shuffled in (False, True):
        whole, parts = batches((0, 1), shuffled), [batches((i, 3), shuffled) for i in range(3)]
        assert [[len(y) for _, y in p] for p in parts] == [[2, 2, 2, 2, 1], [2, 2, 2, 2, 1], [1, 1, 1, 1, 1]]
        for b, (x, y) in enumerate(whole):
            for i, part in enumerate(parts):
                assert torch.equal(part[b][0], x[i::3]) and torch.equal(part[b][1], y[i::3])


def test_drop_last_keeps_an_only_batch(split: Split) -> None:
    assert [len(y) for _, y in split.batches(64, normalise=NORM, drop_last=True)] == [23]


def test_statistics_equal_the_float_computation(split: Split) -> None:
    x = split.images.double() / 255
    got = statistics(split.images)
    assert np.allclose(got.mean, x.mean((0, 2, 3))) and np.allclose(got.std, x.std((0, 2, 3), correction=0))


def test_balanced_prefix_for_uneven_classes() -> None:
    labels = np.array([0] * 50 + [1] * 3 + [2] * 50)
    taken = labels[balanced(labels, 20, np.random.default_rng(0))]
    counts = np.bincount(taken)
    assert counts[1] == 3 and abs(counts[0] - counts[2]) <= 1


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        (
            {"mean": "[0.485, 0.456, 0.406]", "std": "[0.229, 0.224, 0.225]"},
            ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ),
        ({"input": "224x224, RGB, x/127.5-1, NCHW"}, ((0.5,) * 3, (0.5,) * 3)),
        (
            {"input": "224x224 (native 227), RGB 0..255 minus (123,117,104); first conv already reordered"},
            ((123 / 255, 117 / 255, 104 / 255), (1 / 255,) * 3),
        ),
        ({"input": "RGB, NCHW"}, None),
        ({}, None),
        (None, None),
    ],
)
def test_normalisation_from_metadata(metadata: dict[str, str] | None, expected: object) -> None:
    assert normalisation_from_metadata(metadata) == expected


def test_metadata_forms_give_the_stated_pixels() -> None:
    x = torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 1, 1, 3).expand(1, 3, 1, 3)
    tf = normalisation_from_metadata({"input": "x/127.5-1"})
    caffe = normalisation_from_metadata({"input": "0..255 minus (123,117,104)"})
    assert tf is not None and caffe is not None
    assert torch.allclose(tf(x)[0, 0, 0], torch.tensor([-1.0, 51 / 127.5 - 1, 1.0]), atol=1e-6)
    assert torch.allclose(caffe(x)[0, :, 0, 1], torch.tensor([51.0 - 123, 51 - 117, 51 - 104]), atol=1e-4)


def test_bad_metadata_is_an_input_error() -> None:
    with pytest.raises(InputError, match="--mean and --std"):
        normalisation_from_metadata({"mean": "about a half", "std": "[1]"})


def test_metadata_of_real_weights(shared_data: Path) -> None:
    from safetensors import safe_open

    found = {}
    for file in (shared_data / "models").glob("*.safetensors"):
        with safe_open(file, framework="pt") as stored:
            found[file.stem] = normalisation_from_metadata(stored.metadata())
    assert found and all(n is not None and len(n.mean) == 3 for n in found.values()), found


def test_class_mismatch_is_an_input_error() -> None:
    data = load_data("digits")
    check_classes(data, 10, {"classes": "[" + ",".join(f'"{i}"' for i in range(10)) + "]"})
    check_classes(data, 10, {"classes": "ten digits"})
    with pytest.raises(InputError, match=r"10 classes but the network has 1000 outputs.* --classes FILE"):
        check_classes(data, 1000)
    turned = ",".join(f'"{9 - i}"' for i in range(10))
    with pytest.raises(InputError, match=r"class 0 .* weights call it '9'"):
        check_classes(data, 10, {"classes": f"[{turned}]"})
