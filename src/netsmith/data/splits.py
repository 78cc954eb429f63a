"""How rows become train, search and test."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from netsmith.data.classes import listing, plural, shorten
from netsmith.data.types import Split
from netsmith.errors import InputError

_FEW = 10  #: if no class of a source of one split has so many rows, it is for measuring, not for training


def balanced(labels: NDArray[np.int64], size: int, rng: np.random.Generator, *, most: float = 1.0) -> NDArray[np.int64]:
    """Indices ``(size,)`` of random rows, as evenly over the classes as the rows allow.

    Args:
        most: share of a class that is taken before others have given as much of theirs.
    """
    order = rng.permutation(len(labels))
    position = np.empty(len(labels), dtype=np.int64)  # how many rows of the same class come earlier in the order
    in_order = order[np.argsort(labels[order], kind="stable")]  # class by class
    _, starts, counts = np.unique(labels[in_order], return_index=True, return_counts=True)
    within = np.arange(len(labels)) - np.repeat(starts, counts)
    kept_back = within >= np.floor(np.repeat(counts, counts) * most)
    position[in_order] = within + len(labels) * kept_back
    return order[np.argsort(position[order], kind="stable")[:size]]


def hold_out(split: Split, size: int, rng: np.random.Generator) -> tuple[Split, Split]:
    """Take ``size`` rows out of a split: ``(rest, held out)``, both in the original order.

    They are balanced over classes, but half of a rare class stays, so that the rest knows of every class.
    """
    held = np.zeros(len(split), dtype=bool)
    held[balanced(split.labels.numpy(), size, rng, most=0.5)] = True
    return split.take(np.flatnonzero(~held)), split.take(np.flatnonzero(held))


def divide(
    splits: dict[str, Split], spec: str, search_size: int | None, rng: np.random.Generator
) -> tuple[Split | None, Split, Split, str]:
    """Make train, search and test from the splits that a source has, and say how in one sentence."""
    if "search" in splits:  # a user's own name, never taken for the test part
        train, test = hold_out(splits["train"], max(1, len(splits["train"]) // 5), rng)
        return train, splits["search"], test, f"search as given; test: {len(test)} rows held out of train"
    if "train" in splits and "validation" in splits and "test" in splits:
        search = splits["validation"]
        if search_size is not None and search_size < len(search):
            search = hold_out(search, search_size, rng)[1]
        return splits["train"], search, splits["test"], "train, validation (for search) and test as in the source"
    final = next((s for s in ("test", "validation") if s in splits), None)
    if "train" in splits and final is not None:
        train, search = hold_out(splits["train"], _search_size(splits["train"], search_size, spec), rng)
        return train, search, splits[final], f"search: {len(search)} rows held out of train; test: the source's {final}"
    if "train" not in splits and final is not None and len(splits) == 2:
        other = next(s for s in splits if s != final)
        return None, splits[other], splits[final], f"no train split; search: the source's {other}"
    name, only = next(iter(splits.items())) if len(splits) == 1 else ("train", splits.get("train"))
    if only is None:
        raise InputError(f"data set {spec!r} has splits {', '.join(splits)}; name one of them train and one test")
    most = int(np.bincount(only.labels.numpy()).max())
    if name in ("train", "all") and most >= _FEW:
        rest, test = hold_out(only, max(1, len(only) // 5), rng)
        train, search = hold_out(rest, _search_size(rest, search_size, spec), rng)
        return train, search, test, f"one split: {len(test)} rows held out for test and {len(search)} for search"
    if len(only) < 2:
        raise InputError(f"data set {spec!r} has only {len(only)} labelled row(s); at least 2 are needed")
    size = min(search_size or len(only) // 2, len(only) - 1)
    held = np.zeros(len(only), dtype=bool)
    held[np.arange(size) * len(only) // size] = True  # evenly spaced, so a file sorted by class is no problem
    search, test = only.take(np.flatnonzero(held)), only.take(np.flatnonzero(~held))
    why = f"at most {most} rows a class, fewer than {_FEW}" if name in ("train", "all") else f"only a {name} split"
    return (
        None,
        search,
        test,
        f"no training rows ({why}); {len(search)} rows for search and {len(test)} for test, by index",
    )


def rare_classes(train: Split, classes: Sequence[str]) -> list[str]:
    """A sentence for classes with few training rows, and one for those with none."""
    counts = np.bincount(train.labels.numpy(), minlength=len(classes))
    found = sorted((int(n), name) for n, name in zip(counts, classes, strict=True) if n < _FEW)
    none, few = [name for n, name in found if n == 0], [(name, n) for n, name in found if n]
    said = []
    if none:
        names = ", ".join(map(shorten, none[:8])) + (f" and {len(none) - 8} more" if len(none) > 8 else "")
        said.append(f"{plural(len(none), 'class')} without training images: {names}")
    if few:
        said.append(f"{plural(len(few), 'rare class')} with fewer than {_FEW} training images: {listing(few)}")
    return said


def _search_size(train: Split, search_size: int | None, spec: str) -> int:
    size = search_size or max(1, min(5000, len(train) * 15 // 100))
    if size >= len(train):
        raise InputError(
            f"--search-size {size} leaves nothing of the {len(train)} train rows of {spec!r}; make it smaller"
        )
    return size
