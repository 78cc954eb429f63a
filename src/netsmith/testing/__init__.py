"""Conformance cases: functions that raise ``AssertionError`` where an implementation breaks its contract."""

from __future__ import annotations

from netsmith.testing.spaces import check_decisions, check_space
from netsmith.testing.strategies import check_strategy, example_problem
from netsmith.testing.targets import check_target, example_table

__all__ = ["check_decisions", "check_space", "check_strategy", "check_target", "example_problem", "example_table"]
