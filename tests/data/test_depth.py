"""Images of more than 8 bits, floats, alpha channels: read on one scale, or refused."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from image_files import eight_bits, ramp, save, save_classes
from netsmith.data import Data, load_data
from netsmith.errors import InputError


def pixels(data: Data) -> torch.Tensor:
    """All images in one order, whatever the split."""
    found = torch.cat([s.images for s in (data.train, data.search, data.test) if s is not None])
    return found[np.lexsort(found.flatten(1).numpy().T)]


@pytest.fixture
def expected(tmp_path: Path) -> torch.Tensor:
    return pixels(load_data(str(save_classes(tmp_path / "8bit", of=eight_bits))))


KINDS: dict[str, tuple[str, Callable[[int], np.ndarray]]] = {
    "16 bits": (".png", lambda i: np.rint(ramp(i, 65535)).astype(np.uint16)),
    "12 bits in 16": (".png", lambda i: np.rint(ramp(i, 4095)).astype(np.uint16)),
    "8 bits in 16": (".png", lambda i: np.rint(ramp(i)).astype(np.uint16)),
    "big-endian TIFF": (".tif", lambda i: np.rint(ramp(i, 4095)).astype(">u2")),
    "signed TIFF": (".tif", lambda i: np.rint(ramp(i, 4000)).astype(np.int16) - 2000),
    "32 bits": (".tif", lambda i: np.rint(ramp(i, 10**9)).astype(np.int32)),
    "floats of 0 to 1": (".tif", lambda i: ramp(i, 1.0).astype(np.float32)),
    "negative floats": (".tif", lambda i: (ramp(i, 0.02) - 0.01).astype(np.float32)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_deep_images_look_like_those_of_8_bits(kind: str, tmp_path: Path, expected: torch.Tensor) -> None:
    suffix, of = KINDS[kind]
    data = load_data(str(save_classes(tmp_path / "deep", suffix=suffix, of=of)))
    assert data.input_shape == (1, 6, 6)
    assert int((pixels(data).int() - expected.int()).abs().max()) <= 1
    low, high = float(of(0).min()), float(of(0).max())
    assert data.pixel_range == (low, high) and json.loads(data.metadata["pixel_range"]) == [low, high]
    assert any(f"{low:g} to {high:g} become 0 to 255" in s for s in data.sentences)


def test_unsigned_32_bits(tmp_path: Path) -> None:
    values = np.array([[0, 2**31], [2**32 - 1, 2**30]], dtype=np.uint32)
    stream = io.BytesIO()
    Image.fromarray(values.view(np.int32)).save(stream, "tiff")
    sign = bytes.fromhex("530103000100000002000000")  # the tag that says: signed
    assert sign in stream.getvalue()
    unsigned = stream.getvalue().replace(sign, sign[:8] + b"\x01\0\0\0")
    for i, c in enumerate("ab"):
        (tmp_path / c).mkdir()
        (tmp_path / c / "x.tif").write_bytes(unsigned)
        save(np.full((2, 2), i, dtype=np.int32), tmp_path / c / "y.tif")
    data = load_data(str(tmp_path))
    assert data.pixel_range == (0, 2**32 - 1) and [0, 128, 255, 64] in pixels(data).flatten(1).tolist()


def test_one_scale_for_all_images_and_parts(tmp_path: Path) -> None:
    for split, top in (("train", 1000), ("test", 4000)):
        save_classes(tmp_path / split, n=10, of=lambda i, top=top: np.rint(ramp(i, top)).astype(np.uint16))
    data = load_data(str(tmp_path))
    assert data.train is not None and data.pixel_range == (0, 4000)
    assert int(data.train.images.max()) == 64 and int(data.test.images.max()) == 255


def test_the_range_is_given_or_that_of_the_weights(tmp_path: Path) -> None:
    folder = str(save_classes(tmp_path, of=KINDS["12 bits in 16"][1]))
    given = load_data(folder, pixel_range=[0, 8190])
    assert given.pixel_range == (0, 8190) and int(pixels(given).max()) == 128
    assert any("these images hold 0 to 4095" in s for s in given.sentences)
    again = load_data(folder, metadata=given.metadata)
    assert again.pixel_range == (0, 8190) and torch.equal(pixels(again), pixels(given))
    other = load_data(folder, pixel_range=[0, 4095], metadata=given.metadata)
    assert other.pixel_range == (0, 4095) and "the weights were trained on pixels of 0 to 8190" in other.notes
    assert other.for_weights(given.metadata).notes == other.notes
    for wrong in ([5, 5], [1], [0, float("nan")], [3, 1]):
        with pytest.raises(InputError, match="two numbers, the lower first"):
            load_data(folder, pixel_range=wrong)
    with pytest.raises(InputError, match="metadata of the weights"):
        load_data(folder, metadata={"pixel_range": "wide"})
    with pytest.raises(InputError, match=r"all 4 images, from .*a/0\.png on, hold the same pixels once 70000 to 80000"):
        load_data(folder, pixel_range=[70000, 80000])


def test_the_range_of_deep_weights_leaves_8_bits_alone(tmp_path: Path, expected: torch.Tensor) -> None:
    data = load_data(str(tmp_path / "8bit"), metadata={"pixel_range": "[0, 4095]"})
    assert data.pixel_range is None and torch.equal(pixels(data), expected)
    assert any("is not used" in s for s in data.sentences)


def test_the_cache_keeps_scale_and_sentences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netsmith.data.load._WORTH_CACHING_S", 0.0)
    folder = str(save_classes(tmp_path / "d", of=KINDS["12 bits in 16"][1]))
    first = load_data(folder)
    monkeypatch.setattr("netsmith.data.load.decode", lambda *a: pytest.fail("decoded again"))
    second = load_data(folder)
    assert second.pixel_range == first.pixel_range and second.sentences == first.sentences


def test_a_few_far_pixels_are_said(tmp_path: Path) -> None:
    def hot(i: int) -> np.ndarray:
        image = np.rint(ramp(i, 300, side=30)).astype(np.uint16)
        if i == 0:
            image[0, 0] = 65535
        return image

    said = [s for s in load_data(str(save_classes(tmp_path, of=hot))).sentences if "of 256 levels" in s]
    assert len(said) == 1 and "--pixel-range 0,300 would show them" in said[0]


def test_mixed_depths_are_refused(tmp_path: Path) -> None:
    save(eight_bits(0), tmp_path / "a" / "0.png")
    save(np.rint(ramp(1, 4095)).astype(np.uint16), tmp_path / "b" / "1.png")
    with pytest.raises(InputError, match=r"a/0\.png has pixels of 8 bits and .*b/1\.png of more than 8 bits"):
        load_data(str(tmp_path))
    save(ramp(0).astype(np.float32), tmp_path / "a" / "0.tif")
    (tmp_path / "a" / "0.png").unlink()
    with pytest.raises(InputError, match=r"pixels of (8 bits|floats)"):
        load_data(str(tmp_path))


def test_colour_of_16_bits_is_refused_by_name(tmp_path: Path) -> None:
    import struct
    import zlib

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    lines = b"".join(b"\0" + np.arange(9, dtype=">u2").tobytes() for _ in range(3))
    for colour, line in ((2, lines), (4, b"".join(b"\0" + np.arange(6, dtype=">u2").tobytes() for _ in range(3)))):
        head = chunk(b"IHDR", struct.pack(">IIBBBBB", 3, 3, 16, colour, 0, 0, 0))
        png = b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(line)) + chunk(b"IEND", b"")
        for c in "ab":
            save(eight_bits(0), tmp_path / c / "0.png")
        (tmp_path / "a" / "1.png").write_bytes(png)
        with pytest.raises(InputError, match=r"a/1\.png has 16 bits a channel in colour"):
            load_data(str(tmp_path))
    (tmp_path / "a" / "1.png").unlink()
    (tmp_path / "a" / "1.ppm").write_bytes(b"P6 3 3 65535\n" + np.arange(27, dtype=">u2").tobytes())
    with pytest.raises(InputError, match=r"a/1\.ppm has 16 bits a channel in colour"):
        load_data(str(tmp_path))


def test_pixels_that_are_no_numbers_are_named(tmp_path: Path) -> None:
    image = ramp(0).astype(np.float32)
    image[2, 2] = np.nan
    save(image, tmp_path / "a" / "0.tif")
    save(ramp(1).astype(np.float32), tmp_path / "b" / "0.tif")
    with pytest.raises(InputError, match=r"a/0\.tif has pixels that are NaN"):
        load_data(str(tmp_path))


@pytest.mark.parametrize(
    ("mode", "suffix", "channels"),
    [
        ("1", ".png", 1), ("L", ".bmp", 1), ("LA", ".png", 1), ("P", ".png", 3), ("RGB", ".webp", 3),
        ("RGBA", ".png", 3), ("CMYK", ".jpg", 3), ("CMYK", ".tif", 3), ("YCbCr", ".jpg", 3), ("YCbCr", ".tif", 3),
    ],
)  # fmt: skip
def test_modes_of_8_bits(mode: str, suffix: str, channels: int, tmp_path: Path) -> None:
    def of(i: int) -> Image.Image:
        grey = Image.fromarray(eight_bits(i))
        return grey.convert("RGB").convert(mode) if mode not in ("1", "L", "LA") else grey.convert(mode)

    data = load_data(str(save_classes(tmp_path, suffix=suffix, of=of)))
    assert data.input_shape == (channels, 6, 6) and data.pixel_range is None
    if mode in ("L", "LA", "RGBA") or suffix == ".tif":  # without loss
        values = torch.from_numpy(np.sort(eight_bits(0), axis=None)).float()
        assert float((pixels(data).float().mean(1)[0].flatten().sort().values - values).abs().max()) <= 3


def rgba(i: int) -> Image.Image:
    """A black shape on black, drawn in the alpha channel."""
    image = Image.new("RGBA", (6, 6))
    image.putalpha(Image.fromarray(eight_bits(i)))
    return image


def test_shapes_in_the_alpha_channel_are_not_lost_silently(tmp_path: Path) -> None:
    folder = save_classes(tmp_path / "all", of=rgba)
    with pytest.raises(InputError, match=r"all 4 images, .* hold the same pixels but for their alpha"):
        load_data(str(folder))
    for i in (0, 1):
        save(eight_bits(i), folder / "b" / f"{i}.png")
    (said,) = [s for s in load_data(str(folder)).sentences if "alpha channel" in s]
    assert "2 of 4 images with an alpha channel" in said and "2 of them hold nothing else" in said
    assert str(folder / "a" / "0.png") in said


def test_a_palette_with_transparency_is_said_and_an_opaque_alpha_is_not(tmp_path: Path) -> None:
    def palette(i: int) -> Image.Image:
        image = Image.fromarray(eight_bits(i)).convert("P")
        image.info["transparency"] = 0
        return image

    assert any("alpha" in s for s in load_data(str(save_classes(tmp_path / "p", of=palette))).sentences)
    opaque = save_classes(tmp_path / "o", of=lambda i: Image.fromarray(eight_bits(i)).convert("RGBA"))
    assert not any("alpha" in s for s in load_data(str(opaque)).sentences)


def test_images_that_hold_nothing(tmp_path: Path) -> None:
    constant = save_classes(tmp_path / "c", of=lambda i: np.full((4, 4), 7, dtype=np.uint16))
    with pytest.raises(InputError, match=r"all 4 images, .* hold the same pixels, so nothing can be learnt"):
        load_data(str(constant))
    flat = save_classes(tmp_path / "f", of=lambda i: np.full((4, 4), 20 * i, dtype=np.uint8))
    assert any("4 of 4 images of one flat colour" in s for s in load_data(str(flat)).sentences)


def test_arrays_in_parquet_columns(tmp_path: Path, expected: torch.Tensor) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    floats = [ramp(i, 1.0) for i in range(4)]
    npy = []
    for image in floats:
        np.save(stream := io.BytesIO(), image.astype(np.float32))
        npy.append(stream.getvalue())
    columns = {
        "lists": [a.tolist() for a in floats], "npy": npy, "deep": [a[None].tolist() for a in floats],
        "uint8": [eight_bits(i).tolist() for i in range(4)],
    }  # fmt: skip
    for name, images in columns.items():
        kind = pa.list_(pa.list_(pa.uint8())) if name == "uint8" else None
        pq.write_table(pa.table({"image": pa.array(images, kind), "label": list("aabb")}), tmp_path / f"{name}.parquet")
        data = load_data(str(tmp_path / f"{name}.parquet"))
        assert data.input_shape == (1, 6, 6) and (data.pixel_range is None) == (name == "uint8"), name
        assert int((pixels(data).int() - expected.int()).abs().max()) <= 1, name
    pq.write_table(pa.table({"image": [[[1, 2], [3]], [[1, 2], [3, 4]]], "label": [0, 1]}), tmp_path / "ragged.parquet")
    with pytest.raises(InputError, match=r"row 0 of ragged\.parquet is no image: its rows have different lengths"):
        load_data(str(tmp_path / "ragged.parquet"))


def test_float_arrays_of_a_saved_data_set(tmp_path: Path, expected: torch.Tensor) -> None:
    datasets = pytest.importorskip("datasets")
    labels = datasets.ClassLabel(names=["a", "b"])
    floats = [ramp(i, 1.0).astype(np.float32) for i in range(4)]
    for kind in (datasets.Image(), datasets.Array2D((6, 6), "float32")):
        features = datasets.Features({"image": kind, "label": labels})
        folder = str(tmp_path / type(kind).__name__)
        datasets.Dataset.from_dict({"image": floats, "label": [0, 0, 1, 1]}, features=features).save_to_disk(folder)
        data = load_data(folder)
        assert data.pixel_range == (0, 1) and int((pixels(data).int() - expected.int()).abs().max()) <= 1


@pytest.mark.parametrize("suffix", ["gif", "tif"])
def test_files_of_several_images_are_named(suffix: str, tmp_path: Path) -> None:
    def film(i: int, path: Path) -> None:
        first, second = (Image.fromarray(eight_bits(k)) for k in (i, i + 1))
        first.save(path.with_suffix(f".{suffix}"), save_all=True, append_images=[second])

    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for i in range(3):
            film(i + 10 * (name == "b"), tmp_path / name / f"{i}.{suffix}")
    assert any("6 of 6 files with more than one image" in note for note in load_data(str(tmp_path)).notes)
