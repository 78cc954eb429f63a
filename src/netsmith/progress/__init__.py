"""Telling a person what a long job does: one live line on a terminal, plain lines elsewhere, a log, or nothing."""

from __future__ import annotations

import sys

from netsmith.progress.contract import Part, Progress, Silent, Tee, Within, progress_of, training_events
from netsmith.progress.lines import Lines
from netsmith.progress.live import Live
from netsmith.progress.log import Log, traceback_place
from netsmith.progress.named import Named

__all__ = [
    "Lines",
    "Live",
    "Log",
    "Named",
    "Part",
    "Progress",
    "Silent",
    "Tee",
    "Within",
    "make_progress",
    "progress_of",
    "traceback_place",
    "training_events",
]  # fmt: skip


def make_progress(*, silent: bool = False) -> Progress:
    """The progress that fits where standard error goes to; results on standard output stay clean."""
    if silent:
        return Silent()
    if not sys.stderr.isatty():
        return Lines()
    from rich.console import Console

    return Live(Console(stderr=True))
