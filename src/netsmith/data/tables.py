"""Tables of any columns: parquet, CSV and JSON lines, what ``datasets`` saves or holds, and names of its hub."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netsmith.data.forms import of_hugging_face
from netsmith.data.sources import split_of
from netsmith.errors import InputError
from netsmith.usercode import words_of

_READ = (".parquet", ".csv", ".tsv", ".jsonl")


@dataclass(frozen=True)
class Table:
    """The rows of one part.

    Attributes:
        rows: an Arrow table.
        names: where each row came from, for messages.
        roots: folders that files named by cells may lie in.
    """

    rows: Any
    names: Sequence[str]
    roots: tuple[Path, ...]

    def column(self, wanted: str | None, usual: Sequence[str], what: str, option: str) -> str:
        """The name of the column that has something.

        Args:
            wanted: what the user says.
            usual: names that it usually has.
            what: what it has, for messages.
            option: by which it is named.

        Raises:
            InputError: there is none; names those that there are.
        """
        known = list(self.rows.column_names)
        if wanted is not None and wanted not in known:
            raise InputError(f"there is no column {wanted!r} (columns: {', '.join(known)}); correct {option}")
        found = wanted if wanted is not None else next((name for name in usual if name in known), None)
        if found is None:
            raise InputError(
                f"no column has {what} by its name (columns: {', '.join(known)}; usual: {', '.join(usual)}); "
                f"name it with {option}"
            )
        return found


def is_tables(data: Any) -> bool:
    """Whether data is, or names, tables that can be read."""
    if isinstance(data, Mapping):
        return bool(data) and all(of_hugging_face(part) for part in data.values())
    if of_hugging_face(data):
        return hasattr(data, "column_names")
    if not isinstance(data, (str, Path)):
        return False
    path = Path(data).expanduser()
    return not path.exists() or bool(_files(path)) or _is_saved(path)


def read_parts(spec: Any) -> dict[str, Table]:
    """The parts of a data set by their usual names; ``all`` where it has no parts.

    Raises:
        InputError: there is no such data, or it cannot be read.
    """
    if not isinstance(spec, (str, Path)):
        return _of_datasets(dict(spec) if isinstance(spec, Mapping) else {"all": spec}, [Path.cwd(), Path("/")])
    path = Path(spec).expanduser()
    if not path.exists() or _is_saved(path):
        return _of_hub(str(spec), local=path.exists())
    files = _files(path)
    if not files:
        raise InputError(f"{path} has no table; give files of {', '.join(_READ)}, or a folder with such files")
    import pyarrow as pa

    parts: dict[str, list[Any]] = {}
    names: dict[str, list[str]] = {}
    for file in files:
        rows = _read(file)
        key = (split_of(file.relative_to(path)) if path.is_dir() else split_of(Path(file.name))) or "all"
        parts.setdefault(key, []).append(rows)
        names.setdefault(key, []).extend(f"row {i} of {file.name}" for i in range(rows.num_rows))
    root = path if path.is_dir() else path.parent
    try:
        return {
            key: Table(pa.concat_tables(tables, promote_options="permissive"), names[key], (root,))
            for key, tables in parts.items()
        }
    except pa.ArrowException as error:
        raise InputError(
            f"the tables of {path} have columns of one name and several types ({words_of(error)}); write them alike"
        ) from error


def _is_saved(path: Path) -> bool:
    return (path / "dataset_dict.json").is_file() or (path / "dataset_info.json").is_file()


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path] if path.suffix.lower() in _READ else []
    found = sorted(p for p in path.rglob("*") if p.suffix.lower() in _READ and p.is_file())
    return [p for p in found if not any(part.startswith((".", "__")) for part in p.relative_to(path).parts)]


def _read(file: Path) -> Any:
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.json
    import pyarrow.parquet

    kind = file.suffix.lower()
    try:
        if kind == ".parquet":
            return pa.parquet.read_table(file)
        if kind == ".jsonl":
            return pa.json.read_json(file)
        split = pa.csv.ParseOptions(delimiter="\t" if kind == ".tsv" else ",", newlines_in_values=True)
        return pa.csv.read_csv(file, parse_options=split)
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            f"{file} cannot be read as {kind[1:]} ({words_of(error)}); check that it is complete"
        ) from error


def _of_hub(spec: str, *, local: bool) -> dict[str, Table]:
    import datasets

    name, _, config = spec.partition(":")
    try:
        loaded = datasets.load_from_disk(spec) if local else datasets.load_dataset(name, config or None)
    except Exception as error:  # the hub raises its own kinds, network errors and many more
        what = "cannot be read as what datasets saves" if local else "is no file, no folder and no name of the hub"
        raise InputError(f"data {spec!r} {what} ({words_of(error)}); check the name") from error
    roots = [Path(spec)] if local else [Path(datasets.config.HF_CACHE_HOME), Path(datasets.config.HF_DATASETS_CACHE)]
    return _of_datasets(dict(loaded) if isinstance(loaded, dict) else {"all": loaded}, roots)


def _of_datasets(parts: Mapping[Any, Any], roots: Sequence[Path]) -> dict[str, Table]:
    """Parts that are ``datasets.Dataset``; images stay encoded."""
    import datasets

    found = {}
    for key, part in parts.items():
        for column, feature in part.features.items():
            if isinstance(feature, datasets.Image):
                part = part.cast_column(column, datasets.Image(decode=False))
        name = "search" if str(key).lower() == "search" else split_of(Path(str(key))) or str(key)
        rows = part.with_format("arrow")[:].replace_schema_metadata(part.features.arrow_schema.metadata)
        found[name] = Table(rows, [f"{key} row {i}" for i in range(len(part))], tuple(roots))
    return found
