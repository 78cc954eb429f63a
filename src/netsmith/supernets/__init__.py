"""Networks that hold choices: spaces of blocks, and the network of all paths through one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netsmith.lazy import lazy_names
from netsmith.supernets.space import BlockSpace, load_space, space_names

if TYPE_CHECKING:
    from netsmith.supernets.supernet import SuperNet

__all__ = ["BlockSpace", "SuperNet", "load_space", "space_names"]

__getattr__, __dir__ = lazy_names(__name__, {"supernet": ("SuperNet",)})
