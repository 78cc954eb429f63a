"""Groups of options that several jobs take."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from netsmith.errors import InputError, shown
from netsmith.jobs.config.base import Config, option
from netsmith.jobs.config.places import check_file
from netsmith.schema import is_text, parameter
from netsmith.units import Budget, check_budgets, numbers, read_budgets

OF_TEXTS = ("text_column", "tokenizer", "max_length")  #: options that mean nothing for images
_SIDE = 16384  #: of images in pixels; larger ones would not fit into memory


@dataclass(frozen=True)
class Budgets(Config):
    """Upper bounds on costs, absolute (``3ms``) or relative to the network as given (``0.5x``)."""

    panel: ClassVar[str] = "Budgets"
    latency: str | None = parameter("3ms, or 0.5x of the network as given", default=None, metavar="BUDGET")
    energy: str | None = parameter("2mJ, or 0.5x", default=None, metavar="BUDGET")
    size: str | None = parameter("300KB, or 0.25x", default=None, metavar="BUDGET")
    macs: str | None = parameter("30M, or 0.5x", default=None, metavar="BUDGET")
    memory: str | None = parameter(
        "256KB, or 0.5x: of the values that live at one time", default=None, metavar="BUDGET"
    )

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):  # a bare number gets the sentence that asks for its unit
            value = getattr(self, field.name)
            if isinstance(value, int | float) and not isinstance(value, bool):
                object.__setattr__(self, field.name, shown(value))
        super().__post_init__()

    def check(self) -> None:
        self.read()

    def read(self) -> dict[str, Budget]:
        """The budgets that are given, by cost; there may be none."""
        return read_budgets(**{f.name: getattr(self, f.name) for f in dataclasses.fields(self)}, needed=False)

    def need(self, target: str) -> None:
        """Refuse a search without a budget, unless the target has limits of its own.

        Raises:
            InputError: there is none.
        """
        from netsmith.hardware.target import get_target, limits_of

        if not self.read() and (target == "cpu" or not limits_of(get_target(target))):
            check_budgets([])


@dataclass(frozen=True)
class Images(Config):
    """How images, texts and labels are read."""

    panel: ClassVar[str] = "Data"
    mean: tuple[float, ...] | None = parameter(
        "normalisation a channel, on x/255", default=None, metavar="R,G,B", read=numbers("--mean"), repeats=True
    )
    std: tuple[float, ...] | None = parameter(
        "likewise; both or neither", default=None, metavar="R,G,B", read=numbers("--std"), repeats=True
    )
    image_size: int | None = parameter("side; default is that of the images", "pixels", default=None, low=1, high=_SIDE)
    label_column: str | None = parameter("where the labels are, if not in `label`", default=None)
    classes: Any = parameter(
        "class names in the order of the network's outputs: one a line, or JSON", default=None, metavar="FILE"
    )
    pixel_range: tuple[float, ...] | None = parameter(
        "values that become 0 and 255 in images of more than 8 bits", default=None, metavar="LOW,HIGH",
        read=numbers("--pixel-range", "two numbers, the lower first, such as 0,4095"), repeats=True,
    )  # fmt: skip
    text_column: str | None = parameter("where the texts are, if not in `text`", default=None)
    tokenizer: Any = parameter("of texts: the network's tokenizer.json", default=None, metavar="FILE")
    max_length: int | None = parameter(
        "of a text; default is that of the longest, at most 512", "tokens", default=None, low=1, high=65536
    )
    search_size: int | None = parameter("held out of train to decide on", "images", default=None, low=1)
    train_limit: int | None = parameter("train on this many only", "images", default=None, low=1)

    def check(self) -> None:
        if (self.mean is None) != (self.std is None):
            raise InputError("--mean and --std belong together; give both or neither")
        if self.mean is not None and self.std is not None and len(self.mean) != len(self.std):
            raise InputError(
                f"--mean has {len(self.mean)} numbers and --std {len(self.std)}; give one a channel in each"
            )
        if self.std is not None and not all(value > 0 for value in self.std):
            raise InputError(f"--std is {','.join(f'{v:g}' for v in self.std)}; every number of it must be above 0")
        if self.pixel_range is not None and (len(self.pixel_range) != 2 or self.pixel_range[0] >= self.pixel_range[1]):
            raise InputError("--pixel-range must be two numbers, the lower first, such as 0,4095")
        if self.classes is not None and not isinstance(self.classes, str | Path | list | tuple):
            raise InputError("--classes must be a file, or in Python a list of names")
        for name in self.classes if isinstance(self.classes, list | tuple) else ():
            if not is_text(str(name)):
                raise InputError(f"--classes has {shown(name)}, which is no text in UTF-8; rename it")
        check_file("--classes", self.classes)
        check_file("--tokenizer", self.tokenizer)

    def for_task(self) -> dict[str, Any]:
        """The fields as options of ``netsmith.tasks.registry.load_task``."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}

    def for_data(self) -> dict[str, Any]:
        """The fields as keyword arguments of ``netsmith.data.data_for``, which reads images of classes.

        Raises:
            InputError: an option for texts is given.
        """
        given = self.for_task()
        for name in OF_TEXTS:
            if given.pop(name) is not None:
                raise InputError(f"{option(name)} is for texts, and these are images of classes; drop it")
        return given


@dataclass(frozen=True)
class FineTune(Config):
    """Training of what is left."""

    panel: ClassVar[str] = "Training"
    epochs: int | None = parameter("fine-tuning; default by the size of the data", default=None, low=0, high=1_000_000)
    lr: float | None = parameter("peak learning rate; default by what is fine-tuned", default=None, above=0)
    optimizer: Literal["sgd", "adamw"] | None = parameter(
        "sgd with momentum, or adamw; default by the task", default=None
    )
    fit: Any = parameter(
        "a training loop of your own instead, called with the network, or with the network and its teacher",
        default=None, metavar="FILE.py:NAME",
    )  # fmt: skip
    after_epoch: Any = parameter(
        "called with the network and what was logged after each epoch; true ends the training", default=None,
        metavar="FILE.py:NAME",
    )  # fmt: skip

    def check(self) -> None:
        for name in ("fit", "after_epoch"):
            given = getattr(self, name)
            if given is not None and not callable(given) and not isinstance(given, str):
                raise InputError(f"{option(name)} must be a function or FILE.py:NAME, not {shown(given)}")
        if self.fit is not None and (self.lr is not None or self.optimizer is not None or self.after_epoch is not None):
            raise InputError("--fit is a loop of your own: drop --lr, --optimizer and --after-epoch, which are of ours")

    @property
    def functions(self) -> dict[str, Callable[..., Any]]:
        """The user's functions by the names of their options.

        Raises:
            InputError: a file is not there, or has no such function.
        """
        from netsmith.jobs.userfile import function_in

        given = {name: getattr(self, name) for name in ("fit", "after_epoch")}
        return {
            name: function_in(value, option(name)) if isinstance(value, str) else value
            for name, value in given.items() if value is not None
        }  # fmt: skip
