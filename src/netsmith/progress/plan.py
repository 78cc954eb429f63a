"""Where a job is in its plan, and how long the whole of it goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from netsmith.progress.contract import Part
from netsmith.progress.pace import Pace
from netsmith.progress.words import clock, roughly

_SURE = 0.25  #: share of what is left that may be a guess, where the estimate is not called one
_BASIS = 0.1  #: of what is left: so much must be behind before anything is guessed from it
_PRIOR = 0.02  #: of the plan counts as done at the speed that its seconds are of, so that one short stage rules nothing
_FADES = 0.5  #: the weight of what earlier stages tell of the speed, with every further one
_OVERDUE = 0.2  #: of what a stage has taken is left of it at least, as long as nobody knows


@dataclass(frozen=True)
class Left:
    """How long something goes on.

    Attributes:
        seconds: an estimate.
        of: "the job" or "this stage"; nothing where there is no plan.
        about: whether it is a guess rather than a pace that goes on.
    """

    seconds: float
    of: str
    about: bool = False

    def after(self, seconds: float) -> Left:
        """The same, so many seconds later."""
        return Left(max(self.seconds - seconds, 0.0), self.of, self.about)

    def __str__(self) -> str:
        left = f"about {roughly(self.seconds)}" if self.about else clock(self.seconds)
        return f"{left} left" + (f" of {self.of}" if self.of else "")


class Whole:
    """A job's stages as they begin and end, beside its plan.

    The rest of the running stage goes by its pace; stages that come again take as long as before; those that have not
    begun take what the plan says, at the speed that the ones before them had. A stage that begins out of turn was
    either left out, as its result came from disk, or comes again, and those after it do too.

    Args:
        clock: seconds, monotonic.

    Attributes:
        job: what the plan is of.
        name: of the running stage; empty between two.
        began: when that was.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.job, self.name = "", ""
        self._parts: list[Part] = []
        self._at: int | None = None  #: the running stage, if it is one of the plan
        self._took: dict[int, float] = {}  #: seconds of stages that are over, as they last came
        self.began = self._updated = clock()
        self._pace, self._rest = Pace(self.began), None  # type: Pace, float | None

    def plan(self, job: str, parts: Sequence[Part]) -> None:
        """See ``Progress.plan``."""
        begun = self._parts[: max([*self._took, -1 if self._at is None else self._at], default=-1) + 1]
        known = {part.name for part in begun}
        self._parts = [*begun, *(part for part in parts if part.name not in known)]
        self.job = self.job or job
        if self._at is None:
            self._at = self._index(self.name)

    def begin(self, name: str) -> None:
        """A stage begins; :meth:`end` the one before it first."""
        self.name, self.began = name, self._clock()
        self._updated, self._pace, self._rest = self.began, Pace(self.began), None
        before, self._at = self._at, self._index(name)
        if self._parts and self._at is None and name:  # nobody planned it
            self._at = 0 if before is None else before + 1
            self._parts.insert(self._at, Part(name, 0.0))
            self._took = {i + (i >= self._at): s for i, s in self._took.items()}

    def end(self) -> float:
        """The running stage is over; returns the seconds that it took."""
        took = self._clock() - self.began
        if self._at is not None and self.name:
            self._took[self._at] = took
        self.name = ""
        return took

    def update(self, done: float, total: float) -> None:
        """So much of the running stage is done."""
        self._updated = self._clock()
        rest = self._pace.left(self._updated, done, total)
        self._rest = 0.0 if done >= total > 0 else rest

    @property
    def place(self) -> tuple[int, int] | None:
        """Which stage runs, counted from 1, and how many there are; None without a plan."""
        return None if self._at is None else (self._at + 1, len(self._parts))

    @property
    def overview(self) -> str:
        """The stages of the plan by name: what a job will do, and what of it came from disk or was not needed."""
        return f"{self.job} has {len(self._parts)} stages: {', '.join(part.name for part in self._parts)}"

    @property
    def title(self) -> str:
        """``stage 3 of 9: sensitivity``."""
        return f"stage {self.place[0]} of {self.place[1]}: {self.name}" if self.place else self.name

    def left(self) -> Left | None:
        """How long the job goes on; only the running stage where there is no basis for that, or None."""
        now = self._clock()
        rest = None if self._rest is None else max(self._rest - (now - self._updated), 0.0)
        if self._at is None:
            return None if rest is None else Left(rest, "this stage" if self._parts else "")
        elapsed, part = now - self.began, self._parts[self._at]
        behind, speed = self._speed(elapsed, rest)
        expected = {
            i: self._took.get(i, p.seconds * (max(1.0, speed) if p.fixed else speed)) for i, p in enumerate(self._parts)
        }
        sure = sum(s for i, s in expected.items() if i > self._at and i in self._took)
        guessed = sum(s for i, s in expected.items() if i > self._at) - sure
        if rest is None or part.loops:
            own = max(expected[self._at] - elapsed, _OVERDUE * elapsed if rest is None else rest)
            guessed += own
        else:
            sure += rest
        whole = sure + guessed
        if guessed <= _SURE * whole:
            return Left(whole, "the job") if whole > 0 else None
        if behind >= _BASIS * whole:
            return Left(whole, "the job", about=True)
        return None if rest is None or part.loops else Left(rest, "this stage")

    def _speed(self, elapsed: float, rest: float | None) -> tuple[float, float]:
        """Seconds that are a basis for a guess, and seconds here for one of the plan's."""
        assert self._at is not None
        part = self._parts[self._at]
        took = {i: s for i, s in self._took.items() if i != self._at and not self._parts[i].fixed}
        behind = sum(took.values())
        if part.fixed:
            return behind, self._seconds_for_one(took)
        if rest is not None and not part.loops:
            return behind + elapsed, self._seconds_for_one(took | {self._at: elapsed + rest})
        speed = self._seconds_for_one(took)
        # a stage that takes longer than expected tells something too, one that has not yet does not
        return behind, self._seconds_for_one(took | {self._at: elapsed}) if elapsed > speed * part.seconds else speed

    def _seconds_for_one(self, took: dict[int, float]) -> float:
        """Seconds here for one of the plan's, from what stages took."""
        here = planned = _PRIOR * sum(part.seconds for part in self._parts if not part.fixed)
        for i in sorted(took):  # how busy the machine is changes: the later a stage, the more it counts
            if self._parts[i].seconds > 0:
                here, planned = _FADES * here + took[i], _FADES * planned + self._parts[i].seconds
        return here / planned if planned > 0 else 1.0

    def _index(self, name: str) -> int | None:
        """Where a stage is in the plan: the next of that name, else the one that comes again."""
        found = [i for i, part in enumerate(self._parts) if part.name == name]
        return found[0] if found else None
