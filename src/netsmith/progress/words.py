"""Shares and times in words."""

from __future__ import annotations

import math


def share_done(done: float, total: float) -> str:
    """``37%``; 100 % only of what is done."""
    return f"{math.floor(100 * min(1.0, done / total) + 1e-9)}%" if total else ""


def clock(seconds: float) -> str:
    """``75`` -> ``1 min 15 s``."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def roughly(seconds: float) -> str:
    """``107`` -> ``2 min``: no more digits than a guess has."""
    if seconds < 55:
        return f"{max(1, round(seconds / 10)) * 10} s"
    if seconds < 570:
        return f"{round(seconds / 60)} min"
    if seconds < 3450:
        return f"{round(seconds / 300) * 5} min"
    half_hours = round(seconds / 1800)
    return f"{half_hours // 2} h" + (" 30 min" if half_hours % 2 else "")
