"""Spaces of networks of inverted residual blocks: what there is to choose, from a TOML file."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from netsmith.errors import InputError, did_you_mean, shown
from netsmith.files import read_toml
from netsmith.network.zoo.blocks import MOST_WEIGHTS, Block, Description
from netsmith.schema import parameter, read_mapping
from netsmith.space import Decision, Space

Designs = NDArray[np.int64]

SKIP = "skip"  #: the block is not there; what enters it leaves it
OPERATOR = "operator"  #: kind of these decisions
REFERENCE = "k3e6"  #: the block of MobileNetV2
SPACES = Path(__file__).parent / "spaces"
_MOST_STAGES = 64
_PAGE = "docs/specialize.md"
_REMEDY = f"{_PAGE} shows how to write one"


@dataclass(frozen=True)
class Stage:
    """Blocks of one width; the first of them has the stride. Every pair of a kernel and an expansion is a candidate."""

    channels: int = parameter("that leave each block", low=1, high=65536)
    blocks: int = parameter("how many, at most", low=1, high=64)
    stride: int = parameter("of the first", default=1, low=1, high=2)
    kernels: tuple[int, ...] = parameter("of the depthwise convolutions, odd", default=(3, 5, 7), low=1, high=31)
    expansions: tuple[int, ...] = parameter("how many times wider blocks are inside", default=(3, 6), low=1, high=16)
    skip: bool = parameter("blocks may be left out, where their input has the shape of their output", default=True)

    def __post_init__(self) -> None:
        even = [k for k in self.kernels if k % 2 == 0]
        if even:
            raise InputError(f"kernels must be odd, not {even[0]}")


@dataclass(frozen=True)
class Slot:
    """One place for a block: its name, its number of stage (from 1) and what there is to choose for it."""

    name: str
    stage: int
    c_in: int
    channels: int
    stride: int
    side: int  #: of its output map
    choices: tuple[str, ...]

    def block(self, choice: str) -> Block:
        """The block of a choice other than "skip"."""
        kernel, expansion = kernel_of(choice)
        return Block(kernel, expansion, self.channels, self.stride)


def kernel_of(choice: str) -> tuple[int, int]:
    """``k5e3`` -> (5, 3): kernel and expansion."""
    match = re.fullmatch(r"k(\d+)e(\d+)", choice)
    assert match is not None, choice
    return int(match[1]), int(match[2])


@dataclass(frozen=True)
class BlockSpace:
    """Networks that differ in kernel and expansion of their blocks, and in how many of them there are."""

    name: str
    image: int = parameter("side of the images", "pixels", low=8, high=4096)
    stem: int = parameter("channels of the first convolution", low=1, high=4096)
    stem_stride: int = parameter("of the first convolution", low=1, high=2)
    head: int = parameter("channels of the last 1x1 convolution, 0 for none", low=0, high=65536)
    stages: tuple[Stage, ...] = parameter("in order")
    dropout: float = parameter("before the classifier", default=0.0, low=0.0, high=0.9)

    @cached_property
    def slots(self) -> tuple[Slot, ...]:
        """Every place for a block, in order."""
        found, c_in, side = [], self.stem, -(-self.image // self.stem_stride)
        for number, stage in enumerate(self.stages, 1):
            for i in range(stage.blocks):
                stride = stage.stride if i == 0 else 1
                side = -(-side // stride)
                # expansion before kernel: from the cheapest to the dearest
                own = [f"k{k}e{e}" for e in sorted(stage.expansions) for k in sorted(stage.kernels)]
                skipped = stage.skip and stride == 1 and c_in == stage.channels
                choices = ((SKIP,) if skipped else ()) + tuple(own)
                found.append(Slot(f"stage{number}.block{i + 1}", number, c_in, stage.channels, stride, side, choices))
                c_in = stage.channels
        return tuple(found)

    @cached_property
    def searched(self) -> tuple[int, ...]:
        """Indices of the slots with more than one choice: the decisions, in order."""
        return tuple(i for i, slot in enumerate(self.slots) if len(slot.choices) > 1)

    @cached_property
    def decisions(self) -> Space:
        """The space of designs."""
        return Space(tuple(Decision(self.slots[i].name, OPERATOR, self.slots[i].choices) for i in self.searched))

    @property
    def reference(self) -> Designs:
        """Every block as in MobileNetV2 (kernel 3, expansion 6), or the dearest that there is, ``(D,)``."""
        choices = [d.choices for d in self.decisions.decisions]
        return np.array([c.index(REFERENCE) if REFERENCE in c else len(c) - 1 for c in choices], dtype=np.int64)

    def chosen(self, design: Designs) -> tuple[str, ...]:
        """The choice of every slot under a design ``(D,)``; slots without a choice have their only one."""
        own = dict(zip(self.searched, np.asarray(design).tolist(), strict=True))
        return tuple(slot.choices[own.get(i, 0)] for i, slot in enumerate(self.slots))

    def describe(self, design: Designs, classes: int, channels: int = 3) -> Description:
        """The network of a design ``(D,)`` for images of ``channels`` channels."""
        picked = zip(self.slots, self.chosen(design), strict=True)
        blocks = tuple(slot.block(choice) for slot, choice in picked if choice != SKIP)
        shape = (channels, self.image, self.image)
        return Description(shape, classes, self.stem, self.stem_stride, blocks, self.head, self.dropout)

    def resized(self, image: int) -> BlockSpace:
        """The space for images of another size; the first convolution halves images of twice the side or more.

        Raises:
            InputError: so small that a map would vanish.
        """
        stride = self.stem_stride * (2 if self.stem_stride == 1 and image >= 2 * self.image else 1)
        space = dataclasses.replace(self, image=image, stem_stride=stride)
        if space.slots[-1].side < 2:
            raise InputError(f"images of {image} pixels are too small for the space {self.name!r}; use a smaller one")
        return space

    def scaled(self, width: float) -> BlockSpace:
        """The space with all channels times ``width``, to multiples of 8; the head does not shrink, as usual."""
        from netsmith.network.zoo.mobilenet import round_channels

        stages = tuple(dataclasses.replace(s, channels=round_channels(s.channels * width)) for s in self.stages)
        head = round_channels(self.head * max(1.0, width)) if self.head else 0
        return dataclasses.replace(self, stem=round_channels(self.stem * width), stages=stages, head=head)


def space_names() -> list[str]:
    """Spaces that come with netsmith."""
    return sorted(path.stem for path in SPACES.glob("*.toml"))


def load_space(spec: str | os.PathLike[str]) -> BlockSpace:
    """The space of a name, or of a TOML file.

    Raises:
        InputError: unknown name (the nearest is proposed), or a file with a key or value that cannot be used.
    """
    spec = os.fspath(spec) if isinstance(spec, os.PathLike) else spec
    if not isinstance(spec, str):
        raise InputError(f"the space must be a name, a TOML file or a BlockSpace, not {shown(spec)}")
    if not spec.endswith(".toml"):
        if spec not in space_names():
            hint = did_you_mean(spec, space_names())
            raise InputError(f"unknown space {shown(spec)}{hint}; known: {', '.join(space_names())}, or FILE.toml")
        return load_space(str(SPACES / f"{spec}.toml"))
    path = Path(spec)
    values = read_toml(path, "space", _REMEDY)
    if "name" in values:
        raise InputError(f"space {path} has the name of its file; remove the key 'name'")
    stages = values.pop("stages", None)
    if not isinstance(stages, list) or not stages:
        raise InputError(f"space {path} has no [[stages]]; {_REMEDY}")
    if len(stages) > _MOST_STAGES:
        raise InputError(f"space {path} has {len(stages)} stages; at most {_MOST_STAGES} are read")
    if not all(isinstance(stage, Mapping) for stage in stages):
        raise InputError(f"space {path}: every one of its stages must be a table of keys; {_REMEDY}")
    read = tuple(read_mapping(Stage, stage, f"space {path}, stage {i}", _PAGE) for i, stage in enumerate(stages, 1))
    space: BlockSpace = read_mapping(BlockSpace, values | {"name": path.stem, "stages": read}, f"space {path}", _PAGE)
    if not space.searched:
        raise InputError(f"space {path} leaves nothing to choose: give a stage several kernels or expansions")
    largest = space.describe(space.decisions.sizes - 1, 1).weights
    if largest > MOST_WEIGHTS:
        raise InputError(f"space {path} has networks of {largest:.2g} weights; at most {MOST_WEIGHTS:.0e} are built")
    return space
