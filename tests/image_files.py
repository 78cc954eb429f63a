"""Images of tests as files: every kind of them holds the same values, on its own scale."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def ramp(i: int, top: float = 255.0, side: int = 6) -> np.ndarray:
    """Image ``i`` of a data set: values from 0 to ``top`` in an order of its own, float64 ``(side, side)``."""
    values = np.linspace(0.0, top, side * side)
    return np.random.default_rng(i).permutation(values).reshape(side, side)


def eight_bits(i: int) -> np.ndarray:
    """The same in 8 bits."""
    return np.rint(ramp(i)).astype(np.uint8)


def save(image: np.ndarray | Image.Image, path: Path, **options: Any) -> Path:
    """Write an image, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(path, **options)
    return path


def save_classes(
    root: Path, names: Iterable[str] = "ab", *, suffix: str = ".png", n: int = 2, of: Callable[[int], Any] = eight_bits
) -> Path:
    """A folder of ``n`` images for each class, ``of(0)``, ``of(1)`` and so on through all of them."""
    for c, name in enumerate(names):
        for i in range(n):
            save(of(n * c + i), root / name / f"{i}{suffix}")
    return root
