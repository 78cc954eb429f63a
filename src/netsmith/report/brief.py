"""Texts of a file as a page or a terminal shows them: not longer than anybody reads."""

from __future__ import annotations

from typing import Any

from netsmith.errors import one_line

_MOST = 2000  #: characters of one text


def brief(value: Any, most: int = _MOST) -> Any:
    """JSON values with every text, names of keys among them, cut to ``most`` characters where it is longer."""
    if isinstance(value, str):
        return value if len(value) <= most else one_line(value, most)
    if isinstance(value, dict):
        return {brief(key, most): brief(entry, most) for key, entry in value.items()}
    if isinstance(value, list):
        return [brief(entry, most) for entry in value]
    return value
