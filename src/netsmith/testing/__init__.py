"""Conformance cases: functions that raise ``AssertionError`` where an implementation breaks its contract."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netsmith.lazy import lazy_names
from netsmith.testing.spaces import check_decisions, check_space
from netsmith.testing.strategies import check_strategy, example_problem
from netsmith.testing.targets import check_target, example_table

if TYPE_CHECKING:
    from netsmith.testing.kinds import check_kind
    from netsmith.testing.tasks import check_task

__all__ = [
    "check_decisions", "check_kind", "check_space", "check_strategy", "check_target", "check_task",
    "example_problem", "example_table",
]  # fmt: skip

__getattr__, __dir__ = lazy_names(__name__, {"kinds": ("check_kind",), "tasks": ("check_task",)})  # these need torch
