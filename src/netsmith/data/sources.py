"""Where images come from: scikit-learn's digits, parquet files, image folders, the Hugging Face hub."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netsmith.errors import InputError

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".ppm", ".pgm", ".tif", ".tiff"}
_SPLIT_WORDS = {
    "train": "train", "training": "train", "test": "test", "testing": "test", "val": "validation",
    "valid": "validation", "validation": "validation", "dev": "validation",
}  # fmt: skip
_IMAGE_NAMES = ("image", "img", "images", "picture", "jpg", "png")
_LABEL_NAMES = ("label", "labels", "fine_label", "target", "class", "cls", "y")


@dataclass(frozen=True)
class RawSplit:
    """Encoded images: file contents or paths, with integer labels ``(N,)`` and where each row came from."""

    rows: Sequence[bytes | Path]
    labels: NDArray[np.int64]
    names: Sequence[str]


@dataclass(frozen=True)
class Raw:
    """Splits by their usual name (train, validation, test), and class names where the source has them."""

    splits: dict[str, RawSplit]
    classes: tuple[str, ...] | None


def split_of(path: Path) -> str | None:
    """The split that a relative path names: ``train-00000.parquet``, ``data/val/x.parquet``; None if it names none."""
    for part in reversed(path.with_suffix("").parts):
        for word in re.split(r"[^a-z]+", part.lower()):
            if word in _SPLIT_WORDS:
                return _SPLIT_WORDS[word]
    return None


def parquet_files(path: Path) -> list[Path]:
    """The parquet files at a file or below a folder, sorted."""
    return [path] if path.is_file() else sorted(p for p in path.rglob("*.parquet") if p.is_file())


def read_parquet(path: Path, label_column: str | None) -> Raw:
    """Read parquet files with an image column (bytes, or a struct of bytes and path) and a label column."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    tables: dict[str, list[Any]] = {}
    sources: dict[str, list[str]] = {}
    classes: tuple[str, ...] | None = None
    strings = False
    for file in parquet_files(path):
        try:
            schema = pq.read_schema(file)
            image, label, names = choose_columns(schema, str(file), label_column)
            table = pq.read_table(file, columns=[image, label]).rename_columns(["image", "label"])
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"{file} cannot be read as parquet ({_line(error)}); check that it is complete") from error
        classes = classes or names
        strings = strings or pa.types.is_string(table.schema.field("label").type)
        split = (split_of(file.relative_to(path)) if path.is_dir() else split_of(Path(file.name))) or "all"
        tables.setdefault(split, []).append(table)
        sources.setdefault(split, []).extend(f"row {i} of {file.name}" for i in range(table.num_rows))
    if strings:
        found = {str(v) for parts in tables.values() for t in parts for v in t["label"].unique().to_pylist()}
        classes = tuple(sorted(found))
    splits = {}
    for split, parts in tables.items():
        labels = [v for t in parts for v in t["label"].to_pylist()]
        rows = [_content(v, path if path.is_dir() else path.parent) for t in parts for v in _cells(t["image"])]
        splits[split] = RawSplit(rows, to_labels(labels, classes if strings else None, str(path)), sources[split])
    return Raw(splits, classes)


def _cells(column: Any) -> list[Any]:
    """Cells of an image column; structs are read field by field, which is many times faster than ``to_pylist``."""
    import pyarrow as pa

    if not pa.types.is_struct(column.type):
        return list(column.to_pylist())
    names = {column.type.field(i).name for i in range(column.type.num_fields)}
    fields: dict[str, list[Any]] = {}
    for name in names & {"bytes", "path"}:
        fields[name] = [v for chunk in column.chunks for v in chunk.field(name).to_pylist()]
    blank: list[Any] = [None] * len(column)
    pairs = zip(fields.get("bytes", blank), fields.get("path", blank), strict=True)
    return [content if content is not None else path for content, path in pairs]


def _content(value: Any, root: Path) -> bytes | Path:
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return root / value
    return b""  # decoding names the row


def choose_columns(schema: Any, where: str, label_column: str | None) -> tuple[str, str, tuple[str, ...] | None]:
    """Find the image and the label column of an Arrow schema, and the class names in its metadata."""
    import pyarrow as pa

    names = list(schema.names)
    features: dict[str, Any] = {}
    if b"huggingface" in (schema.metadata or {}):
        features = json.loads(schema.metadata[b"huggingface"]).get("info", {}).get("features", {})

    def is_image(name: str) -> bool:
        kind = schema.field(name).type
        return bool(
            (pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0)
            or pa.types.is_binary(kind)
            or pa.types.is_large_binary(kind)
        )

    images = [n for n in names if is_image(n)]
    images.sort(key=lambda n: _IMAGE_NAMES.index(n) if n in _IMAGE_NAMES else len(_IMAGE_NAMES))
    if not images:
        raise InputError(f"{where} has no image column (columns: {', '.join(names)}); images must be encoded bytes")
    if label_column is not None and label_column not in names:
        raise InputError(
            f"{where} has no column {label_column!r} (columns: {', '.join(names)}); correct --label-column"
        )
    declared = [n for n in names if isinstance(features.get(n), dict) and features[n].get("_type") == "ClassLabel"]
    known = [n for n in _LABEL_NAMES if n in names and n not in images]
    label = label_column or next(iter(declared + known), None)
    if label is None:
        raise InputError(
            f"{where} has no label column (columns: {', '.join(names)}); name the one to use with --label-column"
        )
    feature = features.get(label)
    given = feature.get("names") if isinstance(feature, dict) else None
    return images[0], label, tuple(str(v) for v in given) if given else None


def to_labels(values: list[Any], classes: tuple[str, ...] | None, where: str) -> NDArray[np.int64]:
    """Labels as integers ``(N,)``; strings become positions in ``classes``."""
    try:
        if classes is not None:
            position = {name: i for i, name in enumerate(classes)}
            return np.array([position[str(v)] for v in values], dtype=np.int64)
        labels = np.array(values)
        if labels.dtype.kind not in "iub":
            raise ValueError(f"found {labels.dtype}")
        return labels.astype(np.int64).reshape(len(values))
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(
            f"the labels of {where} are not one class per image ({_line(error)}); choose another with --label-column"
        ) from error


def read_folder(path: Path) -> Raw:
    """Read an image folder: one subfolder a class, possibly below split folders."""
    subfolders = sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))
    named = {_SPLIT_WORDS[p.name.lower()]: p for p in subfolders if p.name.lower() in _SPLIT_WORDS}
    roots = named or {"all": path}
    files = {split: _class_files(root) for split, root in roots.items()}
    classes = tuple(sorted({c for found in files.values() for c, _ in found}))
    if not classes:
        raise InputError(
            f"folder {path} holds neither parquet files nor images in class subfolders; "
            "arrange it as FOLDER/CLASS/image.jpg or FOLDER/train/CLASS/image.jpg"
        )
    position = {name: i for i, name in enumerate(classes)}
    splits = {}
    for split, found in files.items():
        labels = np.array([position[c] for c, _ in found], dtype=np.int64)
        splits[split] = RawSplit([p for _, p in found], labels, [str(p) for _, p in found])
    return Raw({k: v for k, v in splits.items() if len(v.rows)}, classes)


def _class_files(root: Path) -> list[tuple[str, Path]]:
    classes = sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    return [(c.name, f) for c in classes for f in sorted(c.rglob("*")) if f.suffix.lower() in IMAGE_SUFFIXES]


def read_hub(spec: str, label_column: str | None) -> Raw:
    """Load a data set by its Hugging Face name (``name`` or ``name:config``), or a folder from ``save_to_disk``."""
    import datasets

    local = Path(spec).is_dir()
    name, _, config = spec.partition(":")
    try:
        loaded = datasets.load_from_disk(spec) if local else datasets.load_dataset(name, config or None)
    except Exception as error:  # the hub raises its own kinds, network errors and many more
        raise InputError(
            f"data set {spec!r} is no local file or folder and could not be loaded from the Hugging Face hub "
            f"({_line(error)}); give 'digits', a folder, or check the name and the connection"
        ) from error
    parts = dict(loaded) if isinstance(loaded, dict) else {"all": loaded}
    splits, classes = {}, None
    for key, part in parts.items():
        image, label, names = choose_columns(part.features.arrow_schema, f"data set {spec!r}", label_column)
        classes = classes or names
        raw = part.select_columns([image, label]).cast_column(image, datasets.Image(decode=False))
        table = raw.flatten_indices().data.table
        values = table[label].to_pylist()
        if values and isinstance(values[0], str):
            classes = tuple(sorted(set(values) | set(classes or ())))
        labels = to_labels(values, classes if values and isinstance(values[0], str) else None, f"data set {spec!r}")
        rows = [_content(v, Path(spec) if local else Path()) for v in _cells(table[image])]
        splits[split_of(Path(str(key))) or str(key)] = RawSplit(
            rows, labels, [f"{key} row {i}" for i in range(len(rows))]
        )
    return Raw(splits, classes)


def _line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:160]
