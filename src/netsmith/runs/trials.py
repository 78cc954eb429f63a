"""The trials of a run in SQLite: every design that was tried, what it lost and what it cost."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from netsmith.errors import InputError
from netsmith.files import to_json
from netsmith.shapes import List, Named, Number, OrNull, Record, Text

_SCHEMA = """
CREATE TABLE IF NOT EXISTS trials (
  id INTEGER PRIMARY KEY,
  kind TEXT NOT NULL,
  design TEXT NOT NULL,
  losses TEXT NOT NULL,
  costs TEXT NOT NULL,
  UNIQUE (kind, design)
)
"""
_REMEDY = "delete it and go on with --resume: finished stages stay"
_FIGURES = Named(OrNull(Number(low=-math.inf, high=math.inf)))
_TRIAL = Record({"kind": Text(), "design": List(Number(whole=True)), "losses": _FIGURES, "costs": _FIGURES})


class TrialLog:
    """Trials in one file. A row is on disk when ``add`` returns, so that a killed run loses none.

    A design has one row a kind: a resumed run that tries it again renews the row and the log stays as long as that of
    a run that was never killed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, kind: str, design: Sequence[int], losses: Mapping[str, float], costs: Mapping[str, float]) -> None:
        """Log a trial.

        Raises:
            InputError: the file is damaged or the disk is full.
        """
        key = json.dumps([int(i) for i in design])
        row = (kind, key, to_json(dict(losses)), to_json(dict(costs)))
        with self._connection() as base, base:
            base.execute(
                "INSERT INTO trials (kind, design, losses, costs) VALUES (?, ?, ?, ?) "
                "ON CONFLICT (kind, design) DO UPDATE SET losses = excluded.losses, costs = excluded.costs",
                row,
            )

    def rows(self) -> list[dict[str, Any]]:
        """All trials in order, each ``{"id", "kind", "design", "losses", "costs"}``; none if nothing was logged.

        Raises:
            InputError: the file is damaged.
        """
        if not self._path.exists():
            return []
        with self._connection() as base:
            found = base.execute("SELECT id, kind, design, losses, costs FROM trials ORDER BY id").fetchall()
            return [self._row(*row) for row in found]

    def _row(self, number: Any, kind: Any, *texts: Any) -> dict[str, Any]:
        try:
            values = dict(zip(("design", "losses", "costs"), map(json.loads, texts), strict=True))
        except (TypeError, RecursionError) as error:  # a number, a null or bytes in place of a text
            raise ValueError(f"row {number} holds no JSON") from error
        row = {"id": number, "kind": kind, **values}
        if problem := _TRIAL.problem(row, f"row {number}"):
            raise ValueError(problem)
        return row

    def check(self) -> None:
        """Raise InputError if the file is damaged."""
        if not self._path.exists():
            return
        with self._connection() as base:
            verdict = base.execute("PRAGMA quick_check(1)").fetchone()[0]
            if verdict != "ok":
                raise sqlite3.DatabaseError(str(verdict))
        self.rows()

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        if self._path.is_symlink():  # SQLite would follow it
            raise InputError(f"{self._path} is a symbolic link, which no run writes through or reads; remove it")
        try:
            with closing(sqlite3.connect(self._path, timeout=30)) as base:
                base.execute(_SCHEMA)
                yield base
        except sqlite3.OperationalError as error:
            if "column" in str(error):  # a table of that name, of something else
                raise InputError(f"{self._path} is damaged ({error}); {_REMEDY}") from error
            raise InputError(
                f"{self._path} could not be used ({error}); free some space or make the folder writable"
            ) from error
        except (sqlite3.DatabaseError, ValueError) as error:
            raise InputError(f"{self._path} is damaged ({error}); {_REMEDY}") from error
