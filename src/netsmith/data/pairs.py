"""Images with an image that is wanted of each: masks, cleaner or larger ones; from tables or from folders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from netsmith.data.cells import contents
from netsmith.data.sources import IMAGE_NAMES, IMAGE_SUFFIXES, RawSplit, split_of
from netsmith.data.tables import is_tables, read_parts
from netsmith.errors import InputError

_IMAGE_FOLDERS = ("images", "image", "input", "inputs", "img")


@dataclass
class Pairs:
    """Encoded images of one part, and of each the one that is wanted.

    Attributes:
        images: file contents, paths or arrays.
        targets: likewise, as many; none where a source has images alone.
        names: where each came from, for messages.
    """

    images: list[Any] = field(default_factory=list)
    targets: list[Any] = field(default_factory=list)
    names: list[str] = field(default_factory=list)

    def raw(self, *, targets: bool = False) -> RawSplit:
        """One side, as decoding takes it."""
        import numpy as np

        return RawSplit(self.targets if targets else self.images, np.zeros(len(self.names), np.int64), self.names)


def read_pairs(
    spec: Any, wanted: str | None, usual: Sequence[str], what: str, *, alone: bool = False
) -> dict[str, Pairs]:
    """The parts of a data set of pairs, by their usual names.

    Args:
        spec: tables with two columns of images, or a folder with two folders of images of the same names.
        wanted: the column or folder of the targets, if it is not among the usual ones.
        usual: names of it.
        what: the targets, for messages.
        alone: images without targets are data as well.

    Raises:
        InputError: there are no pairs; says where they are looked for.
    """
    found = _of_tables(spec, wanted, usual, what, alone) if is_tables(spec) else _of_folders(
        Path(spec).expanduser(), wanted, usual, what, alone
    )  # fmt: skip
    if not any(part.names for part in found.values()):
        raise InputError(f"{spec} has no images; give tables with image columns or folders of images")
    return found


def _of_tables(spec: Any, wanted: str | None, usual: Sequence[str], what: str, alone: bool) -> dict[str, Pairs]:
    found = {}
    for key, table in read_parts(spec).items():
        image = table.column(None, [n for n in IMAGE_NAMES if n != wanted], "images", "a column `image`")
        cells = contents(table.rows[image], table.names, table.roots)
        if alone and wanted is None and not set(usual) & set(table.rows.column_names):
            found[key] = Pairs(cells, [], list(table.names))
            continue
        target = table.column(wanted, usual, what, "--label-column")
        found[key] = Pairs(cells, contents(table.rows[target], table.names, table.roots), list(table.names))
    return found


def _of_folders(path: Path, wanted: str | None, usual: Sequence[str], what: str, alone: bool) -> dict[str, Pairs]:
    words = (wanted.lower(),) if wanted is not None else tuple(usual)
    sides: dict[bool, dict[tuple[str, str], Path]] = {True: {}, False: {}}
    for file in sorted(p for p in path.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file()):
        parts = file.relative_to(path).parts[:-1]
        is_target = any(part.lower() in words for part in parts)
        rest = [p for p in parts if p.lower() not in words and p.lower() not in _IMAGE_FOLDERS]
        split = split_of(Path(*rest)) if rest else None
        below = [p for p in rest if split_of(Path(p)) is None]
        sides[is_target][split or "all", "/".join([*below, file.stem])] = file
    images, targets = sides[False], sides[True]
    if not targets and not alone:
        raise InputError(
            f"{path} has no folder {' or '.join(words)} with {what}; arrange it as FOLDER/images/NAME.png and "
            f"FOLDER/{words[0]}/NAME.png, or name the folder with --label-column"
        )
    found: dict[str, Pairs] = {}
    for (split, name), file in images.items():
        part = found.setdefault(split, Pairs())
        if targets and (split, name) not in targets:
            raise InputError(f"{file} has no counterpart of the name {name} among {what}; add it or remove the image")
        part.images.append(file)
        part.names.append(str(file.relative_to(path)))
        if targets:
            part.targets.append(targets[split, name])
    return found
