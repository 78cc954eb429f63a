"""What the stages of a run have built, file by file with its SHA-256, so that none is missing or damaged unnoticed."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from netsmith.errors import InputError
from netsmith.files import check_regular, digest_file, read_json, to_json, write_atomic
from netsmith.runs.names import ARTEFACTS
from netsmith.shapes import Record, Text

_AGAIN = "repeat the run's command with --resume, which makes it again"

_ENTRY = Record({"sha256": Text(), "stage": Text()})
_LONGEST = 200  #: bytes of a name that file systems take


class Artefacts:
    """The list of built files in a run folder: name -> digest and the stage that made it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / ARTEFACTS

    def is_begun(self) -> bool:
        """Whether there is a list, and nothing in it: what a run leaves that was killed before it had a config.json."""
        return self.path.is_file() and self.path.read_text(encoding="utf-8", errors="replace") == to_json({})

    def begin(self) -> None:
        """Write an empty list."""
        self._write({})

    def of(self, stage: str) -> dict[str, str]:
        """Name -> digest of what a stage built last."""
        return {name: entry["sha256"] for name, entry in self._read().items() if entry["stage"] == stage}

    def forget(self, names: Collection[str]) -> None:
        """Before files are written again: until they are noted, nothing is known of them."""
        known = self._read()
        if known.keys() & set(names):
            self._write({name: entry for name, entry in known.items() if name not in names})

    def note(self, stage: str, names: Collection[str]) -> None:
        """Add files as they are now."""
        if names:
            new = {n: {"sha256": self._digest(n), "stage": stage} for n in sorted(names) if (self.folder / n).is_file()}
            self._write(self._read() | new)

    def missing(self, stage: str) -> list[str]:
        """Files of a stage that are not there."""
        return [name for name in self.of(stage) if not (self.folder / name).is_file()]

    def check(self, *, whole: bool) -> None:
        """Check that every file is as it was built.

        Args:
            whole: none may be missing either; a run that is resumed makes those again.

        Raises:
            InputError: names the first file that is not, and the remedy.
        """
        for name, entry in self._read().items():
            path = self.folder / name
            if not path.exists():
                if whole:
                    raise InputError(f"{path} is missing; {_AGAIN}")
            elif not path.is_file() or self._digest(name) != entry["sha256"]:
                raise InputError(f"{path} is damaged or was edited; delete it and {_AGAIN}")

    def faults(self) -> dict[str, str]:
        """Every file that was built -> what is wrong with it, ``""`` where nothing is: ``missing`` or ``changed``."""
        found = {}
        for name, entry in self._read().items():
            path = self.folder / name
            if not path.exists():
                found[name] = "missing"
            else:
                found[name] = "" if path.is_file() and self._digest(name) == entry["sha256"] else "changed"
        return found

    def _digest(self, name: str) -> str:
        try:
            if name.endswith(".json"):  # all are small: of a huge one it need not be known how it differs
                check_regular(self.folder / name, remedy=_AGAIN)
            return digest_file(self.folder / name)
        except OSError as error:
            raise InputError(f"{self.folder / name} cannot be read ({error.strerror}); {_AGAIN}") from error

    def _read(self) -> dict[str, dict[str, str]]:
        if not self.path.exists():  # of an older netsmith
            return {}
        known = read_json(self.path, "start again in another folder")
        if not isinstance(known, dict) or not all(_is_entry(name, entry) for name, entry in known.items()):
            raise InputError(f"{self.path} is damaged, it is no list of built files; start again in another folder")
        return dict(known)

    def _write(self, known: dict[str, dict[str, str]]) -> None:
        write_atomic(self.path, to_json(known))


def _is_entry(name: str, entry: Any) -> bool:
    inside = (
        "\0" not in name
        and len(name.encode()) <= _LONGEST
        and not Path(name).is_absolute()
        and ".." not in Path(name).parts
    )
    return inside and _ENTRY.problem(entry, "") is None
