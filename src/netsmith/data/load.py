"""One call from a data spec to three splits."""

from __future__ import annotations

import dataclasses
import functools
import math
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from netsmith.data import cache
from netsmith.data.classes import DECLARED, NUMBERED, SORTED, names_alike, plural, read_classes
from netsmith.data.decode import Decoded, Range, check_range, decode, range_from_metadata
from netsmith.data.folders import read_folder
from netsmith.data.labels import HIDDEN, check_labels
from netsmith.data.normalise import Normalisation, statistics
from netsmith.data.sources import Raw, RawSplit, parquet_files, read_hub, read_parquet
from netsmith.data.splits import balanced, divide, rare_classes
from netsmith.data.types import GIVEN, OF_DATA, Data, Split
from netsmith.errors import InputError

_WORTH_CACHING_S = 1.0
_LARGEST_SIDE = 16384  #: of images; larger ones would not fit into memory
_HUB_NAME = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?(:.+)?")


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
    classes: str | Path | Sequence[str] | None = None,
    pixel_range: Sequence[float] | None = None,
    metadata: Mapping[str, str] | None = None,
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
        classes: names in the order of the network's outputs, or a file of them; default is the order of ``metadata``,
            else that of the data, else sorted names.
        pixel_range: values that become 0 and 255 in images of more than 8 bits or floats; default is that of
            ``metadata``, else the least and the greatest value of all images.
        metadata: header of the weights file that the data is for.
        cache_dir: of decoded images; default NETSMITH_CACHE or ``~/.cache/netsmith``.

    Raises:
        InputError: there is no such data, it has no usable labels, or an image is unreadable.
    """
    if (mean is None) != (std is None):
        raise InputError("--mean and --std belong together; give both or neither")
    for option, value in (("--search-size", search_size), ("--image-size", image_size), ("--train-limit", train_limit)):
        if value is not None and value < 1:
            raise InputError(f"{option} {value} must be at least 1")
    if image_size is not None and image_size > _LARGEST_SIDE:
        raise InputError(f"--image-size {image_size} must be at most {_LARGEST_SIDE}, a side in pixels")
    if seed < 0:
        raise InputError(f"--seed {seed} must be at least 0")
    given = check_range(pixel_range, "--pixel-range")
    _check_numbers(mean, "--mean")
    _check_numbers(std, "--std")
    names = None if classes is None else read_classes(classes)
    rng = np.random.default_rng(seed)
    raw = _read_digits() if spec == "digits" else _read(spec, label_column)
    known = raw.classes if raw.classes is not None else names
    raw = dataclasses.replace(raw, splits=_labelled(raw, known, spec))
    decoded = _decoded(raw, image_size, given or range_from_metadata(metadata), cache_dir)
    splits = {key: Split(decoded.images[key], torch.from_numpy(s.labels)) for key, s in raw.splits.items()}
    train, search, test, note = divide(splits, spec, search_size, rng)
    found = raw.classes or tuple(str(i) for i in range(max(int(s.labels.max()) for s in splits.values()) + 1))
    seen = {int(label) for s in splits.values() for label in s.labels.unique()}
    rare = rare_classes(train, found) if train is not None else []
    if train is None and len(seen) < len(found):
        rare = [f"of the {plural(len(found), 'class')}, {len(seen)} occur in the data"]
    if train is not None and train_limit is not None and train_limit < len(train):
        train = train.take(np.sort(balanced(train.labels.numpy(), train_limit, rng)))
    if mean is not None and std is not None:
        normalisation, source = Normalisation(tuple(map(float, mean)), tuple(map(float, std))), GIVEN
    else:
        normalisation, source = statistics((train or search).images), OF_DATA
    channels, height, width = search.images.shape[1:]
    data = Data(
        name=spec,
        train=train,
        search=search,
        test=test,
        classes=found,
        input_shape=(channels, height, width),
        normalisation=normalisation.check(channels),
        note=note,
        classes_named=raw.classes is not None,
        class_order=NUMBERED if raw.classes is None else DECLARED if raw.declared else SORTED,
        pixel_range=decoded.pixel_range,
        normalised_by=source,
        notes=(*raw.notes, *decoded.notes, *names_alike(found), *rare),
    ).for_weights(metadata, classes)
    if len(data.classes) < 2:
        raise InputError(f"data set {spec!r} has one class, {data.classes[0]!r}; give images of two or more classes")
    return data


def _check_numbers(values: Sequence[float] | None, option: str) -> None:
    """Before anything is read: numbers that normalise, one a channel; more is checked once the images are known."""
    try:
        good = all(math.isfinite(float(v)) for v in (values if values is not None else ()))
    except (TypeError, ValueError):
        good = False
    if not good:
        raise InputError(f"{option} is {values!r}; give finite numbers, one a channel, on the scale of x/255")


def data_for(data: Any, metadata: Mapping[str, str], **options: Any) -> Data:
    """What ``data`` names, loaded for weights with such a header; loaded data gets its classes in their order.

    Args:
        options: of :func:`load_data`.

    Raises:
        InputError: see there.
    """
    if isinstance(data, Data):
        return data.for_weights(metadata, options.get("classes"))
    return load_data(str(data), metadata=metadata, **options)


def _read(spec: str, label_column: str | None) -> Raw:
    if not spec.strip():
        raise InputError("--data is empty; give 'digits', an existing path or a Hugging Face name")
    try:
        path = Path(spec).expanduser()
        there = path.exists()
    except (RuntimeError, ValueError, OSError):  # nobody's home folder, a null byte, a name that is too long
        path, there = Path(spec), False
    if not there and (path.suffix == ".parquet" or not _HUB_NAME.fullmatch(spec)):
        raise InputError(f"there is no file or folder {spec!r}; give 'digits', an existing path or a Hugging Face name")
    if not there:
        return read_hub(spec, label_column)
    if path.is_file() and path.suffix.lower() != ".parquet":
        raise InputError(f"{path} is not a parquet file; give a .parquet file, or a folder of parquet files or images")
    if path.is_file():
        return read_parquet(path, label_column)
    if (path / "dataset_dict.json").is_file() or (path / "dataset_info.json").is_file():
        return read_hub(str(path), label_column)
    return read_parquet(path, label_column) if parquet_files(path) else read_folder(path)


def _labelled(raw: Raw, known: Sequence[str] | None, spec: str) -> dict[str, RawSplit]:
    """The splits that have rows and labels, which are checked."""
    splits = {key: s for key, s in raw.splits.items() if len(s.rows) and int(s.labels.max()) != HIDDEN}
    if not splits:
        raise InputError(f"data set {spec!r} has no labelled images; give one with images and labels")
    rows = sum(len(s.rows) for s in splits.values())
    for s in splits.values():
        check_labels(s.labels, known, s.names, repr(spec), rows)
    return splits


def _decoded(raw: Raw, image_size: int | None, pixel_range: Range | None, cache_dir: str | Path | None) -> Decoded:
    folder = cache.cache_folder(cache_dir)
    key = cache.fingerprint(raw, image_size, pixel_range)
    stored = cache.read(folder, key)
    if stored is not None:
        return stored
    start = time.perf_counter()
    decoded = decode(raw.splits, image_size, pixel_range)
    if time.perf_counter() - start > _WORTH_CACHING_S:
        cache.write(folder, key, decoded)
    return decoded


@functools.cache
def _read_digits() -> Raw:
    """The 8x8 digits, parsed once a process from scikit-learn's text file."""
    from sklearn.datasets import load_digits

    found = load_digits()
    pixels = np.rint(found.images * (255.0 / 16.0)).astype(np.uint8)  # 17 grey levels
    names = [f"digit {i}" for i in range(len(pixels))]
    return Raw({"all": RawSplit(list(pixels), found.target.astype(np.int64), names)}, tuple(str(i) for i in range(10)))
