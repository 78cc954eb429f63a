"""What can be chosen about a network, what each choice does to it, and what designs cost."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from netsmith.decisions.given import GivenSpace
    from netsmith.decisions.kind import Deltas, Kind, on_top
    from netsmith.decisions.pricing import Pricing
    from netsmith.decisions.registry import Given, register_kind
    from netsmith.decisions.tools import Tools

# torch is loaded when a name is first used, not when the package is imported
_HOME = {
    "given": ("GivenSpace",),
    "kind": ("Deltas", "Kind", "on_top"),
    "pricing": ("Pricing",),
    "registry": ("Given", "register_kind"),
    "tools": ("Tools",),
}

__all__ = ["Deltas", "Given", "GivenSpace", "Kind", "Pricing", "Tools", "on_top", "register_kind"]


def __getattr__(name: str) -> Any:
    for module, names in _HOME.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
