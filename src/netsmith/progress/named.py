"""One of several networks that a job makes: its stages say which it is."""

from __future__ import annotations

from dataclasses import dataclass

from netsmith.progress.contract import Progress, Silent


@dataclass
class Named(Silent):
    """Reports stages under names of their own: ``build (network 2 of 6)``; plans and ends are the whole job's."""

    outer: Progress
    name: str

    def stage(self, name: str) -> None:
        self.outer.stage(f"{name} ({self.name})")

    def update(self, done: float, total: float, text: str = "") -> None:
        self.outer.update(done, total, text)

    def note(self, sentence: str) -> None:
        self.outer.note(sentence)
