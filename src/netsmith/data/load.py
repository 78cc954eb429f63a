"""One call from a data spec to three splits."""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from netsmith.data import cache
from netsmith.data.decode import decode
from netsmith.data.normalise import Normalisation, statistics
from netsmith.data.sources import Raw, parquet_files, read_folder, read_hub, read_parquet
from netsmith.data.splits import balanced, divide
from netsmith.data.types import Data, Split
from netsmith.errors import InputError

_WORTH_CACHING_S = 1.0


def load_data(
    spec: str,
    *,
    seed: int = 0,
    search_size: int | None = None,
    label_column: str | None = None,
    image_size: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    train_limit: int | None = None,
    cache_dir: str | Path | None = None,
) -> Data:
    """Load an image classification data set into memory.

    Args:
        spec: ``digits``, a parquet file, a folder of parquet files or of images in class subfolders (either may have
            train, validation and test parts), or a Hugging Face name, ``name`` or ``name:config``.
        seed: of the search split and of ``train_limit``.
        search_size: rows held out of train, balanced over classes; default ``min(5000, 15 %)``.
        label_column: where the labels are, if the name does not say so.
        image_size: side in pixels; the shorter side is resized to it and the centre cut out.
        mean: per channel, on x/255; default is the statistics of the train split.
        std: likewise; both or neither.
        train_limit: train on this many rows only, balanced over classes.
        cache_dir: of decoded images; default NETSMITH_CACHE or ``~/.cache/netsmith``.

    Raises:
        InputError: there is no such data, it has no labels, or an image is unreadable.
    """
    if (mean is None) != (std is None):
        raise InputError("--mean and --std belong together; give both or neither")
    for option, value in (("--search-size", search_size), ("--image-size", image_size), ("--train-limit", train_limit)):
        if value is not None and value < 1:
            raise InputError(f"{option} {value} must be at least 1")
    rng = np.random.default_rng(seed)
    parts, classes = _decoded(spec, label_column, image_size, cache_dir)
    splits = {name: Split(*part) for name, part in parts.items() if len(part[1])}
    splits = {name: s for name, s in splits.items() if int(s.labels.max()) >= 0}  # hidden test labels are all -1
    if not splits:
        raise InputError(f"data set {spec!r} has no labelled images; give one with images and labels")
    for name, s in splits.items():
        if int(s.labels.min()) < 0 or (classes is not None and int(s.labels.max()) >= len(classes)):
            raise InputError(f"the {name} labels of {spec!r} are not class indices; choose another with --label-column")
    named = classes is not None
    if classes is None:
        classes = tuple(str(i) for i in range(max(int(s.labels.max()) for s in splits.values()) + 1))
    train, search, test, note = divide(splits, spec, search_size, rng)
    if train is not None and train_limit is not None and train_limit < len(train):
        train = train.take(np.sort(balanced(train.labels.numpy(), train_limit, rng)))
    if mean is not None and std is not None:
        normalisation = Normalisation(tuple(map(float, mean)), tuple(map(float, std)))
    else:
        normalisation = statistics((train or search).images)
    shape = tuple(search.images.shape[1:])
    channels, height, width = shape
    return Data(
        name=spec,
        train=train,
        search=search,
        test=test,
        classes=classes,
        input_shape=(channels, height, width),
        normalisation=normalisation.check(channels),
        note=note,
        classes_named=named,
    )


def _decoded(
    spec: str, label_column: str | None, image_size: int | None, cache_dir: str | Path | None
) -> cache.Decoded:
    if spec == "digits":
        return _digits(image_size)
    path = Path(spec).expanduser()
    if not path.exists() and (spec.startswith((".", "/", "~")) or path.suffix == ".parquet" or spec.count("/") > 1):
        raise InputError(f"there is no file or folder {spec!r}; give 'digits', an existing path or a Hugging Face name")
    if not path.exists():
        return _decode(read_hub(spec, label_column), image_size)
    folder = cache.cache_folder(cache_dir)
    key = cache.fingerprint(path, label_column, image_size)
    stored = cache.read(folder, key)
    if stored is not None:
        return stored
    start = time.perf_counter()
    decoded = _decode(_read_local(path, label_column), image_size)
    if time.perf_counter() - start > _WORTH_CACHING_S:
        cache.write(folder, key, decoded)
    return decoded


def _read_local(path: Path, label_column: str | None) -> Raw:
    if path.is_file() and path.suffix != ".parquet":
        raise InputError(f"{path} is not a parquet file; give a .parquet file, or a folder of parquet files or images")
    if path.is_file():
        return read_parquet(path, label_column)
    if (path / "dataset_dict.json").is_file() or (path / "dataset_info.json").is_file():
        return read_hub(str(path), label_column)
    return read_parquet(path, label_column) if parquet_files(path) else read_folder(path)


def _decode(raw: Raw, image_size: int | None) -> cache.Decoded:
    splits = {name: s for name, s in raw.splits.items() if len(s.rows)}
    images = decode(splits, image_size)
    return {name: (images[name], torch.from_numpy(s.labels)) for name, s in splits.items()}, raw.classes


@functools.cache
def _read_digits() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The digits ``(N, 8, 8)`` and their classes ``(N,)``, parsed once a process from scikit-learn's text file."""
    from sklearn.datasets import load_digits

    found = load_digits()
    return np.rint(found.images * (255.0 / 16.0)).astype(np.uint8), found.target.astype(np.int64)  # 17 grey levels


def _digits(image_size: int | None) -> cache.Decoded:
    pixels, targets = _read_digits()
    images = torch.from_numpy(pixels[:, None].copy())
    if image_size is not None and image_size != 8:
        size = (image_size, image_size)
        resized = torch.nn.functional.interpolate(images.float(), size, mode="bilinear", antialias=True)
        images = resized.round().clamp(0, 255).to(torch.uint8)
    labels = torch.from_numpy(targets.copy())
    return {"all": (images, labels)}, tuple(str(i) for i in range(10))
