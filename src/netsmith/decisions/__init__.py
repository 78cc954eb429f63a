"""What can be chosen about a network, what each choice does to it, and what designs cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netsmith.lazy import lazy_names

if TYPE_CHECKING:
    from netsmith.decisions.given import GivenSpace
    from netsmith.decisions.kind import Deltas, Kind, on_top
    from netsmith.decisions.pricing import Pricing
    from netsmith.decisions.registry import Given, register_kind
    from netsmith.decisions.tools import Tools

__all__ = ["Deltas", "Given", "GivenSpace", "Kind", "Pricing", "Tools", "on_top", "register_kind"]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "given": ("GivenSpace",),
        "kind": ("Deltas", "Kind", "on_top"),
        "pricing": ("Pricing",),
        "registry": ("Given", "register_kind"),
        "tools": ("Tools",),
    },
)
