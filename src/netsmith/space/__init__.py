"""Decisions and designs."""

from __future__ import annotations

from netsmith.space.space import Decision, Space

__all__ = ["Decision", "Space"]
