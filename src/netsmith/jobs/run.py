"""The run folder: one job's place on disk, from which it is resumed, repeated and read.

    config.json    the options it was started with
    stages/        result of each finished stage; a killed run resumed takes them from here
    trials.sqlite  every design that was tried
    checkpoints/   weights while they are trained
    recipe.json, summary.json, model.onnx, model.pt2, report.html    what it came to

Every write is atomic. One process at a time works in a folder.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any, Self

from netsmith.errors import InfeasibleError, InputError
from netsmith.files import read_json, to_json, write_atomic
from netsmith.jobs.summary import check_summary
from netsmith.jobs.trials import TrialLog

FORMAT = 1
_LOCK = ".lock"
_BEFORE = ("baseline.onnx", "stages", "trials.sqlite", "checkpoints")  #: what a run has before it builds anything


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

    @classmethod
    def create(cls, path: str | Path, config: Mapping[str, Any]) -> Run:
        """Start a run in a new or an empty folder.

        Args:
            config: option name -> JSON value; the names are those of the command line, for messages.

        Raises:
            InputError: the folder is not empty, cannot be written, or is in use.
        """
        folder = _folder(path)
        lock = _acquire(folder)
        try:
            # what a run leaves that was killed before it had a config.json does not count
            present = sorted(p.name for p in folder.iterdir() if p.name != _LOCK and not p.name.endswith(".tmp"))
            if present:
                resumable = "go on with it by --resume, or " if "config.json" in present else ""
                raise InputError(f"{folder} is not empty (it has {present[0]}); {resumable}choose another --out")
            options = _plain(config)
            write_atomic(folder / "config.json", to_json({"format": FORMAT, "options": options}))
            return cls(folder, options, lock)
        except BaseException:
            _release(lock)
            raise

    @classmethod
    def resume(cls, path: str | Path, config: Mapping[str, Any]) -> Run:
        """Go on with the run in ``path``.

        Raises:
            InputError: an option differs from those the run was started with, a file is damaged, or it is in use.
        """
        folder = Path(path)
        known = _read_config(folder)
        lock = _acquire(folder)
        run = cls(folder, known, lock)
        try:
            _same(folder, known, _plain(config))
            for name in ("stages", "checkpoints"):
                if (folder / name).exists() and not (folder / name).is_dir():
                    raise InputError(f"{folder / name} is damaged, it must be a folder; delete it and use --resume")
            run._trials.check()
            for leftover in (*folder.glob(".*.tmp"), *folder.glob("*/.*.tmp")):
                leftover.unlink(missing_ok=True)
            return run
        except BaseException:
            run.close()
            raise

    @classmethod
    def start(cls, path: str | Path, config: Mapping[str, Any], *, resume: bool = False) -> Run:
        """:meth:`resume` if asked to and there is something to go on with, else :meth:`create`."""
        if resume and (Path(path) / "config.json").exists():
            return cls.resume(path, config)
        return cls.create(path, config)

    @classmethod
    def open(cls, path: str | Path) -> Run:
        """Read a run, finished or not, without locking it.

        Raises:
            InputError: it is no run folder.
        """
        return cls(Path(path), _read_config(Path(path)), None)

    def path(self, name: str) -> Path:
        """Path of a file of the run; the folder it lies in exists.

        Raises:
            InputError: the name leads out of the run folder, or the folder cannot be made.
        """
        parts = PurePosixPath(name)
        if parts.is_absolute() or ".." in parts.parts or not parts.parts:
            raise InputError(f"{name!r} is no file of a run; give a name inside {self.folder}")
        target = self.folder.joinpath(*parts.parts)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{target.parent} cannot be made ({error.strerror}); choose another --out") from error
        return target

    def write_bytes(self, name: str, content: bytes) -> Path:
        """Write a file of the run atomically; see :meth:`path` for the name."""
        target = self.path(name)
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

        The result passes through JSON either way, so a resumed run sees what a fresh one sees, to the last bit.

        Args:
            name: of the stage; a file name, see :meth:`digest` for one that tells inputs apart.
            compute: returns JSON values (or NumPy ones, which become lists).
            inputs: what the result depends on besides the run's options.

        Raises:
            InputError: the stored result is damaged, or the result cannot be stored.
        """
        digest = _digest(self.config, name, inputs)
        stored = self.path(f"stages/{name}.json")
        if stored.exists():
            remedy = "delete it and use --resume, which computes it again"
            record = read_json(stored, remedy)
            if not isinstance(record, dict) or {"digest", "check", "value"} - set(record):
                raise InputError(f"{stored} is damaged, it is no result of a stage; {remedy}")
            if record["digest"] == digest:
                if record["check"] != _digest(record["value"]):
                    raise InputError(f"{stored} is damaged or was edited; {remedy}")
                return record["value"]
        value = _plain(compute())
        write_atomic(stored, to_json({"stage": name, "digest": digest, "check": _digest(value), "value": value}))
        return value

    def digest(self, name: str, inputs: Any) -> str:
        """A stage name for one of many inputs: ``name`` and a digest of ``inputs``."""
        return f"{name}-{_digest(inputs)}"

    def stored(self, name: str, inputs: Any = None) -> bool:
        """Whether :meth:`stage` would take the result of these inputs from disk."""
        path = self.folder / "stages" / f"{name}.json"
        return path.exists() and read_json(path, "delete it").get("digest") == _digest(self.config, name, inputs)

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

    def finish(self, summary: Mapping[str, Any]) -> Path:
        """Check and write ``summary.json``: the run is over.

        Raises:
            InputError: the summary does not keep its schema, see ``check_summary``; or it cannot be written.
        """
        plain = _plain(summary)
        check_summary(plain)
        return self.write_json("summary.json", plain)

    def summary(self) -> dict[str, Any]:
        """The checked ``summary.json``.

        Raises:
            InputError: the run is not finished, or the file is damaged.
        """
        target = self.folder / "summary.json"
        if not target.exists():
            raise InputError(f"{self.folder} is not finished, it has no summary.json; repeat its command with --resume")
        summary = read_json(target, "repeat the run's command with --resume")
        check_summary(summary, str(target))
        return dict(summary)

    def discard(self) -> None:
        """Forget a run that never finished a stage, so that its folder can be used again; any other run stays."""
        if not (self.folder / "stages").exists():
            (self.folder / "config.json").unlink(missing_ok=True)

    def abandon(self) -> None:
        """Forget a run whose budgets nothing meets, so that its folder takes other ones.

        With the same options it would end so again, and what it knows is of no use with others. A run with weights that
        were trained, or with anything but what leads up to them, stays.
        """
        left = {p.name for p in self.folder.iterdir() if not p.name.startswith(".")}
        if left <= {*_BEFORE, "config.json"} and not any((self.folder / "checkpoints").rglob("*.safetensors")):
            for name in _BEFORE:
                path = self.folder / name
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
            (self.folder / "config.json").unlink(missing_ok=True)  # the last: until then there is something to resume

    def close(self) -> None:
        """Let other processes use the folder."""
        if self._lock is not None:
            _release(self._lock)
            self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if isinstance(error, InfeasibleError):
            self.abandon()
        self.close()


def default_folder(model: str) -> Path:
    """Where a run of ``model`` goes if the user names no place: ``zoo:resnet20`` -> ``runs/zoo-resnet20``."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", model.removesuffix("/")).strip("-.")
    return Path("runs") / (name or "run")


def _folder(path: str | Path) -> Path:
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"the run folder {folder} cannot be made ({error.strerror or error}); choose another --out"
        ) from error
    return folder


def _read_config(folder: Path) -> dict[str, Any]:
    if not (folder / "config.json").exists():
        raise InputError(f"{folder} is no run folder, it has no config.json; give the --out of a run")
    record = read_json(folder / "config.json", "start again in another folder")
    options = record.get("options") if isinstance(record, dict) else None
    if not isinstance(options, dict):
        raise InputError(f"{folder / 'config.json'} is damaged, it holds no options; start again in another folder")
    if record.get("format") != FORMAT:
        raise InputError(
            f"{folder / 'config.json'} has format {record.get('format')}, this netsmith reads {FORMAT}; "
            "use the netsmith that wrote it"
        )
    return options


def _same(folder: Path, known: dict[str, Any], given: dict[str, Any]) -> None:
    known, given = _flat(known), _flat(given)
    for name in sorted({*known, *given}):
        if known.get(name) != given.get(name):
            option = "--" + name.replace("_", "-") if name not in ("model", "run") else name.upper()
            raise InputError(
                f"{folder} was started with {option} {_show(known.get(name))}, not {_show(given.get(name))}; "
                "resume with the same options or choose another --out"
            )


def _flat(options: dict[str, Any]) -> dict[str, Any]:
    """Options that lie in groups (``{"budgets": {"latency": ..}}``) by their own names."""
    flat: dict[str, Any] = {}
    for name, value in options.items():
        flat |= _flat(value) if isinstance(value, dict) else {name: value}
    return flat


def _show(value: Any) -> str:
    return "unset" if value is None else value if isinstance(value, str) else json.dumps(value)


def _plain(value: Any) -> Any:
    """The value as it comes back from a file."""
    return json.loads(to_json(value))


def _digest(*values: Any) -> str:
    return hashlib.sha256(to_json(values, sort=True).encode()).hexdigest()[:16]


def _acquire(folder: Path) -> int:
    """Lock a folder for this process; the system lets go of it when the process ends, however it ends."""
    import fcntl

    try:
        handle = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise InputError(f"{folder} cannot be written ({error.strerror}); choose another --out") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        owner = os.pread(handle, 32, 0).decode(errors="replace").strip()
        os.close(handle)
        who = f" (process {owner})" if owner.isdigit() else ""
        raise InputError(f"{folder} is in use by another netsmith{who}; wait for it or choose another --out") from error
    except OSError:
        return handle  # a file system without locks: better unlocked than unusable
    with contextlib.suppress(OSError):
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
    return handle


def _release(handle: int) -> None:
    with contextlib.suppress(OSError):
        os.close(handle)
