"""Plain lines, for files and pipes."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import TextIO

from netsmith.progress.contract import Part
from netsmith.progress.pace import QUIET_S
from netsmith.progress.plan import Whole
from netsmith.progress.words import clock, share_done


class Lines:
    """Plain lines: one when a stage begins, then one every ten seconds at most.

    Args:
        stream: where to write.
        clock: seconds, monotonic.
        every_s: between two lines of one stage.
    """

    def __init__(
        self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic, every_s: float = 10.0
    ) -> None:
        self._stream = stream or sys.stderr
        self._clock, self._every_s = clock, every_s
        self._whole, self._last = Whole(clock), clock()

    def plan(self, job: str, parts: Sequence[Part]) -> None:
        known = self._whole.job
        self._whole.plan(job, parts)
        if not known:  # a job within a larger one has told its stages already
            self._write(self._whole.overview)

    def stage(self, name: str) -> None:
        self._finish()
        self._whole.begin(name)
        self._last = self._clock()
        self._write(self._whole.title)

    def update(self, done: float, total: float, text: str = "") -> None:
        self._whole.update(done, total)
        now = self._clock()
        if now - self._last < self._every_s:
            return
        self._last = now
        parts = [share_done(done, total), text, str(self._whole.left() or "")]
        self._write(f"{self._whole.name}: " + ", ".join(p for p in parts if p))

    def note(self, sentence: str) -> None:
        self._write(sentence)

    def close(self, failed: bool = False) -> None:
        self._finish(failed)

    def _finish(self, failed: bool = False) -> None:
        name = self._whole.name
        took = self._whole.end()
        if name and took >= QUIET_S:
            self._write(f"{name}: {'stopped after' if failed else 'done in'} {clock(took)}")

    def _write(self, line: str) -> None:
        print(line, file=self._stream, flush=True)
