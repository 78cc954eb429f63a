"""What jobs report to, and what they say of themselves: their plan of stages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from netsmith.errors import InputError, shown


@dataclass(frozen=True)
class Part:
    """A stage of a job's plan.

    Attributes:
        name: as :meth:`Progress.stage` will be told it.
        seconds: roughly how long it takes. How fast this machine is gets learned from the stages that are over, so
            what matters is how the stages compare.
        fixed: no faster machine shortens it, as timed sessions take their time.
        loops: it counts to its end several times, nobody knows how often; ``seconds`` are of all of them.
    """

    name: str
    seconds: float
    fixed: bool = False
    loops: bool = False


class Progress(Protocol):
    """What jobs report to. ``update`` may be handed on as the ``(done, total)`` callback of lower rooms."""

    def plan(self, job: str, parts: Sequence[Part]) -> None:
        """Announce the stages of the whole job, in order, each once even if it may come again.

        Announced again, within a larger job or when more is known, the parts replace what has not begun.
        """
        ...

    def stage(self, name: str) -> None:
        """A new stage begins (and the one before it is done); what it leaves out of the plan was done before."""
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

    def plan(self, job: str, parts: Sequence[Part]) -> None: ...

    def stage(self, name: str) -> None: ...

    def update(self, done: float, total: float, text: str = "") -> None: ...

    def note(self, sentence: str) -> None: ...

    def close(self, failed: bool = False) -> None: ...


def progress_of(given: Any) -> Progress:
    """Where a job reports to: nowhere for None.

    Raises:
        InputError: it is nothing that can be reported to.
    """
    if given is None:
        return Silent()
    missing = [m for m in ("plan", "stage", "update", "note", "close") if not callable(getattr(given, m, None))]
    if missing or isinstance(given, type):
        raise InputError(
            f"progress must be an object with plan, stage, update, note and close, not {shown(given)}; "
            "netsmith.progress.make_progress() makes one"
        )
    return given  # type: ignore[no-any-return]


class Tee:
    """Reports everything to several places, such as the screen and a log."""

    def __init__(self, *places: Progress) -> None:
        self._places = places

    def plan(self, job: str, parts: Sequence[Part]) -> None:
        for place in self._places:
            place.plan(job, parts)

    def stage(self, name: str) -> None:
        for place in self._places:
            place.stage(name)

    def update(self, done: float, total: float, text: str = "") -> None:
        for place in self._places:
            place.update(done, total, text)

    def note(self, sentence: str) -> None:
        for place in self._places:
            place.note(sentence)

    def close(self, failed: bool = False) -> None:
        for place in self._places:
            place.close(failed)


class Within(Silent):
    """Reports a job that is one stage of another: how far it is, and nothing else of it."""

    def __init__(self, outer: Progress) -> None:
        self._outer = outer

    def update(self, done: float, total: float, text: str = "") -> None:
        self._outer.update(done, total, text)


def training_events(progress: Progress) -> Callable[[Any], None]:
    """A callback for ``netsmith.training.fit`` that shows its events on ``progress``."""

    def show(event: Any) -> None:
        if event.message:
            progress.note(event.message)
        text = f"epoch {event.epoch}/{event.epochs}, loss {event.loss:.3f}"
        if event.score is not None:
            text += f", {event.score}"
        progress.update((event.epoch - 1) * event.steps + event.step, event.epochs * event.steps, text)

    return show
