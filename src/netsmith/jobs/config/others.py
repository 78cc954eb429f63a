"""The options of train, profile and targets measure."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from netsmith.errors import InputError
from netsmith.jobs.config.base import (
    DATA,
    TASK,
    Config,
    input_field,
    num_classes_field,
    seed_field,
    target_field,
    threads_field,
    weights_field,
)
from netsmith.jobs.config.groups import Images
from netsmith.jobs.config.places import check_data, check_file, check_model, check_teacher
from netsmith.schema import parameter
from netsmith.usercode import FORMS


@dataclass(frozen=True)
class TrainConfig(Config):
    """Train a network from scratch, or fine-tune it, and write its weights."""

    model: Any = parameter(FORMS, metavar="MODEL")
    data: Any = parameter(DATA, default=None)
    epochs: int = parameter("passes over the train split", default=10, low=1, high=1_000_000)
    weights: str | None = weights_field()
    lr: float | None = parameter(
        "peak learning rate; default 0.02 with --weights, else 0.1; of adamw a thirtieth", default=None, above=0
    )
    batch_size: int = parameter("of a step", "images", default=128, low=1, high=1_000_000)
    optimizer: Literal["sgd", "adamw"] | None = parameter(
        "sgd with momentum, or adamw; default by the task", default=None
    )
    weight_decay: float | None = parameter("default 1e-4 with --weights, else 5e-4", default=None, low=0)
    schedule: str = parameter("of the learning rate", default="one-cycle", choices=("one-cycle", "cosine", "constant"))
    teacher: Any = parameter("network to distil from", default=None, metavar="MODEL")
    teacher_weights: str | None = parameter("its weights", default=None, metavar="FILE")
    alpha: float = parameter("share of the teacher's answers in the loss", default=0.5, low=0, high=1)
    temperature: float = parameter("of the teacher's answers", default=4.0, above=0)
    label_smoothing: float = parameter("share of a label that all classes have", default=0.0, low=0, high=0.99)
    augment: bool = parameter("flip and shift the images", default=True)
    bf16: Literal["auto", "on", "off"] = parameter("train in bfloat16", default="auto")
    patience: int | None = parameter("stop after this many epochs without progress", default=None, low=1)
    task: Any = parameter(TASK, default="classification", panel="Data")
    images: Images = dataclasses.field(default_factory=Images)
    seed: int = seed_field()

    def __post_init__(self) -> None:
        if isinstance(self.bf16, bool):
            object.__setattr__(self, "bf16", "on" if self.bf16 else "off")
        super().__post_init__()

    def check(self) -> None:
        check_model("MODEL", self.model)
        check_data(self.data, self.task)
        check_file("--weights", self.weights)
        check_teacher(self.teacher, self.teacher_weights)


@dataclass(frozen=True)
class ProfileConfig(Config):
    """Price a network layer by layer."""

    model: Any = parameter(FORMS, metavar="MODEL")
    target: str = target_field()
    input_shape: tuple[int, ...] | None = input_field()
    weights: str | None = weights_field()
    num_classes: int | None = num_classes_field()
    bits: int = parameter("width to price weights and activations at", "bits", default=32, low=1, high=32)
    batch: int = parameter("samples at a time", default=1, low=1, high=1_000_000)
    threads: int = threads_field()

    def check(self) -> None:
        check_model("MODEL", self.model)
        check_file("--weights", self.weights)


@dataclass(frozen=True)
class MeasureConfig(Config):
    """Build a latency table, of this machine or of a device that cannot run Python."""

    model: Any = parameter("the network whose layers are wanted", default=None, metavar="[MODEL]")
    input_shape: tuple[int, ...] | None = input_field()
    space: bool = parameter("also every width and bit-width that compress may try, not just the network", default=False)
    write: str | None = parameter(
        "measure nothing; write the layers as ONNX files to time elsewhere", default=None, metavar="FOLDER"
    )
    read: str | None = parameter(
        "make a table of the times that such a folder came back with", default=None, metavar="FOLDER"
    )
    out: str | None = parameter("table file; default for this machine is its cache", default=None, metavar="FILE")
    weights: str | None = weights_field()
    num_classes: int | None = num_classes_field()
    threads: int = threads_field()

    def check(self) -> None:
        if self.read is not None and (self.model is not None or self.write is not None):
            raise InputError("--read takes the times of a folder as they are; drop the network and --write")
        if self.read is not None and self.out is None:
            raise InputError("say where the table is to go: --out device.json")
        if self.read is None and self.model is None:
            raise InputError("name the network whose layers are to be measured, or --read a folder of times")
        if self.write is not None and self.out is not None:
            raise InputError("--out is the table of --read; drop it here")
        if self.model is not None:
            check_model("MODEL", self.model)
        check_file("--weights", self.weights)
