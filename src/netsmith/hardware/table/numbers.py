"""Numbers of tables and predictors as files hold them: refused with where they stand and what they are."""

from __future__ import annotations

import math
from typing import Any

from netsmith.errors import InputError, shown

MOST_BITS = 32
MOST_AMOUNT = 1e18  #: of times in the smallest unit, energies or cycles
MOST = 10**9  #: whole numbers of layers, runs and bits are no larger


def number(value: Any, where: str, *, above: bool = False) -> float:
    """A finite number of at least 0, or ``above`` 0, from a cell of a file; text is read.

    Args:
        where: file, line or entry and column, for the message.

    Raises:
        InputError: NaN, infinite, negative, no number, or so large that sums of it mean nothing.
    """
    try:
        found = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        found = math.nan
    if not math.isfinite(found) or found < 0 or (above and found == 0):
        raise InputError(f"{where}: {shown(value)} is no number {'above 0' if above else 'of at least 0'}")
    if found > MOST_AMOUNT:
        raise InputError(f"{where}: {shown(value)} is more than {MOST_AMOUNT:g}, which nothing takes")
    return found


def whole(value: Any, where: str, least: int = 1) -> int:
    """A whole number from ``least`` to a billion, from a cell of a file; text is read.

    Raises:
        InputError: anything else.
    """
    try:
        found = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        found = math.nan
    if not (least <= found <= MOST and found == int(found)):
        what = "above 0" if least == 1 else f"of at least {least}"
        raise InputError(f"{where}: {shown(value)} is no whole number {what}" + (" and at most 10^9" * (found > MOST)))
    return int(found)
