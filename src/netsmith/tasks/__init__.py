"""What networks are for: a file a task, and the contract that all of them keep."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netsmith.lazy import lazy_names

if TYPE_CHECKING:
    from netsmith.tasks.task import Objective, Task

__all__ = ["Objective", "Task"]

__getattr__, __dir__ = lazy_names(__name__, {"task": ("Objective", "Task")})
