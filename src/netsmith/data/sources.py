"""Where tables of images come from: parquet files, the Hugging Face hub, and what its library saves."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from netsmith.data.cells import contents, is_array
from netsmith.data.classes import check_names
from netsmith.data.labels import to_labels
from netsmith.errors import InputError

if TYPE_CHECKING:
    import torch

    from netsmith.data.pixels import Picture

IMAGE_SUFFIXES = {
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".webp", ".gif", ".ppm", ".pgm", ".pbm", ".pnm", ".tif", ".tiff",
    ".jp2", ".avif", ".npy",
}  # fmt: skip
SPLIT_WORDS = {
    "train": "train", "training": "train", "test": "test", "testing": "test", "val": "validation",
    "valid": "validation", "validation": "validation", "dev": "validation",
}  # fmt: skip
IMAGE_NAMES = ("image", "img", "images", "picture", "jpg", "png")
LABEL_NAMES = ("label", "labels", "fine_label", "target", "class", "cls", "y")


@dataclass(frozen=True)
class RawSplit:
    """Images as file contents, paths, arrays or read ones, with integer labels ``(N,)`` and where each row came from.

    A tensor ``(N, C, H, W)`` of floats holds inputs as the network takes them.
    """

    rows: Sequence[bytes | Path | np.ndarray | Picture] | torch.Tensor
    labels: NDArray[np.int64]
    names: Sequence[str]


@dataclass(frozen=True)
class Raw:
    """Splits by their usual name (train, validation, test), and class names where the source has them.

    Attributes:
        declared: whether the source gives the classes an order; otherwise names are sorted.
        notes: sentences on what was left out, for the user.
    """

    splits: dict[str, RawSplit]
    classes: tuple[str, ...] | None
    declared: bool = True
    notes: tuple[str, ...] = ()


def split_of(path: Path) -> str | None:
    """The split that a relative path names: ``train-00000.parquet``, ``data/val/x.parquet``; None if it names none."""
    for part in reversed(path.with_suffix("").parts):
        for word in re.split(r"[^a-z]+", part.lower()):
            if word in SPLIT_WORDS:
                return SPLIT_WORDS[word]
    return None


def parquet_files(path: Path) -> list[Path]:
    """The parquet files at a file or below a folder, sorted; hidden ones are left out."""
    if path.is_file():
        return [path]
    try:
        found = sorted(p for p in path.rglob("*") if p.suffix.lower() == ".parquet" and p.is_file())
    except RecursionError as error:
        raise InputError(f"folder {path} has folders within folders too deeply; move the data up") from error
    return [p for p in found if not any(part.startswith((".", "__")) for part in p.relative_to(path).parts)]


@dataclass(frozen=True)
class Column:
    """A split's rows as they are gathered from one file after another; a tensor where a user gave one."""

    rows: Any = field(default_factory=list)
    labels: list[Any] = field(default_factory=list)
    names: list[str] = field(default_factory=list)

    def add(self, images: Any, labels: Any, names: Sequence[str], where: str, roots: Sequence[Path]) -> None:
        """Take the rows of an image and a label column of Arrow."""
        try:
            self.labels.extend(labels.to_pylist())
            self.rows.extend(contents(images, names, roots))
        except UnicodeDecodeError as error:
            raise InputError(f"{where} has text that is not UTF-8; write its labels and paths in UTF-8") from error
        self.names.extend(names)


def read_parquet(path: Path, label_column: str | None) -> Raw:
    """Read parquet files with an image column (bytes, a struct of bytes and path, or numbers) and a label column."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns: dict[str, Column] = {}
    declared: tuple[str, ...] | None = None
    root = path if path.is_dir() else path.parent
    for file in parquet_files(path):
        try:
            image, label, names = choose_columns(pq.read_schema(file), str(file), label_column)
            table = pq.read_table(file, columns=[image, label])
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"{file} cannot be read as parquet ({_line(error)}); check that it is complete") from error
        declared = same_names(declared, names, str(file))
        split = (split_of(file.relative_to(path)) if path.is_dir() else split_of(Path(file.name))) or "all"
        rows = [f"row {i} of {file.name}" for i in range(table.num_rows)]
        columns.setdefault(split, Column()).add(table[image], table[label], rows, str(file), (root,))
    return to_raw(columns, declared, str(path))


def same_names(known: tuple[str, ...] | None, names: tuple[str, ...] | None, where: str) -> tuple[str, ...] | None:
    """The class names that all files declare: equal numbers must mean equal classes."""
    if known is not None and names is not None and known != names:
        at = next((i for i, (a, b) in enumerate(zip(known, names)) if a != b), min(len(known), len(names)))
        ours, theirs = (repr(n[at]) if at < len(n) else "none" for n in (names, known))
        raise InputError(f"{where} has {ours} as class {at}, a file before it {theirs}; number the classes alike")
    return known or names


def to_raw(columns: Mapping[str, Column], declared: tuple[str, ...] | None, where: str) -> Raw:
    """Labels to indices: names by their declared place, else by their place among all that occur, sorted."""
    strings = {v for c in columns.values() for v in c.labels if isinstance(v, str)}
    classes = declared if declared and strings <= set(declared) else tuple(sorted(strings)) or declared
    splits = {
        key: RawSplit(c.rows, to_labels(c.labels, classes if strings else None, c.names, where), c.names)
        for key, c in columns.items()
    }
    return Raw(splits, classes, declared=classes is declared)


def choose_columns(schema: Any, where: str, label_column: str | None) -> tuple[str, str, tuple[str, ...] | None]:
    """Find the image and the label column of an Arrow schema, and the class names in its metadata."""
    import pyarrow as pa

    names = list(schema.names)
    features = _features(schema)
    twice = next((n for n in names if names.count(n) > 1), None)
    if twice is not None:
        raise InputError(f"{where} has two columns named {twice!r}; rename one")

    def is_bytes(kind: Any) -> bool:
        return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))

    def is_image(name: str) -> bool:
        kind = schema.field(name).type
        if not pa.types.is_struct(kind) or kind.get_field_index("bytes") < 0:
            return is_bytes(kind)
        inner = kind.field("bytes").type
        return is_bytes(inner) or bool(pa.types.is_null(inner))  # no bytes, but perhaps paths

    images = [n for n in names if is_image(n)] or [n for n in names if is_array(schema.field(n).type)]
    images.sort(key=lambda n: IMAGE_NAMES.index(n) if n in IMAGE_NAMES else len(IMAGE_NAMES))
    if not images:
        raise InputError(
            f"{where} has no image column (columns: {', '.join(names)}); images must be encoded bytes or lists of rows"
        )
    if label_column is not None and label_column not in names:
        raise InputError(
            f"{where} has no column {label_column!r} (columns: {', '.join(names)}); correct --label-column"
        )
    declared = [n for n in names if isinstance(features.get(n), dict) and features[n].get("_type") == "ClassLabel"]
    known = [n for n in LABEL_NAMES if n in names and n not in images]
    label = label_column or next(iter(declared + known), None)
    if label is None:
        raise InputError(
            f"{where} has no label column (columns: {', '.join(names)}); name the one to use with --label-column"
        )
    if label == images[0]:
        raise InputError(f"the column {label!r} of {where} has images, no labels; choose another with --label-column")
    return images[0], label, declared_classes(schema, label, where)


def declared_classes(schema: Any, label: str, where: str) -> tuple[str, ...] | None:
    """The class names that ``datasets`` wrote about a label column of an Arrow schema."""
    feature = _features(schema).get(label)
    given = feature.get("names") if isinstance(feature, dict) else None
    if not isinstance(given, list) or not given:
        return None
    return check_names([str(v) for v in given], f"the metadata of {where}")


def _features(schema: Any) -> dict[str, Any]:
    """What ``datasets`` wrote about the columns; nothing where it cannot be read."""
    found: Any = None
    with contextlib.suppress(ValueError, RecursionError):
        found = json.loads((schema.metadata or {}).get(b"huggingface", b"null"))
    for key in ("info", "features"):
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}


def read_hub(spec: str, label_column: str | None) -> Raw:
    """Load a data set by its Hugging Face name (``name`` or ``name:config``), or a folder from ``save_to_disk``."""
    import datasets

    local = Path(spec).is_dir()
    name, _, config = spec.partition(":")
    try:
        loaded = datasets.load_from_disk(spec) if local else datasets.load_dataset(name, config or None)
    except Exception as error:  # the hub raises its own kinds, network errors and many more
        if local:
            raise InputError(
                f"the data set in {spec}, as datasets saves one, is damaged or lacks files; save it again"
            ) from error
        raise InputError(
            f"data set {spec!r} is no local file or folder and could not be loaded from the Hugging Face hub "
            f"({_line(error)}); give 'digits', a folder, or check the name and the connection"
        ) from error
    parts = dict(loaded) if isinstance(loaded, dict) else {"all": loaded}
    # what is named by a path was fetched or embedded by the library; anything else is not the data's
    roots = [Path(spec)] if local else [Path(datasets.config.HF_CACHE_HOME), Path(datasets.config.HF_DATASETS_CACHE)]
    columns, declared = read_tables(parts, spec, label_column, roots)
    return to_raw(columns, declared, repr(spec))


def read_tables(
    parts: Mapping[str, Any], spec: str, label_column: str | None, roots: Sequence[Path]
) -> tuple[dict[str, Column], tuple[str, ...] | None]:
    """Columns of images and labels of parts that are ``datasets.Dataset``, and the names of the classes.

    Args:
        spec: the data set, for messages.
        roots: folders that files named by cells may lie in.
    """
    import datasets

    columns: dict[str, Column] = {}
    declared: tuple[str, ...] | None = None
    for key, part in parts.items():
        image, label, names = choose_columns(part.features.arrow_schema, f"data set {spec!r}", label_column)
        declared = same_names(declared, names, f"the {key} part of {spec!r}")
        raw = part.select_columns([image, label])
        if isinstance(part.features[image], datasets.Image):
            raw = raw.cast_column(image, datasets.Image(decode=False))
        table = raw.with_format("arrow")[:]  # the rows of a selection in its order, nothing written to disk
        column = columns.setdefault(split_of(Path(str(key))) or str(key), Column())
        rows = [f"{key} row {i}" for i in range(len(part))]
        column.add(table[image], table[label], rows, f"data set {spec!r}", roots)
    return columns, declared


def _line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:160]
