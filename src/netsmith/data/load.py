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

from netsmith.data import cache, recorded
from netsmith.data.classes import DECLARED, NUMBERED, SORTED, names_alike, plural, read_classes
from netsmith.data.decode import Decoded, Range, check_range, decode, range_from_metadata
from netsmith.data.folders import read_folder
from netsmith.data.labels import HIDDEN, check_labels
from netsmith.data.loaders import Report
from netsmith.data.memory import Found, read_memory
from netsmith.data.naming import describe
from netsmith.data.normalise import AS_GIVEN, Normalisation, statistics
from netsmith.data.sources import Raw, RawSplit, parquet_files, read_hub, read_parquet
from netsmith.data.splits import balanced, divide, rare_classes
from netsmith.data.types import GIVEN, OF_DATA, Data, Split
from netsmith.errors import InputError, shown
from netsmith.schema import is_text

_WORTH_CACHING_S = 1.0
_LARGEST_SIDE = 16384  #: of images; larger ones would not fit into memory
_LONGEST_NAME = 200  #: of a data set
_HUB_NAME = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?(:.+)?")


def load_data(
    spec: Any,
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
    report: Report | None = None,
    record: Path | None = None,
) -> Data:
    """Load an image classification data set into memory.

    Args:
        spec: ``digits``, a parquet file, a folder of parquet files or of images in class subfolders (either may have
            train, validation and test parts), or a Hugging Face name, ``name`` or ``name:config``; or data in memory:
            a DataLoader, a Dataset of torch or of Hugging Face, ``(inputs, targets)``, a list of pairs, a dict of these
            by part, a function that returns one. Inputs that are floats are taken as given.
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
        report: told ``(done, total, text)`` while data in memory is read.
        record: file that data in memory is kept in, and taken from if it is there, unless reading it once more would
            give the same rows in the same order: a loader that shuffles would give others to a job that is resumed.

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
    name, in_memory = describe(spec), not isinstance(spec, (str, Path))
    if in_memory and record is not None and record.exists():
        data = recorded.read(record)
    else:
        found = read_memory(spec, label_column, report) if in_memory else Found(_read(name, label_column), True)
        known = found.raw.classes if found.raw.classes is not None else names
        raw = dataclasses.replace(found.raw, splits=_labelled(found.raw, known, name))
        if _is_given(raw):
            _check_given(raw, name, mean=mean, std=std, image_size=image_size, pixel_range=given)
            decoded = Decoded({key: torch.as_tensor(s.rows) for key, s in raw.splits.items()}, None, ())
        else:
            scale = given or range_from_metadata(metadata)
            decoded = _decoded(raw, image_size, scale, cache_dir, cached=not in_memory or _is_encoded(raw))
        data = _divided(raw, decoded, name, search_size, train_limit, np.random.default_rng(seed))
        data = _normalised(data, mean, std)
        if record is not None and not found.repeatable:
            recorded.write(record, data)
    data = data.for_weights(metadata, classes)
    for name_of_class in data.classes:
        if not is_text(name_of_class):
            raise InputError(f"the class {shown(name_of_class)} has a name that is not in UTF-8; rename it")
    if len(data.classes) < 2:
        raise InputError(f"data set {name!r} has one class, {data.classes[0]!r}; give images of two or more classes")
    return data


def _divided(
    raw: Raw, decoded: Decoded, name: str, search_size: int | None, train_limit: int | None, rng: np.random.Generator
) -> Data:
    """The three splits, not normalised yet."""
    splits = {key: Split(decoded.images[key], torch.from_numpy(s.labels)) for key, s in raw.splits.items()}
    train, search, test, note = divide(splits, name, search_size, rng)
    found = raw.classes or tuple(str(i) for i in range(max(int(s.labels.max()) for s in splits.values()) + 1))
    seen = {int(label) for s in splits.values() for label in s.labels.unique()}
    rare = rare_classes(train, found) if train is not None else []
    if train is None and len(seen) < len(found):
        rare = [f"of the {plural(len(found), 'class')}, {len(seen)} occur in the data"]
    if train is not None and train_limit is not None and train_limit < len(train):
        train = train.take(np.sort(balanced(train.labels.numpy(), train_limit, rng)))
    channels, height, width = search.images.shape[1:]
    return Data(
        name=name,
        train=train,
        search=search,
        test=test,
        classes=found,
        input_shape=(channels, height, width),
        normalisation=AS_GIVEN,
        note=note,
        classes_named=raw.classes is not None,
        class_order=NUMBERED if raw.classes is None else DECLARED if raw.declared else SORTED,
        pixel_range=decoded.pixel_range,
        notes=(*raw.notes, *decoded.notes, *names_alike(found), *rare),
    )


def _normalised(data: Data, mean: Sequence[float] | None, std: Sequence[float] | None) -> Data:
    """With the normalisation that is given, else that of its own images, else none where the inputs are floats."""
    images = (data.train or data.search).images
    if images.is_floating_point():
        low, high = (float(v) for v in images.aminmax())
        source = f"floats from {low:.4g} to {high:.4g}"
        if low >= 0 and 2 < high <= 255:
            source += " (pixels of 0 to 255 are normalised if they are given as uint8)"
        return dataclasses.replace(data, normalised_by=source)
    if mean is not None and std is not None:
        normalisation, source = Normalisation(tuple(map(float, mean)), tuple(map(float, std))), GIVEN
    else:
        normalisation, source = statistics(images), OF_DATA
    return dataclasses.replace(data, normalisation=normalisation.check(data.input_shape[0]), normalised_by=source)


def _is_given(raw: Raw) -> bool:
    """Whether its rows are floats, which a network takes as they are."""
    return any(isinstance(s.rows, torch.Tensor) for s in raw.splits.values())


def _is_encoded(raw: Raw) -> bool:
    """Whether its rows are files, which take long to decode."""
    return all(isinstance(row, (bytes, Path)) for s in raw.splits.values() for row in s.rows)


def _check_given(raw: Raw, name: str, **options: object) -> None:
    """Refuse inputs that are all the same, as of images, and options that are for images."""
    inputs = [torch.as_tensor(s.rows) for s in raw.splits.values()]
    count = sum(len(rows) for rows in inputs)
    if count > 1 and all(bool((rows == inputs[0][:1]).all()) for rows in inputs):
        raise InputError(f"all {count} inputs of {name!r} are the same, so nothing can be learnt from them")
    for option, value in options.items():
        if value is not None:
            raise InputError(
                f"--{option.replace('_', '-')} is for pixels; these inputs are floats, which are taken as given: "
                "drop it, or give uint8 images"
            )


def _check_numbers(values: Sequence[float] | None, option: str) -> None:
    """Before anything is read: numbers that normalise, one a channel; more is checked once the images are known."""
    try:
        good = all(math.isfinite(float(v)) for v in (values if values is not None else ()))
    except (TypeError, ValueError):
        good = False
    if not good:
        raise InputError(f"{option} is {values!r}; give finite numbers, one a channel, on the scale of x/255")


def data_for(data: Any, metadata: Mapping[str, str], **options: Any) -> Data:
    """What ``data`` is or names, loaded for weights with such a header; loaded data gets its classes in their order.

    Args:
        options: of :func:`load_data`.

    Raises:
        InputError: see there.
    """
    if isinstance(data, Data):
        return data.for_weights(metadata, options.get("classes"))
    return load_data(data, metadata=metadata, **options)


def _read(spec: str, label_column: str | None) -> Raw:
    if spec == "digits":
        return _read_digits()
    if not spec.strip():
        raise InputError("--data is empty; give 'digits', an existing path or a Hugging Face name")
    try:
        path = Path(spec).expanduser()
        there = path.exists()
    except (RuntimeError, ValueError, OSError):  # nobody's home folder, a null byte, a name that is too long
        path, there = Path(spec), False
    known = len(spec) <= _LONGEST_NAME and _HUB_NAME.fullmatch(spec) and path.suffix != ".parquet"
    if not there and not known:
        raise InputError(f"there is no file or folder {spec!r}; give 'digits', an existing path or a Hugging Face name")
    if not there:
        return read_hub(spec, label_column)
    if not path.is_file() and not path.is_dir():
        raise InputError(f"{path} is neither a file nor a folder; give a .parquet file or a folder")
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


def _decoded(
    raw: Raw, image_size: int | None, pixel_range: Range | None, cache_dir: str | Path | None, *, cached: bool
) -> Decoded:
    if not cached:
        return decode(raw.splits, image_size, pixel_range)
    folder = cache.cache_folder(cache_dir)
    key = cache.fingerprint(raw, image_size, pixel_range)
    stored = cache.read(folder, key, {split: len(part.rows) for split, part in raw.splits.items()})
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
