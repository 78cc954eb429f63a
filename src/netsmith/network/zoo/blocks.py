"""Networks of inverted residual blocks from a description: what a search finds, as a file that rebuilds it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netsmith.errors import InputError
from netsmith.files import read_json

if TYPE_CHECKING:
    from netsmith.network.zoo.mobilenet import MobileNet

EPS = 1e-3  #: of batch norm, as in the released networks of ProxylessNAS


@dataclass(frozen=True)
class Block:
    """An inverted residual block: kernel and expansion of its depthwise convolution, what leaves it and its stride."""

    kernel: int
    expansion: int
    channels: int
    stride: int


@dataclass(frozen=True)
class Description:
    """A network of inverted residual blocks.

    Attributes:
        input_shape: ``(C, H, W)`` that it was made for.
        classes: number of logits.
        stem: channels of the first convolution, 3x3.
        stem_stride: of it.
        blocks: in order; those that were skipped are not there.
        head: channels of the last 1x1 convolution; 0 for none.
        dropout: before the classifier, in training.
    """

    input_shape: tuple[int, int, int]
    classes: int
    stem: int
    stem_stride: int
    blocks: tuple[Block, ...]
    head: int
    dropout: float = 0.0

    @property
    def key(self) -> str:
        """Twelve hexadecimal digits that tell it from other descriptions."""
        return sha256(self.to_json().encode()).hexdigest()[:12]

    def to_json(self) -> str:
        """The description as JSON text; :meth:`read` reads a file of it."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_dict(cls, record: Mapping[str, Any], where: str = "the description") -> Description:
        """The description whose fields ``record`` has.

        Raises:
            InputError: it has other fields, or values of another kind.
        """
        try:
            blocks = tuple(Block(**{k: int(v) for k, v in block.items()}) for block in record["blocks"])
            shape = tuple(int(n) for n in record["input_shape"])
            numbers = {k: int(record[k]) for k in ("classes", "stem", "stem_stride", "head")}
            dropout = float(record.get("dropout", 0.0))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"{where} describes no network of blocks ({error}); write it by a search") from error
        positive = [*shape, *(v for k, v in numbers.items() if k != "head")]
        positive += [n for b in blocks for n in asdict(b).values()]
        even = any(b.kernel % 2 == 0 for b in blocks)
        if len(shape) != 3 or min(positive) < 1 or even or numbers["head"] < 0 or not 0 <= dropout < 1:
            raise InputError(f"{where} has a number that no network has; write it by a search")
        return cls((shape[0], shape[1], shape[2]), blocks=blocks, dropout=dropout, **numbers)

    @classmethod
    def read(cls, path: str | Path) -> Description:
        """The description in a JSON file.

        Raises:
            InputError: absent, damaged, or something else.
        """
        record = read_json(Path(path), "write it by netsmith specialize")
        if not isinstance(record, dict):
            raise InputError(f"{path} describes no network of blocks; write it by netsmith specialize")
        return cls.from_dict(record, str(path))


def block_network(description: Description) -> MobileNet:
    """The network of a description, with fresh weights; its blocks are ``features.1``, ``features.2``, ..."""
    from torch import nn

    from netsmith.network.zoo.mobilenet import InvertedResidual, MobileNet

    style = block_style()
    c_in = description.stem
    layers: list[nn.Module] = [nn.Sequential(*style.conv(description.input_shape[0], c_in, 3, description.stem_stride))]
    for b in description.blocks:
        layers.append(InvertedResidual(style, c_in, b.channels, b.stride, b.expansion, b.kernel))
        c_in = b.channels
    if description.head:
        layers.append(nn.Sequential(*style.conv(c_in, description.head)))
        c_in = description.head
    return MobileNet(nn.Sequential(*layers), c_in, description.classes, description.dropout)


def block_style() -> Any:
    """How these networks write a convolution: batch norm, and ReLU6 as in MobileNetV2."""
    from torch import nn

    from netsmith.network.zoo.mobilenet import Style

    return Style(folded=False, same_padding=False, activation=nn.ReLU6, eps=EPS)
