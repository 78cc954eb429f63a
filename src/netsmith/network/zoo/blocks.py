"""Networks of inverted residual blocks from a description: what a search finds, as a file that rebuilds it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from netsmith.errors import InputError, shown
from netsmith.schema import parameter, read_mapping

if TYPE_CHECKING:
    from netsmith.network.zoo.mobilenet import MobileNet

MOST_BLOCKS, MOST_WEIGHTS = 4096, 10**10  #: of a network that is built
_PAGE = "docs/specialize.md"
EPS = 1e-3  #: of batch norm, as in the released networks of ProxylessNAS


@dataclass(frozen=True)
class Block:
    """An inverted residual block."""

    kernel: int = parameter("of its depthwise convolution, odd", low=1, high=63)
    expansion: int = parameter("how many times wider it is inside", low=1, high=64)
    channels: int = parameter("that leave it", low=1, high=65536)
    stride: int = parameter("of its depthwise convolution", low=1, high=8)


@dataclass(frozen=True)
class Description:
    """A network of inverted residual blocks.

    Attributes:
        input_shape: ``(C, H, W)`` that it was made for.
        blocks: in order; those that were skipped are not there.
    """

    input_shape: tuple[int, int, int]
    classes: int = parameter("number of logits", low=1, high=1_000_000)
    stem: int = parameter("channels of the first convolution, 3x3", low=1, high=65536)
    stem_stride: int = parameter("of the first convolution", low=1, high=8)
    blocks: tuple[Block, ...] = parameter("in order")
    head: int = parameter("channels of the last 1x1 convolution, 0 for none", low=0, high=65536)
    dropout: float = parameter("before the classifier, in training", default=0.0, low=0.0, high=0.99)

    @property
    def key(self) -> str:
        """Twelve hexadecimal digits that tell it from other descriptions."""
        return sha256(self.to_json().encode()).hexdigest()[:12]

    @property
    def weights(self) -> int:
        """How many weights its convolutions and its classifier have."""
        c_in, total = self.stem, 9 * self.input_shape[0] * self.stem
        for b in self.blocks:
            inside = c_in * b.expansion
            total += inside * (c_in * (b.expansion > 1) + b.kernel**2 + b.channels)
            c_in = b.channels
        return total + c_in * self.head + (self.head or c_in) * self.classes

    def to_dict(self) -> dict[str, Any]:
        """The description as JSON values; :meth:`from_dict` reads them."""
        return asdict(self)

    def to_json(self) -> str:
        """The description as JSON text."""
        return json.dumps(self.to_dict(), indent=1)

    def build(self) -> MobileNet:
        """The network, with fresh weights; see :func:`block_network`."""
        return block_network(self)

    @classmethod
    def from_dict(cls, record: Mapping[str, Any], where: str = "the description") -> Description:
        """The description whose fields ``record`` has.

        Raises:
            InputError: it has other fields, values of another kind or out of range, or more weights than can be built.
        """
        blocks, shape = record.get("blocks"), record.get("input_shape")
        if not isinstance(blocks, list | tuple) or not all(isinstance(block, Mapping) for block in blocks):
            raise InputError(f"{where} describes no network of blocks; write it by netsmith specialize")
        if len(blocks) > MOST_BLOCKS:
            raise InputError(f"{where} has {len(blocks)} blocks; at most {MOST_BLOCKS} are built")
        if not isinstance(shape, list | tuple) or len(shape) != 3 or not all(_is_side(n) for n in shape):
            raise InputError(f"{where}: input_shape must be three whole numbers above 0, not {shown(shape)}")
        read = tuple(read_mapping(Block, block, f"{where}, block {i}", _PAGE) for i, block in enumerate(blocks, 1))
        even = next((b.kernel for b in read if b.kernel % 2 == 0), None)
        if even is not None:
            raise InputError(f"{where}: kernels must be odd, not {even}")
        values = {**record, "blocks": read, "input_shape": tuple(shape)}
        found: Description = read_mapping(cls, values, where, _PAGE)
        if found.weights > MOST_WEIGHTS:
            raise InputError(f"{where} has {found.weights:.2g} weights; at most {MOST_WEIGHTS:.0e} are built")
        return found


def _is_side(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 65536


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
