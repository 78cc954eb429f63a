"""What people read: tables in a terminal, and a run as one HTML page."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from netsmith.report.console import (
        show_comparison,
        show_mapping,
        show_profile,
        show_summary,
        show_targets,
        show_training,
    )
    from netsmith.report.page import write_report
    from netsmith.report.predictions import show_predictions
    from netsmith.report.specialization import show_specialization

#: not in console.py
_ELSEWHERE = {"write_report": "page", "show_specialization": "specialization", "show_predictions": "predictions"}

__all__ = [
    "show_comparison", "show_mapping", "show_predictions", "show_profile", "show_specialization", "show_summary",
    "show_targets", "show_training", "write_report",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_ELSEWHERE.get(name, 'console')}"), name)
