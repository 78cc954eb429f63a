"""Words of Multi30k captions, and examples made by masking one word out of ten."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .row import SPLITS

#: Captions of the test split, and of the search split, of all 31,014: a caption's examples are in one split alone.
TEST, SEARCH = 6000, 2500
MASK = "#"


def captions(folder: Path, language: str, rng: np.random.Generator) -> dict[str, list[list[str]]]:
    """Captions of the three splits, each a list of words in lower case."""
    import pyarrow.parquet as parquet

    files = (folder / "multi30k" / f"{name}.parquet" for name in ("train", "validation", "test"))
    texts = [text for file in files for text in parquet.read_table(file).column(language).to_pylist()]
    words = [re.findall(r"\w+|[,.]", texts[i].lower()) for i in rng.permutation(len(texts))]
    parts = (words[TEST + SEARCH :], words[TEST : TEST + SEARCH], words[:TEST])
    return dict(zip(SPLITS, parts, strict=True))


def masked(
    words: Sequence[list[str]], answers: Sequence[str], most: int, rng: np.random.Generator
) -> list[tuple[list[str], int]]:
    """Captions with one of ``answers`` masked, and which one it was; at most ``most`` examples of each, shuffled."""
    found = []
    taken: Counter[str] = Counter()
    places = [(i, j) for i, caption in enumerate(words) for j, word in enumerate(caption) if word in answers]
    for k in rng.permutation(len(places)):
        i, j = places[k]
        word = words[i][j]
        taken[word] += 1
        if taken[word] <= most:
            found.append(([*words[i][:j], MASK, *words[i][j + 1 :]], answers.index(word)))
    return found


def numbered(words: Sequence[list[str]], least: int = 3) -> dict[str, int]:
    """A number of each word that is there often enough, from 2 on: 0 is padding, and 1 any other word."""
    counts = Counter(word for caption in words for word in caption)
    return {word: i + 2 for i, word in enumerate(sorted(w for w, n in counts.items() if n >= least))}
