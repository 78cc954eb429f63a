"""What a user asks for, end to end."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from netsmith.jobs.run import Run
    from netsmith.jobs.summary import all_met, check_summary

__all__ = ["Run", "all_met", "check_summary"]

#: The jobs themselves are ``netsmith.jobs.NAME.NAME``: their modules and functions share names.
_HOME = {"Run": "run", "all_met": "summary", "check_summary": "summary"}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
