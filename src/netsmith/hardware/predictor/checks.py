"""What the file of a predictor must hold, so that every price that it gives is a finite number above 0."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from netsmith.errors import InputError, shown
from netsmith.hardware.predictor.members import predict_member
from netsmith.hardware.predictor.metrics import FloatArray
from netsmith.hardware.predictor.trees import check_trees
from netsmith.hardware.table.numbers import number

_MAPPINGS = ("metrics", "device", "about", "extra")
_OF_FEATURES = ("center", "scale", "low", "high")


def check_file(record: Mapping[str, Any], arrays: Mapping[str, FloatArray]) -> None:
    """Check the record and the arrays that are of no member; all of them are there.

    Raises:
        InputError: what is wrong, without the file.
    """
    names, kinds, weights = (record[k] for k in ("names", "kinds", "weights"))
    for what, value in (("names", names), ("kinds", kinds), ("weights", weights)):
        if not isinstance(value, list) or not value:
            raise InputError(f"its {what} are {shown(value)}, not a list of them")
    if not all(isinstance(n, str) for n in names) or not isinstance(record["unit"], str):
        raise InputError("the names of its features and its unit are no texts")
    if len(kinds) != len(weights):
        raise InputError(f"it has {len(kinds)} members and {len(weights)} weights")
    for i, weight in enumerate(weights):
        number(weight, f"weight of member {i}", above=True)
    for what in _MAPPINGS:
        if not isinstance(record[what], dict):
            raise InputError(f"{what} is {shown(record[what])}, not a mapping")
    for name, array in arrays.items():
        if array.dtype.kind not in "fiu":
            raise InputError(f"array {shown(name)} is not of numbers")
        finite = np.isfinite(array)
        if not finite.all():
            place = np.argwhere(~finite)[0]
            raise InputError(f"array {shown(name)} has {array[tuple(place)]} at {place.tolist()}, which is not finite")
    for name in _OF_FEATURES:
        if arrays[name].shape != (len(names),):
            raise InputError(f"array {shown(name)} has the shape {arrays[name].shape}, not one value a feature")
    for name, array in (("scale", arrays["scale"]), ("floor", arrays["floor"]), ("residuals", arrays["residuals"] + 1)):
        if array.ndim != 1 or (array <= 0).any() or (name == "floor" and len(array) != 1):
            least = -1 if name == "residuals" else 0
            raise InputError(
                f"array {shown(name)} has {array.min(initial=0) + least:g} in it, all must be above {least}"
            )


def check_member(kind: str, arrays: Mapping[str, FloatArray], features: int) -> None:
    """Check the arrays of one member by evaluating it.

    Raises:
        InputError: they do not fit each other.
    """
    if kind == "trees" and (problem := check_trees(arrays, features)):
        raise InputError(problem)
    try:
        found = predict_member(kind, arrays, np.zeros((2, features)))
    except (KeyError, IndexError, ValueError, TypeError) as error:
        raise InputError(f"the arrays of its {kind} do not fit each other") from error
    if found.shape != (2,) or not np.isfinite(found).all():
        raise InputError(f"its {kind} give {found.ravel()[:1]} where every feature has its mean")
