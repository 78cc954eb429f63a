"""Decisions, designs and what these cost."""

from __future__ import annotations

from netsmith.space.space import Decision, Designs, Space
from netsmith.space.table import CostTable, Factor, MaxTable, as_sums, cost_of

__all__ = ["CostTable", "Decision", "Designs", "Factor", "MaxTable", "Space", "as_sums", "cost_of"]
