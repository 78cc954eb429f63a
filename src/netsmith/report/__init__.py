"""What people read: tables in a terminal, and a run as one HTML page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netsmith.lazy import lazy_names

if TYPE_CHECKING:
    from netsmith.report.claims import show_claims
    from netsmith.report.console import (
        show_comparison,
        show_mapping,
        show_profile,
        show_summary,
        show_targets,
        show_training,
    )
    from netsmith.report.explore_console import show_exploration
    from netsmith.report.page import write_report
    from netsmith.report.predictions import show_predictions
    from netsmith.report.specialization import show_specialization

__all__ = [
    "show_claims", "show_comparison", "show_exploration", "show_mapping", "show_predictions", "show_profile",
    "show_specialization",
    "show_summary", "show_targets", "show_training", "write_report",
]  # fmt: skip

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "claims": ("show_claims",),
        "console": ("show_comparison", "show_mapping", "show_profile", "show_summary", "show_targets", "show_training"),
        "explore_console": ("show_exploration",),
        "page": ("write_report",),
        "predictions": ("show_predictions",),
        "specialization": ("show_specialization",),
    },
)
