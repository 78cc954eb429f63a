"""What every configuration is: fields that check themselves, called in messages as the command line calls them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from netsmith.errors import InputError
from netsmith.schema import parameter, validate
from netsmith.training.schedule import MOST_SEED
from netsmith.units import parse_input_shape

TASK = "what the network is for: classification, another of docs/tasks.md, or FILE.py:function"
DATA = "digits, a Hugging Face name, or a folder of images or parquet files; none for a task that brings its own"


def option(name: str) -> str:
    """How a message calls the option of a field: ``--search-size``."""
    return "--" + name.replace("_", "-")


@dataclass(frozen=True)
class Config:
    """Checks types and ranges when one is made, then what its fields mean together."""

    def __post_init__(self) -> None:
        validate(self, option)
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, str) and not value.strip():
                raise InputError(f"{option(field.name)} is empty; give a value, or drop it")
        self.check()

    def check(self) -> None:
        """Refuse what contradicts itself.

        Raises:
            InputError: names the option and the remedy.
        """


# --- fields that several jobs have ---------------------------------------------------------------------------


def seed_field() -> Any:
    return parameter("equal seeds, equal results", default=0, low=0, high=MOST_SEED)


def threads_field() -> Any:
    return parameter("threads that the deployed network runs on", default=1, low=1, high=1024)


def target_field() -> Any:
    return parameter("hardware; `netsmith targets` lists it", default="cpu")


def weights_field() -> Any:
    return parameter(".safetensors or .pth file; FILE#KEY takes those under a key of it", default=None, metavar="FILE")


def num_classes_field() -> Any:
    return parameter("outputs of the network, if its spec does not say so", default=None, low=1, high=10_000_000)


def input_field() -> Any:
    return parameter(
        "shape of one sample, if the network does not say it",
        default=None, low=1, flag="--input", metavar="C,H,W", read=parse_input_shape, repeats=True,
    )  # fmt: skip
