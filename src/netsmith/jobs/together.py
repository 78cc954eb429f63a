"""One run in several processes, as ``torchrun`` starts them: the first does everything, all of them train."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from netsmith.errors import InfeasibleError, InputError, NetsmithError
from netsmith.files import to_path
from netsmith.runs.folder import Run
from netsmith.training.workers import Workers

T = TypeVar("T")


class RunTogether:
    """The run folder of several processes. The first one has it; the others have one that is thrown away.

    Attributes:
        run: this process's folder.
        folder: the first process's, where checkpoints and weights are read by all.
        workers: the processes.
    """

    def __init__(self, out: str | Path, config: Mapping[str, Any], resume: bool, workers: Workers) -> None:
        self.workers, self.folder, self._stack = workers, to_path(out), ExitStack()
        self._alone = workers.world == 1  #: within a stage that the first process computes by itself
        where: str | Path = out
        if not workers.is_first:
            where, resume = self._stack.enter_context(tempfile.TemporaryDirectory()), False
        self.run = self._stack.enter_context(Run.start(where, config, resume=resume))

    def stage(self, name: str, compute: Callable[[], Any], inputs: Any = None, together: bool = False) -> Any:
        """:meth:`Run.stage` with the first process's result in all of them.

        Args:
            together: every process computes, as there is training in it; otherwise the first alone.
        """
        if self._alone:
            return self.run.stage(name, compute, inputs)
        first = self.workers.is_first
        stored = self.workers.broadcast(self.run.stored(name, inputs) if first else None)
        if together and not stored and not first:
            compute()
        self._alone = first and not together
        value, failed = None, None
        try:
            value = self.run.stage(name, compute, inputs) if first else None
        except NetsmithError as error:
            if together:  # all of them raise it
                raise
            failed = _written(error)
        finally:
            self._alone = False
        value, failed = self.workers.broadcast([value, failed])
        if failed is not None:
            raise _error(failed)
        return value

    def in_turn(self, compute: Callable[[], T]) -> T:
        """What ``compute`` returns in this process; the first one is done before the others begin.

        They may read what it has written, and all of them stop where it does.
        """
        if not self.workers.is_first:
            failed = self.workers.broadcast(None)
            if failed is not None:
                raise _error(failed)
            return compute()
        try:
            value = compute()
        except NetsmithError as error:
            self.workers.broadcast(_written(error))
            raise
        self.workers.broadcast(None)
        return value

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.__exit__(kind, error, at)


def _written(error: NetsmithError) -> list[Any]:
    """An error as it is sent to other processes."""
    return [type(error).__name__, str(error), getattr(error, "reachable", {})]


def _error(written: list[Any]) -> NetsmithError:
    kind, message, reachable = written
    return InfeasibleError(message, reachable) if kind == "InfeasibleError" else InputError(message)
