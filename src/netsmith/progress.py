"""Telling a person what a long job does: one live line on a terminal, plain lines elsewhere, or nothing."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TextIO

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID

_QUIET_S = 2.0  # shorter waits need no line of their own
_EVERY_S = 10.0  # between two plain lines of one stage


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

    def stage(self, name: str) -> None:
        self._finish()
        self._name, self._began, self._last = name, self._clock(), self._clock()
        self._write(name)

    def update(self, done: float, total: float, text: str = "") -> None:
        now = self._clock()
        if now - self._last < _EVERY_S:
            return
        self._last = now
        left = remaining(now - self._began, done, total)
        parts = [f"{min(1.0, done / total):.0%}" if total else "", text, f"{clock(left)} left" if left else ""]
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

    def __init__(self, console: Console) -> None:
        from rich.progress import BarColumn, SpinnerColumn, TextColumn
        from rich.progress import Progress as Bar

        self._console = console
        self._bar = Bar(
            SpinnerColumn(), TextColumn("[bold]{task.description}"), BarColumn(24), TextColumn("{task.fields[left]}"),
            TextColumn("[dim]{task.fields[text]}"), console=console, transient=True, refresh_per_second=5,
        )  # fmt: skip
        self._task: TaskID | None = None
        self._name = ""
        self._began = time.monotonic()

    def stage(self, name: str) -> None:
        self._finish()
        self._name, self._began = name, time.monotonic()
        self._task = self._bar.add_task(_plain(name), total=None, left="", text="")
        self._bar.start()

    def update(self, done: float, total: float, text: str = "") -> None:
        if self._task is None:
            return
        left = remaining(time.monotonic() - self._began, done, total)
        share = f"{min(1.0, done / total):.0%}" if total else ""
        shown = f"{share}, {clock(left)} left" if left else share
        self._bar.update(self._task, completed=done, total=total or None, left=shown, text=_plain(text))

    def note(self, sentence: str) -> None:
        self._console.print(_plain(sentence), highlight=False)

    def close(self, failed: bool = False) -> None:
        self._finish(failed)
        self._bar.stop()

    def _finish(self, failed: bool = False) -> None:
        if self._task is None:
            return
        took = time.monotonic() - self._began
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


def remaining(elapsed_s: float, done: float, total: float) -> float | None:
    """Seconds left at the pace so far, or None before there is a pace."""
    if done <= 0 or total <= 0 or done >= total or elapsed_s < _QUIET_S:
        return None
    return elapsed_s * (total - done) / done


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
