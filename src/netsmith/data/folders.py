"""Image folders: which of their subfolders are parts of the data, and which are classes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from netsmith.data.classes import plural, printable
from netsmith.data.sources import IMAGE_SUFFIXES, SPLIT_WORDS, Raw, RawSplit
from netsmith.errors import InputError

_JUNK = {"thumbs.db", "desktop.ini", "__macosx"}  # what file managers leave behind
_DEEPEST = 100  #: folders within folders
_MOST_WAYS = 20  #: that lead to one folder: where folders link to each other, there are more than anybody can walk
_ARRANGE = "arrange it as FOLDER/CLASS/image.jpg or FOLDER/train/CLASS/image.jpg"


@dataclass
class _Folder:
    """A folder with its images, other files and subfolders; hidden ones and what file managers leave are not seen."""

    path: Path
    images: list[Path] = field(default_factory=list)
    others: list[Path] = field(default_factory=list)
    folders: list[_Folder] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def full(self) -> list[_Folder]:
        """Subfolders with images in them or below."""
        return [f for f in self.folders if next(f.below(), None) is not None]

    def below(self) -> Iterator[Path]:
        yield from self.images
        for folder in self.folders:
            yield from folder.below()

    def others_below(self) -> Iterator[Path]:
        yield from self.others
        for folder in self.folders:
            yield from folder.others_below()


Parts = dict[str, list[_Folder]]  #: split -> its class folders


def read_folder(path: Path) -> Raw:
    """Read an image folder: one subfolder a class, possibly below folders of splits, possibly inside a wrapper.

    Raises:
        InputError: there are no classes, or a folder can be read in two ways.
    """
    notes: list[str] = []
    root = _unwrap(_tree(path), notes)
    parts, holders = _parts(root, notes)
    classes = tuple(sorted({c.name for found in parts.values() for c in found}))
    notes += _on_empty(holders, classes) + _on_others(parts)
    if not classes:
        raise InputError(f"folder {path} holds neither parquet files nor images in class subfolders; {_ARRANGE}")
    for name in classes:
        if not name.isascii() and printable(name) != name:
            raise InputError(f"the name of the class folder {printable(name)!r} in {path} is not UTF-8; rename it")
    position = {name: i for i, name in enumerate(classes)}
    splits = {}
    for split, found in parts.items():
        files = [(c.name, f) for c in found for f in c.below()]
        labels = np.array([position[c] for c, _ in files], dtype=np.int64)
        splits[split] = RawSplit([f for _, f in files], labels, [printable(f) for _, f in files])
    return Raw(splits, classes, declared=False, notes=tuple(notes))


def images_below(path: Path) -> list[Path]:
    """All image files in a folder and below, in the order of their names; hidden ones are not seen.

    Raises:
        InputError: a folder cannot be read.
    """
    return list(_tree(path).below())


def _tree(path: Path) -> _Folder:
    """The tree below ``path``; links to folders are followed, but not back to a folder that they lie in."""
    return _walk(path, frozenset((s.st_dev, s.st_ino) for s in (p.stat() for p in path.resolve().parents)), Counter())


def _walk(path: Path, above: frozenset[tuple[int, int]], ways: Counter[tuple[int, int]]) -> _Folder:
    """What :func:`_tree` says.

    Args:
        above: device and number of each folder that ``path`` lies in.
        ways: how often each folder was walked through.
    """
    if len(above) > _DEEPEST:
        raise InputError(f"folder {path} lies too deeply within others; move the images up")
    found = _Folder(path)
    try:
        stat = path.stat()
        entries = sorted(path.iterdir())
    except OSError as error:
        raise InputError(f"folder {path} cannot be read ({error.strerror}); check its permissions") from error
    here = above | {(stat.st_dev, stat.st_ino)}
    ways[stat.st_dev, stat.st_ino] += 1
    if ways[stat.st_dev, stat.st_ino] > _MOST_WAYS:
        raise InputError(f"folder {path} is linked to in more than {_MOST_WAYS} ways; remove links between folders")
    for entry in entries:
        if entry.name.startswith(".") or entry.name.lower() in _JUNK:
            continue
        if entry.is_dir():
            inner = entry.stat()
            if (inner.st_dev, inner.st_ino) not in here:
                found.folders.append(_walk(entry, here, ways))
        elif entry.suffix.lower() in IMAGE_SUFFIXES:
            found.images.append(entry)
        else:
            found.others.append(entry)
    return found


def _unwrap(folder: _Folder, notes: list[str]) -> _Folder:
    """Step into a folder of folders that has none beside it and is no split; what lies beside the result is said."""
    while len(folder.full) == 1:
        inner = folder.full[0]
        again = inner.name == folder.name and not inner.images  # train/train/CLASS, as archives unpack
        if not again and (inner.images or inner.name.lower() in SPLIT_WORDS):
            break
        notes += _on_stray(folder)
        folder = inner
    notes += _on_stray(folder)
    return folder


def _parts(root: _Folder, notes: list[str]) -> tuple[Parts, list[_Folder]]:
    """Class folders by split, and the folders that hold them.

    A folder named like a split is one if it has class folders, and a class if it has images. Longer names that have the
    word of a split in them count only if such folders have classes in common.
    """
    words = {f.path: _split_word(f) for f in root.full}
    if not _share_classes([_unwrap(f, []) for f in root.full if words[f.path] and f.name.lower() not in SPLIT_WORDS]):
        words = {path: word if path.name.lower() in SPLIT_WORDS else "" for path, word in words.items()}
    splits = [f for f in root.full if words[f.path] and not f.images]
    bare = [f for f in root.full if words[f.path] and f.images]
    rest = [f for f in root.full if not words[f.path]]
    if not splits and bare and not rest:
        names = " and ".join(f.name for f in bare)
        raise InputError(f"the images of {names} in {root.path} lie in no class subfolders; {_ARRANGE}")
    if rest and all(not c.images and all(f.name.lower() in SPLIT_WORDS for f in c.full) for c in root.full):
        return _splits_of_classes(root), [root]
    said: list[str] = []
    inner = [_unwrap(f, said) for f in splits]
    if not splits or (rest and all(len(holder.full) < 2 for holder in inner)):  # a part of one class is none
        return {"all": root.full}, [root]
    notes += said
    if rest and not _share_classes(inner):
        raise InputError(
            f"{root.path} has {splits[0].name!r} with subfolders beside {rest[0].name!r}, so it can be a part of the "
            f"data or a class; move {rest[0].name!r} away, or put the images of {splits[0].name!r} directly into it"
        )
    for folder in (*bare, *rest):
        what = "no class subfolders" if folder in bare else "no name of a part (train, val, test)"
        notes.append(f"{printable(folder.path)} has {what} and is left out")
    parts: Parts = {}
    for folder, holder in zip(splits, inner, strict=True):
        parts.setdefault(words[folder.path], []).extend(holder.full)
    return _labelled(parts, notes), inner


def _split_word(folder: _Folder) -> str:
    """The part that a name stands for: ``train``, or ``training_set`` and ``seg_train`` where no images lie in it."""
    name = folder.name.lower()
    if name in SPLIT_WORDS:
        return SPLIT_WORDS[name]
    found = {SPLIT_WORDS[word] for word in re.split(r"[^a-z]+", name) if word in SPLIT_WORDS}
    return found.pop() if len(found) == 1 and not folder.images else ""


def _splits_of_classes(root: _Folder) -> Parts:
    """CLASS/train/image.jpg instead of train/CLASS/image.jpg."""
    parts: Parts = {}
    for c in root.full:
        for inner in c.full:
            part = _Folder(c.path, images=list(inner.below()))
            parts.setdefault(SPLIT_WORDS[inner.name.lower()], []).append(part)
    return parts


def _share_classes(holders: list[_Folder]) -> bool:
    names = [{c.name for c in holder.full} for holder in holders]
    return len(names) > 1 and all(names[0] & other for other in names[1:])


def _labelled(parts: Parts, notes: list[str]) -> Parts:
    """Leave out parts without labels, whose one folder is no class of the training part."""
    train = {c.name for c in parts.get("train", [])}
    kept: Parts = {}
    for split, found in parts.items():
        names = sorted({c.name for c in found})
        if not train or set(names) & train:
            kept[split] = found
        elif len(names) == 1:
            notes.append(f"{found[0].path} is no class of the train part: the {split} part has no labels, left out")
        else:
            theirs, ours = (", ".join(n[:3]) for n in (names, sorted(train)))
            raise InputError(
                f"the {split} part has the classes {theirs}, the train part {ours}, and none is the same "
                f"({found[0].path}); give both the same names"
            )
    return kept


def _on_empty(holders: list[_Folder], classes: tuple[str, ...]) -> list[str]:
    """Name folders beside the classes that have no images, and are no class of another part either."""
    folders = [f for h in holders for f in h.folders if f not in h.full and f.name not in classes]
    if not folders:
        return []
    other = next((f for e in folders for f in e.others_below()), None)
    hint = f" (but {printable(other.name)}, which is no image that can be read)" if other else ""
    names = ", ".join(repr(printable(f.name)) for f in folders[:5]) + (", ..." if len(folders) > 5 else "")
    return [f"without images, so no class: {names} in {folders[0].path.parent}{hint}"]


def _on_stray(folder: _Folder) -> list[str]:
    if not folder.images:
        return []
    return [
        f"beside the class folders and left out: {plural(len(folder.images), 'image')}, the first "
        f"{printable(folder.images[0])}"
    ]


def _on_others(parts: Parts) -> list[str]:
    """Name what lies among the images and is none."""
    others = [f for found in parts.values() for c in found for f in c.others_below()]
    return (
        [f"no images and left out: {plural(len(others), 'file')}, the first {printable(others[0])}"] if others else []
    )
