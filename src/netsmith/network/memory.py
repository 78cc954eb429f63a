"""Networks that are too large for this machine are refused while they are built, before it runs out of memory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from netsmith.errors import InputError

_COPIES = 8  #: of its weights: as given, traced, compressed, gradients, momentum, the best, a checkpoint, exported
_CONTROL_GROUP = Path("/sys/fs/cgroup")


def free_memory() -> int:
    """Bytes that this process may still use, as far as the system says."""
    found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        found = int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError, IndexError):
        pass  # not Linux: all that there is
    try:
        limit, used = (int((_CONTROL_GROUP / f"memory.{name}").read_text()) for name in ("max", "current"))
        parts = dict(line.split() for line in (_CONTROL_GROUP / "memory.stat").read_text().splitlines())
        found = min(found, max(limit - used + int(parts["file"]), 0))  # files that are cached give way
    except (OSError, KeyError, ValueError):
        pass  # no container, or one without a limit
    return found


@contextmanager
def limited(spec: str) -> Iterator[None]:
    """Within it a network may be built whose weights fit into memory as often as jobs hold them.

    Parameters are counted as modules take them: the memory of a fresh one is only claimed then, and used afterwards.

    Raises:
        InputError: there are too many.
    """
    from torch.nn.modules.module import register_module_parameter_registration_hook

    most, seen, total = free_memory() // _COPIES, dict[int, int](), 0

    def count(module: Any, name: str, parameter: Any) -> None:
        nonlocal total
        if parameter is None or hasattr(parameter, "materialize"):  # of lazy layers no size is known
            return
        size = parameter.numel() * parameter.element_size()
        total += size - seen.get(id(parameter), 0)  # once, where layers share it
        seen[id(parameter)] = size
        if total > most:
            raise InputError(
                f"{spec} needs more memory than there is: its weights take {total / 1e9:.3g} GB or more, and a job "
                f"holds {_COPIES} copies of them, for which {_COPIES * most / 1e9:.3g} GB are free; make the network "
                "smaller"
            )

    hook = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        hook.remove()
