"""How much work a function does, counted: the same on every machine, however busy, where seconds are not."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType


def calls(run: Callable[[], object]) -> int:
    """Functions that ``run`` calls, those of Python and of C. Code that is vectorised makes equally many for any size.

    ``run`` is called once before, so that imports and caches do not count.
    """
    run()
    count = 0

    def seen(frame: FrameType, event: str, arg: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(seen)
    try:
        run()
    finally:
        sys.setprofile(before)
    return count
