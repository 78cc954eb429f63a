"""One live line, for terminals."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from netsmith.errors import one_line
from netsmith.progress.contract import Part
from netsmith.progress.pace import QUIET_S
from netsmith.progress.plan import Left, Whole
from netsmith.progress.words import clock, share_done

if TYPE_CHECKING:
    from rich.console import Console, OverflowMethod
    from rich.text import Text

_BAR = 24  #: cells of the bar, where there is room for it
_LEAST_BAR, _LEAST_TEXT = 6, 12  #: cells below which it is left out
_A_SECOND = 5  #: how often the line is drawn


class Live:
    """One line with a bar and the time left; a finished stage leaves a line if it took two seconds."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        from rich.live import Live as Area

        self._console, self._clock = console, clock
        self._whole = Whole(clock)
        self._shown: _Shown | None = None
        self._area = Area(
            get_renderable=self._line, console=console, transient=True, refresh_per_second=_A_SECOND,
        )  # fmt: skip

    def plan(self, job: str, parts: Sequence[Part]) -> None:
        self._whole.plan(job, parts)
        self._show()

    def stage(self, name: str) -> None:
        self._finish()
        self._whole.begin(name)
        self._show()
        self._area.start()
        self._area.refresh()

    def update(self, done: float, total: float, text: str = "") -> None:
        if self._whole.name:
            self._whole.update(done, total)
            self._show(min(1.0, done / total) if total else None, share_done(done, total), text)

    def note(self, sentence: str) -> None:
        from rich.markup import escape

        self._console.print(escape(sentence), highlight=False)

    def close(self, failed: bool = False) -> None:
        self._finish(failed)
        self._area.stop()

    def _finish(self, failed: bool = False) -> None:
        from rich.markup import escape

        name, self._shown = self._whole.name, None
        took = self._whole.end()
        if name and took >= QUIET_S:
            mark = "[red]✗[/]" if failed else "[green]✓[/]"
            self._console.print(f"{mark} {escape(name)} [dim]{clock(took)}[/]", highlight=False)

    def _show(self, share: float | None = None, percent: str = "", text: str = "") -> None:
        """Keep what the line is drawn from, by another thread, until there is something new."""
        now, place = self._clock(), self._whole.place
        title = self._whole.name
        if place:
            title = f"{self._whole.job} {place[0]}/{place[1]} {title}"
        self._shown = _Shown(
            one_line(title), share, percent, one_line(text), self._whole.left(), now, self._whole.began
        )

    def _line(self) -> Text:
        from rich.text import Text

        shown = self._shown
        if shown is None:
            return Text("")
        options = self._console.options
        return shown.line(options.max_width - 1, self._clock(), options.ascii_only)  # the last column makes some wrap


@dataclass(frozen=True)
class _Shown:
    """What the live line says.

    Attributes:
        title: of the stage, with its place in the plan.
        share: of the stage that is done, in 0..1, or None; ``percent`` in words.
        text: the latest figure.
        left: as it was at ``at``.
        began: when the stage did.
    """

    title: str
    share: float | None
    percent: str
    text: str
    left: Left | None
    at: float
    began: float

    def line(self, width: int, now: float, ascii_only: bool) -> Text:
        """The line at a time, in so many cells: what there is no room for is left out, the latest figure first."""
        from rich.text import Text

        spinner = "-\\|/"[int(now * _A_SECOND) % 4] if ascii_only else "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"[int(now * _A_SECOND) % 10]
        left = str(self.left.after(now - self.at)) if self.left else ""
        said = ", ".join(p for p in (self.percent or clock(now - self.began), left) if p)
        cut: OverflowMethod = "crop" if ascii_only else "ellipsis"
        line = Text(no_wrap=True, overflow=cut)
        line.append(f"{spinner} ", "green").append(self.title, "bold")
        room = width - line.cell_len - len(said) - 1
        if self.share is not None and room > _LEAST_BAR:
            cells = min(_BAR, room - 1)
            full, bar = int(self.share * cells), "-" if ascii_only else "━"
            line.append(" ").append(bar * full, "green").append(bar * (cells - full), "bright_black")
        line.append(f" {said}")
        room = width - line.cell_len - 1
        if self.text and room >= _LEAST_TEXT:
            text = Text(f" {self.text}", "dim")
            text.truncate(room, overflow=cut)
            line.append_text(text)
        line.truncate(width, overflow=cut)
        return line
