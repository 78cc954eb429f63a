"""A progress that keeps what it is told and may interrupt."""

from __future__ import annotations

from collections.abc import Callable

from netsmith.progress import Silent


class Listener(Silent):
    """Keeps notes and names of stages; ``on_update`` is called with the words of every update."""

    def __init__(self, on_update: Callable[[str], None] = lambda text: None) -> None:
        self.notes: list[str] = []
        self.stages: list[str] = []
        self._on_update = on_update

    def stage(self, name: str) -> None:
        self.stages.append(name)

    def update(self, done: float, total: float, text: str = "") -> None:
        self._on_update(text)

    def note(self, sentence: str) -> None:
        self.notes.append(sentence)
