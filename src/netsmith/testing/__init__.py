"""Conformance cases: functions that raise ``AssertionError`` where an implementation breaks its contract."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from netsmith.testing.spaces import check_decisions, check_space
from netsmith.testing.strategies import check_strategy, example_problem
from netsmith.testing.targets import check_target, example_table

if TYPE_CHECKING:
    from netsmith.testing.kinds import check_kind

__all__ = [
    "check_decisions", "check_kind", "check_space", "check_strategy", "check_target", "example_problem",
    "example_table",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name != "check_kind":  # which alone needs torch
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from netsmith.testing.kinds import check_kind

    return check_kind
