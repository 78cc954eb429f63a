"""Whether an accuracy says anything: who guesses has none to lose, and classes in another order are misread.

It comes of weights that were not given, of a normalisation that they do not expect, of classes in another order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netsmith.tasks.task import GUESS

LEVEL = 0.01  #: chance of as many right answers, or more, by naming one class always, above which it is a guess
#: another order of classes is believed in that makes so much more right, and most images, of so many a class
_MORE, _MOST, _EACH = 0.25, 0.5, 10
_SHOWN = 3
Labels = NDArray[np.int64]

ORDER = "order"


def guessed(right: int, labels: Labels) -> dict[str, Any] | None:
    """Whether answers are no better than a guess, by a binomial test against always naming the most frequent class.

    Args:
        right: how many answers are right.
        labels: the classes of all images, ``(N,)``.

    Returns:
        JSON values, or None: ``kind``, ``accuracy``, ``images``, ``majority`` (share of the most frequent class).
    """
    from scipy.special import bdtrc

    images = len(labels)
    majority = float(np.bincount(labels).max() / images) if images else 1.0
    chance = 1.0 if right == 0 or majority == 1.0 else float(bdtrc(right - 1, images, majority))
    if chance <= LEVEL:
        return None
    return {"kind": GUESS, "accuracy": right / max(images, 1), "images": images, "majority": majority}


def misread(said: Labels, labels: Labels) -> dict[str, Any] | None:
    """Whether answers would be right if the classes came in another order.

    Args:
        said: classes that the network named, ``(N,)``.
        labels: the right ones, ``(N,)``.

    Returns:
        JSON values, or None: ``kind``, ``accuracy``, ``images``, ``reordered`` (the accuracy in the best order) and
            ``moved``, pairs of a class and the output that answers to it.
    """
    from scipy.optimize import linear_sum_assignment

    images, right = len(labels), int((said == labels).sum())
    if not images or images < _EACH * len(np.unique(labels)):
        return None
    size = int(max(said.max(), labels.max())) + 1
    counts = np.zeros((size, size), dtype=np.int64)
    np.add.at(counts, (labels, said), 1)
    rows, columns = linear_sum_assignment(counts, maximize=True)
    best = int(counts[rows, columns].sum())
    if best < _MOST * images or best < right + _MORE * images:
        return None
    moved = [[int(r), int(c)] for r, c in zip(rows, columns, strict=True) if r != c and counts[r, c]]
    return {"kind": ORDER, "accuracy": right / images, "images": images, "reordered": best / images, "moved": moved}


def sentence(found: Mapping[str, Any], classes: Sequence[str], split: str, weights: bool) -> str:
    """A doubt for the user, with what to do."""
    said = f"the network as given is right about {found['accuracy']:.2%} of {found['images']} {split} images"
    if found["kind"] == ORDER:
        names = [f"output {c} answers to {classes[r]!r}, class {r}" for r, c in found["moved"][:_SHOWN]]
        return (
            f"{said}, and would be about {found['reordered']:.2%} if the classes came in the order that its answers "
            f"show ({', '.join(names)}): give the order that it was trained with by --classes FILE"
        )
    remedy = (
        "check that the normalisation (--mean, --std), the size of the images and the order of the classes are those "
        "that the weights were trained with"
    )
    if not weights:
        remedy = f"give trained weights with --weights; or, where the network has them already, {remedy}"
    return (
        f"{said}, no more than a guess (the most frequent class has {found['majority']:.2%}), so that no loss "
        f"of accuracy can be told: {remedy}"
    )


def ruined(who: str, accuracy: Mapping[str, float], labels: Mapping[str, Labels], remedy: str) -> list[str]:
    """A warning, if a network is no better than a guess.

    Args:
        who: the network, in words.
        accuracy: split (``search``, ``test``) -> share of right answers.
        labels: split -> the right ones, ``(N,)``.
    """
    found = of_splits(accuracy, labels)
    if not found:
        return []
    return [
        f"{who} is right about {found['accuracy']:.2%} of {found['images']} {' and '.join(accuracy)} images, no more "
        f"than a guess (the most frequent class has {found['majority']:.2%}): {remedy}"
    ]


def of_splits(accuracy: Mapping[str, float], labels: Mapping[str, Labels]) -> dict[str, Any] | None:
    """:func:`guessed` over several splits together, by their accuracies."""
    right = sum(round(accuracy[name] * len(labels[name])) for name in accuracy)
    return guessed(right, np.concatenate([labels[name] for name in accuracy]))
