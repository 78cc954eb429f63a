"""Image data sets as tensors: loaded, decoded once, split into train, search and test."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from netsmith.data.augment import Augment as Augment
    from netsmith.data.feeding import Feeding as Feeding
    from netsmith.data.inputs import prepare as prepare
    from netsmith.data.load import data_for as data_for
    from netsmith.data.load import load_data as load_data
    from netsmith.data.naming import describe as describe
    from netsmith.data.normalise import Normalisation as Normalisation
    from netsmith.data.normalise import normalisation_from_metadata as normalisation_from_metadata
    from netsmith.data.types import Data as Data
    from netsmith.data.types import Split as Split
    from netsmith.data.types import check_classes as check_classes

_HOME = {
    "Augment": "augment",
    "Data": "types",
    "Feeding": "feeding",
    "Normalisation": "normalise",
    "Split": "types",
    "check_classes": "types",
    "describe": "naming",
    "data_for": "load",
    "load_data": "load",
    "normalisation_from_metadata": "normalise",
    "prepare": "inputs",
}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    # torch loads only when a name is used, so that `netsmith --help` stays fast
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
