"""Networks that hold choices: spaces of blocks, and the network of all paths through one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from netsmith.supernets.space import BlockSpace, load_space, space_names

if TYPE_CHECKING:
    from netsmith.supernets.supernet import SuperNet

__all__ = ["BlockSpace", "SuperNet", "load_space", "space_names"]


def __getattr__(name: str) -> Any:
    if name == "SuperNet":
        from netsmith.supernets.supernet import SuperNet

        return SuperNet
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
