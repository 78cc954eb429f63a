"""Memory that is free, of which data that is read takes no more than half: the rest is for the work on it."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

from netsmith.errors import InputError

_GROUP = Path("/sys/fs/cgroup")  #: of the container that this process may be in


def free_bytes() -> int | None:
    """Memory that can be taken without swapping, within the limit of a container; None where nobody says."""
    found = []
    with contextlib.suppress(OSError):
        line = re.search(r"^MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
        found += [int(line[1]) * 1024] if line else []
    with contextlib.suppress(OSError, ValueError):  # "max" where there is no limit
        limit, used = (int((_GROUP / f"memory.{name}").read_text()) for name in ("max", "current"))
        idle = re.search(r"^inactive_file (\d+)", (_GROUP / "memory.stat").read_text(), re.MULTILINE)
        found.append(max(0, limit - used + (int(idle[1]) if idle else 0)))  # pages of files are given back
    return min(found, default=None)


class Room:
    """Counts what is read against half of the memory that was free before.

    Args:
        what: is read, for messages.
        remedy: what the user should do instead, the end of the sentence.
    """

    def __init__(self, what: str, remedy: str = "give fewer or smaller rows, for instance a torch Subset") -> None:
        self._what, self._remedy, self._free, self._used = what, remedy, free_bytes(), 0

    def expect(self, size: int) -> None:
        """Check that ``size`` more bytes would fit, before they are read.

        Raises:
            InputError: they would not.
        """
        need = self._used + size
        if self._free is not None and need > self._free // 2:
            raise InputError(
                f"{self._what} takes {need / 1e9:.3g} GB of memory or more, and {self._free / 1e9:.3g} GB are free, of "
                f"which half is for the work on it; {self._remedy}"
            )

    def take(self, size: int) -> None:
        """Count bytes that were read; as :meth:`expect`."""
        self.expect(size)
        self._used += size
