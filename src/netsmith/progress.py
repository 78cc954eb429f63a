"""Telling a person what a long job does: one live line on a terminal, plain lines elsewhere, or nothing."""

from __future__ import annotations

import math
import sys
import time
from bisect import bisect_right
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TextIO

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID

_QUIET_S = 2.0  # shorter waits need no line of their own
_EVERY_S = 10.0  # between two plain lines of one stage
_SAMPLE_S, _SAMPLES = 0.2, 1000  # between two times that a pace remembers, and how many at most
_SHARE, _LONG_S = 0.05, 30.0  # of the work, or seconds, without which there is no estimate


class Progress(Protocol):
    """What jobs report to. ``update`` may be handed on as the ``(done, total)`` callback of lower rooms."""

    def stage(self, name: str) -> None:
        """A new stage begins (and the one before it is done)."""
        ...

    def update(self, done: float, total: float, text: str = "") -> None:
        """``done`` of ``total`` units of the stage are done; ``text`` is the latest figure, a few words."""
        ...

    def note(self, sentence: str) -> None:
        """Something that should stay on the screen."""
        ...

    def close(self, failed: bool = False) -> None:
        """The job is over; clears the live line. What ``failed`` ends is not called done."""
        ...


class Silent:
    """Reports nothing, for ``--json`` and for calls from Python."""

    def stage(self, name: str) -> None: ...

    def update(self, done: float, total: float, text: str = "") -> None: ...

    def note(self, sentence: str) -> None: ...

    def close(self, failed: bool = False) -> None: ...


class Lines:
    """Plain lines for files and pipes: one when a stage begins, then one every ten seconds at most.

    Args:
        stream: where to write.
        clock: seconds, monotonic.
    """

    def __init__(self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream or sys.stderr
        self._clock = clock
        self._name = ""
        self._began = self._last = clock()
        self._pace = Pace(self._began)

    def stage(self, name: str) -> None:
        self._finish()
        self._name, self._began = name, self._clock()
        self._last, self._pace = self._began, Pace(self._began)
        self._write(name)

    def update(self, done: float, total: float, text: str = "") -> None:
        now = self._clock()
        left = self._pace.left(now, done, total)
        if now - self._last < _EVERY_S:
            return
        self._last = now
        parts = [share_done(done, total), text, in_words(left)]
        self._write(f"{self._name}: " + ", ".join(p for p in parts if p))

    def note(self, sentence: str) -> None:
        self._write(sentence)

    def close(self, failed: bool = False) -> None:
        self._finish(failed)

    def _finish(self, failed: bool = False) -> None:
        took = self._clock() - self._began
        if self._name and took >= _QUIET_S:
            self._write(f"{self._name}: {'stopped after' if failed else 'done in'} {clock(took)}")
        self._name = ""

    def _write(self, line: str) -> None:
        print(line, file=self._stream, flush=True)


class Live:
    """One live line with a bar and the time left; a finished stage leaves a line if it took two seconds."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        from rich.progress import BarColumn, SpinnerColumn, TextColumn
        from rich.progress import Progress as Bar

        self._console = console
        self._clock = clock
        self._bar = Bar(
            SpinnerColumn(), TextColumn("[bold]{task.description}"), BarColumn(24), TextColumn("{task.fields[left]}"),
            TextColumn("[dim]{task.fields[text]}"), console=console, transient=True, refresh_per_second=5,
        )  # fmt: skip
        self._task: TaskID | None = None
        self._name = ""
        self._began = clock()
        self._pace = Pace(self._began)

    def stage(self, name: str) -> None:
        self._finish()
        self._name, self._began = name, self._clock()
        self._pace = Pace(self._began)
        self._task = self._bar.add_task(_plain(name), total=None, left="", text="")
        self._bar.start()

    def update(self, done: float, total: float, text: str = "") -> None:
        if self._task is None:
            return
        words = in_words(self._pace.left(self._clock(), done, total))
        shown = ", ".join(p for p in (share_done(done, total), words) if p)
        self._bar.update(self._task, completed=done, total=total or None, left=shown, text=_plain(text))

    def note(self, sentence: str) -> None:
        self._console.print(_plain(sentence), highlight=False)

    def close(self, failed: bool = False) -> None:
        self._finish(failed)
        self._bar.stop()

    def _finish(self, failed: bool = False) -> None:
        if self._task is None:
            return
        took = self._clock() - self._began
        self._bar.remove_task(self._task)
        self._task = None
        if took >= _QUIET_S:
            mark = "[red]✗[/]" if failed else "[green]✓[/]"
            self._console.print(f"{mark} {_plain(self._name)} [dim]{clock(took)}[/]", highlight=False)


def make_progress(*, silent: bool = False) -> Progress:
    """The progress that fits where standard error goes to; results on standard output stay clean."""
    if silent:
        return Silent()
    if not sys.stderr.isatty():
        return Lines()
    from rich.console import Console

    return Live(Console(stderr=True))


def training_events(progress: Progress) -> Callable[[Any], None]:
    """A callback for ``netsmith.training.fit`` that shows its events on ``progress``."""

    def show(event: Any) -> None:
        if event.message:
            progress.note(event.message)
        text = f"epoch {event.epoch}/{event.epochs}, loss {event.loss:.3f}"
        if event.search_accuracy is not None:
            text += f", accuracy {event.search_accuracy:.2%}"
        progress.update((event.epoch - 1) * event.steps + event.step, event.epochs * event.steps, text)

    return show


class Pace:
    """Estimates how long a stage goes on, from how fast its later half went so far.

    What comes first is often slow for a reason of its own (something is loaded, compiled or warmed up), and an estimate
    from it would be wrong by orders of magnitude. So the first report only starts the clock, the pace is that since
    half of the time since then, and nothing is said before a share of the work or half a minute is behind.

    Args:
        began: time of the stage's begin, of the clock that later times are of.
    """

    def __init__(self, began: float) -> None:
        self._began = began
        self._seen: list[tuple[float, float]] = []  #: time and what was done then

    def left(self, now: float, done: float, total: float) -> float | None:
        """Seconds left of the stage, or None while there is no telling; ``done`` of ``total`` are done."""
        if self._seen and done < self._seen[-1][1]:
            self._seen.clear()  # another pass begins in the same stage
        if not 0 < done < total:
            return None
        if not self._seen or now - self._seen[-1][0] >= _SAMPLE_S:
            self._seen.append((now, done))
        if len(self._seen) > _SAMPLES:
            self._seen = self._seen[::2]
        first, had = self._seen[0]
        long_enough = done - had >= _SHARE * total or now - first >= _LONG_S
        if now - self._began < _QUIET_S or not long_enough:
            return None
        half = bisect_right(self._seen, ((first + now) / 2, math.inf)) - 1
        start, behind = self._seen[half]
        return (total - done) * (now - start) / (done - behind) if done > behind else None


def share_done(done: float, total: float) -> str:
    """``37%``; 100 % only of what is done."""
    return f"{math.floor(100 * min(1.0, done / total) + 1e-9)}%" if total else ""


def in_words(left_s: float | None) -> str:
    """``50 s left``, or nothing."""
    return "" if left_s is None else f"{clock(left_s)} left"


def clock(seconds: float) -> str:
    """``75`` -> ``1 min 15 s``."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(text)
