"""The log of a run, ``log.txt``: how it began and ended, and between that everything that was reported."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from netsmith.errors import NetsmithError
from netsmith.progress import Log
from netsmith.runs.names import LOG
from netsmith.units import reached_of


class RunLog(Log):
    """Appends to the log of a run folder.

    Args:
        folder: of the run.
        config: its options.
        resumed: whether the run goes on.
    """

    def __init__(self, folder: Path, config: Mapping[str, Any], resumed: bool) -> None:
        super().__init__(folder / LOG)
        named = ", ".join(str(config[key]) for key in ("model", "space", "data", "target") if config.get(key))
        self.note(f"{config.get('job', 'run')} of {named} {'resumed' if resumed else 'started'}")

    def finished(self, summary: Mapping[str, Any]) -> None:
        """Log what the run came to."""
        for warning in summary.get("warnings", ()):
            self.note(f"warning: {warning}")
        for budget in summary["budgets"]:
            reached = reached_of({budget["cost"]: budget["value"]}, {budget["cost"]: budget["limit"]})
            self.note(f"finished: {reached}, {'met' if budget['met'] else 'not met'}")

    def ended_by(self, error: BaseException) -> None:
        """Log what ended the run, with the traceback of what nobody foresaw."""
        self.close(failed=True)
        if isinstance(error, NetsmithError):
            self.note(f"error: {error}")
        elif isinstance(error, KeyboardInterrupt):
            self.note("interrupted")
        else:
            self.error(error)
