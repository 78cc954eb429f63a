"""Image data sets as tensors: loaded, decoded once, split into train, search and test."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netsmith.lazy import lazy_names

if TYPE_CHECKING:
    from netsmith.data.augment import Augment
    from netsmith.data.feeding import Feeding
    from netsmith.data.inputs import prepare
    from netsmith.data.load import data_for, load_data
    from netsmith.data.naming import describe
    from netsmith.data.normalise import Normalisation, normalisation_from_metadata
    from netsmith.data.types import Data, Split, check_classes

__all__ = [
    "Augment",
    "Data",
    "Feeding",
    "Normalisation",
    "Split",
    "check_classes",
    "data_for",
    "describe",
    "load_data",
    "normalisation_from_metadata",
    "prepare",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "augment": ("Augment",),
        "feeding": ("Feeding",),
        "inputs": ("prepare",),
        "load": ("data_for", "load_data"),
        "naming": ("describe",),
        "normalise": ("Normalisation", "normalisation_from_metadata"),
        "types": ("Data", "Split", "check_classes"),
    },
)
