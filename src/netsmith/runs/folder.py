"""The run folder: one job's place on disk, from which it is resumed, repeated and read.

    config.json    the options it was started with
    inputs.json    digests of what these named then: network, weights, data
    recorded.safetensors   what a user's loader gave, which may give other rows at its next pass
    artefacts.json digests of what the stages have built
    stages/        result of each finished stage; a killed run resumed takes them from here
    trials.sqlite  every design that was tried
    log.txt        what was shown while it ran, with times; of resumed runs too
    checkpoints/   weights while they are trained
    recipe.json, summary.json, model.onnx, model.pt2, report.html    what it came to

Every write is atomic and none goes through a link. One process at a time works in a folder.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any, Self

from netsmith import locks
from netsmith.errors import InfeasibleError, InputError, shown
from netsmith.files import read_json, to_json, to_path, write_atomic, written_for
from netsmith.progress import Progress, Tee
from netsmith.runs.artefacts import Artefacts
from netsmith.runs.front_record import FRONT_FILE
from netsmith.runs.log import RunLog
from netsmith.runs.names import (
    ARTEFACTS,
    BEFORE,
    CONFIG,
    INPUTS,
    LOCK,
    LOG,
    RECORDED,
    SUMMARY,
    foreign,
    is_own,
    leftovers,
    refuse_link,
    refuse_links,
    remove,
)
from netsmith.runs.options import FORMAT, check_same, read_config
from netsmith.runs.place import acquire, made
from netsmith.runs.summary import check_summary
from netsmith.runs.trials import TrialLog
from netsmith.shapes import Anything, Record, Text

_STAGE = Record({"digest": Text(), "check": Text(), "value": Anything()})
#: what comes of results that lack something, or hold other than they should, wherever they are used
_OF_VALUES = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError)
_STAGE_REMEDY = "delete it and use --resume, which computes it again"


class Run:
    """A run folder. Use :meth:`create`, :meth:`resume`, :meth:`start` or, to read only, :meth:`open`; then ``with``.

    Attributes:
        folder: where it is.
        config: its options.
    """

    def __init__(self, folder: Path, config: dict[str, Any], lock: int | None) -> None:
        self.folder = folder
        self.config = config
        self._lock = lock
        self._trials = TrialLog(folder / "trials.sqlite")
        self._artefacts = Artefacts(folder)
        self._log: RunLog | None = None
        self._goes_on = False  #: whether a result of an earlier process was taken
        self._making: list[set[str]] = []  #: files that the stages that run now have made, the innermost last

    @classmethod
    def create(cls, path: str | Path, config: Mapping[str, Any]) -> Run:
        """Start a run in a new or an empty folder.

        Args:
            config: option name -> JSON value; the names are those of the command line, for messages.

        Raises:
            InputError: the folder is not empty, cannot be written, or is in use.
        """
        folder = made(path)
        lock = acquire(folder)
        try:
            # what a run leaves that was killed before it had a config.json does not count
            begun = [ARTEFACTS] if Artefacts(folder).is_begun() and not (folder / CONFIG).exists() else []
            names = [p.name for p in folder.iterdir() if p.name not in (LOCK, *begun)]
            present = sorted(n for n in names if not (written_for(Path(n)) and is_own(n, (CONFIG, ARTEFACTS))))
            if present:
                resumable = "go on with it by --resume, or " if CONFIG in present else ""
                raise InputError(f"{folder} is not empty (it has {present[0]}); {resumable}choose another --out")
            options = _plain(config)
            Artefacts(folder).begin()
            write_atomic(folder / CONFIG, to_json({"format": FORMAT, "options": options, "artefacts": ARTEFACTS}))
            return cls(folder, options, lock)
        except BaseException:
            locks.release(lock)
            raise

    @classmethod
    def resume(cls, path: str | Path, config: Mapping[str, Any]) -> Run:
        """Go on with the run in ``path``.

        Raises:
            InputError: an option differs from those the run was started with, a file is damaged, or it is in use.
        """
        folder = to_path(path)
        known = read_config(folder)
        lock = acquire(folder)
        run = cls(folder, known, lock)
        try:
            check_same(folder, known, _plain(config))
            refuse_links(folder)
            for name in ("stages", "checkpoints"):
                if (folder / name).exists() and not (folder / name).is_dir():
                    raise InputError(f"{folder / name} is damaged, it must be a folder; delete it and use --resume")
            run._trials.check()
            for leftover in leftovers(folder):
                (folder / leftover).unlink(missing_ok=True)
            run._artefacts.check(whole=False)
            return run
        except BaseException:
            run.close()
            raise

    @classmethod
    def start(cls, path: str | Path, config: Mapping[str, Any], *, resume: bool = False) -> Run:
        """:meth:`resume` if asked to and there is something to go on with, else :meth:`create`."""
        if resume and (to_path(path) / CONFIG).exists():
            return cls.resume(path, config)
        return cls.create(path, config)

    @classmethod
    def open(cls, path: str | Path) -> Run:
        """Read a run, finished or not, without locking it.

        Raises:
            InputError: it is no run folder, or has links.
        """
        folder = to_path(path, "the run")
        config = read_config(folder)
        refuse_links(folder)
        return cls(folder, config, None)

    @property
    def job(self) -> str:
        """Which command it is a run of."""
        return str(self.config.get("job", ""))

    def pin(self, contents: Mapping[str, str]) -> None:
        """Bind the run to what its options name, before its first stage: the same words may name something else later.

        Args:
            contents: what it is, in words for messages -> digest.

        Raises:
            InputError: this run was started with other contents; names which.
        """
        path = self.path(INPUTS)
        if not path.exists():
            if any((self.folder / "stages").glob("*.json")):
                raise InputError(
                    f"{path} is missing, so nobody knows whether {self.folder} was started with the same network and "
                    "data; start again in another folder"
                )
            write_atomic(path, to_json(dict(contents)))
            return
        known = read_json(path, "start again in another folder")
        if not isinstance(known, dict):
            raise InputError(f"{path} is damaged, it holds no digests; start again in another folder")
        changed = [what for what in {**known, **contents} if known.get(what) != contents.get(what)]
        if changed:
            raise InputError(
                f"{' and '.join(changed)} changed since {self.folder} was started; put back what was there or choose "
                "another --out"
            )

    def path(self, name: str) -> Path:
        """Path of a file of the run; the folder it lies in exists.

        Raises:
            InputError: the name leads out of the run folder, or the folder cannot be made.
        """
        parts = PurePosixPath(name)
        if parts.is_absolute() or ".." in parts.parts or not parts.parts:
            raise InputError(f"{name!r} is no file of a run; give a name inside {self.folder}")
        target = self.folder.joinpath(*parts.parts)
        refuse_link(self.folder, name)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{target.parent} cannot be made ({error.strerror}); choose another --out") from error
        return target

    def place(self, name: str) -> Path:
        """:meth:`path` of a file that is built now; once the stage is over, the run knows what it must hold."""
        target = self.path(name)
        self._artefacts.forget([name])
        if self._making:
            self._making[-1].add(name)
        return target

    def write_bytes(self, name: str, content: bytes) -> Path:
        """Write a file of the run atomically; see :meth:`place` for the name."""
        target = self.place(name)
        write_atomic(target, content)
        return target

    def write_text(self, name: str, content: str) -> Path:
        """Like :meth:`write_bytes`, in UTF-8."""
        return self.write_bytes(name, content.encode())

    def write_json(self, name: str, value: Any) -> Path:
        """Like :meth:`write_bytes`, as JSON."""
        return self.write_text(name, to_json(value))

    def stage(self, name: str, compute: Callable[[], Any], inputs: Any = None) -> Any:
        """Result of ``compute``, from disk if the stage was finished before with equal inputs.

        The result passes through JSON either way, so a resumed run sees what a fresh one sees, to the last bit. Files
        that the stage built and that have gone since are built again; what was measured beside them stays.

        Args:
            name: of the stage; a file name, see :meth:`digest` for one that tells inputs apart.
            compute: returns JSON values (or NumPy ones, which become lists).
            inputs: what the result depends on besides the run's options.

        Raises:
            InputError: the stored result is damaged, or the result cannot be stored.
        """
        digest = digest_of(self.config, name, inputs)
        stored = self.path(f"stages/{name}.json")
        known: tuple[Any, dict[str, str]] | None = None
        if stored.exists():
            remedy = _STAGE_REMEDY
            record = read_json(stored, remedy)
            if _STAGE.problem(record, "") is not None:
                raise InputError(f"{stored} is damaged, it is no result of a stage; {remedy}")
            if record["digest"] == digest:
                if record["check"] != digest_of(record["value"]):
                    raise InputError(f"{stored} is damaged or was edited; {remedy}")
                self._goes_on = True
                if not self._artefacts.missing(name):
                    return record["value"]
                known = record["value"], self._artefacts.of(name)
        if known is not None:
            stored.unlink()  # a run that is killed while it builds them again has not finished the stage
        self._making.append(set())
        try:
            value = _plain(compute())
        finally:
            made = self._making.pop()
        self._artefacts.note(name, made)
        if known is not None and known[1] == self._artefacts.of(name):
            value = known[0]
        write_atomic(stored, to_json({"stage": name, "digest": digest, "check": digest_of(value), "value": value}))
        return value

    def digest(self, name: str, inputs: Any) -> str:
        """A stage name for one of many inputs: ``name`` and a digest of ``inputs``."""
        return f"{name}-{digest_of(inputs)}"

    def stored(self, name: str, inputs: Any = None) -> bool:
        """Whether :meth:`stage` would take the result of these inputs from disk."""
        path = self.folder / "stages" / f"{name}.json"
        if not path.exists():
            return False
        record = read_json(path, _STAGE_REMEDY)
        return _STAGE.problem(record, "") is None and bool(record["digest"] == digest_of(self.config, name, inputs))

    def done(self, name: str) -> bool:
        """Whether a stage has a stored result (of whatever inputs)."""
        return (self.folder / "stages" / f"{name}.json").exists()

    def log_trial(
        self, design: Sequence[int], losses: Mapping[str, float], costs: Mapping[str, float], kind: str = "search"
    ) -> None:
        """Log a design that was tried; logged again with the same ``kind`` it renews its row.

        Args:
            design: choice indices.
            losses: name -> value, lower is better, accuracies under a name of their own.
            costs: name -> value in SI units.
            kind: which strategy or step tried it.
        """
        self._trials.add(kind, design, losses, costs)

    def trials(self) -> list[dict[str, Any]]:
        """All trials in order, each ``{"id", "kind", "design", "losses", "costs"}``."""
        return self._trials.rows()

    def logged(self, progress: Progress) -> Progress:
        """What reports to ``progress`` and to the run's log; how the run ends is logged from now on, too."""
        self._log = RunLog(self.folder, self.config, resumed=(self.folder / LOG).exists())
        return Tee(progress, self._log)

    def finish(self, summary: Mapping[str, Any]) -> dict[str, Any]:
        """Check and write ``summary.json``: the run is over. Returns what the file holds.

        Raises:
            InputError: the summary does not keep its schema, see ``check_summary``; or it cannot be written.
        """
        plain = _plain(summary)
        check_summary(plain)
        self.write_json(SUMMARY, plain)
        self._artefacts.note("summary", [SUMMARY, *([FRONT_FILE] if plain.get("front") else [])])
        if self._log is not None:
            self._log.finished(plain)
        return dict(plain)

    def faults(self) -> dict[str, str]:
        """Every file that the run has built or stored -> ``""``, ``missing`` or ``changed``; for those who check all.

        Raises:
            InputError: the list of built files is damaged.
        """
        found = self._artefacts.faults()
        for stored in sorted((self.folder / "stages").glob("*.json")):
            try:
                record = read_json(stored, _STAGE_REMEDY)
                good = _STAGE.problem(record, "") is None and record["check"] == digest_of(record["value"])
            except InputError:
                good = False
            found[f"stages/{stored.name}"] = "" if good else "changed"
        return found

    def summary(self) -> dict[str, Any]:
        """The checked ``summary.json`` of a run whose files are all as it built them.

        Raises:
            InputError: the run is not finished, or a file is missing or damaged.
        """
        target = self.folder / SUMMARY
        if not target.exists():
            raise InputError(f"{self.folder} is not finished, it has no summary.json; repeat its command with --resume")
        self._artefacts.check(whole=True)
        summary = read_json(target, "repeat the run's command with --resume")
        check_summary(summary, str(target))
        return dict(summary)

    def network(self) -> Run:
        """The finished run that the network lies in: this one, or of a front that of the chosen network.

        Raises:
            InputError: either is not finished, or a file of either is missing or damaged.
        """
        front = self.summary().get("front")
        if not front:
            return self
        chosen = Run.open(self.folder / front["chosen"])
        chosen.summary()
        return chosen

    def discard(self) -> None:
        """Forget a run that never finished a stage, so that its folder can be used again; any other run stays."""
        if not (self.folder / "stages").exists():
            self._log = None
            for name in (LOG, RECORDED, INPUTS, ARTEFACTS, CONFIG):
                (self.folder / name).unlink(missing_ok=True)

    def abandon(self) -> None:
        """Forget a run whose budgets nothing meets, so that its folder takes other ones.

        With the same options it would end so again, and what it knows is of no use with others. A run with weights that
        were trained, or with anything but what leads up to them, stays.
        """
        trained = any((self.folder / "checkpoints").rglob("*.safetensors"))
        if not trained and not foreign(self.folder, (CONFIG, LOCK, *BEFORE)):
            remove(self.folder)

    def close(self) -> None:
        """Let other processes use the folder."""
        if self._lock is not None:
            locks.release(self._lock)
            self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._log is not None and error is not None:
            self._log.ended_by(error)
        if isinstance(error, InfeasibleError):
            self.abandon()
        self.close()
        if self._goes_on and isinstance(error, _OF_VALUES):
            raise InputError(
                f"the results in {self.folder / 'stages'} that the run goes on from do not fit together "
                f"({shown(f'{type(error).__name__}: {error}', 100)}); if one of them was edited, start again in "
                f"another folder, else please report it with {self.folder / LOG}, which has the traceback"
            ) from error


def _plain(value: Any) -> Any:
    """The value as it comes back from a file."""
    return json.loads(to_json(value))


def digest_of(*values: Any) -> str:
    """A short digest of JSON values: stages have one of what they depend on and, as ``check``, one of their result."""
    return hashlib.sha256(to_json(values, sort=True).encode()).hexdigest()[:16]
