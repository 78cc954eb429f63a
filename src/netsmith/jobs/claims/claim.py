"""A claim of a run, and what became of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from netsmith.errors import InputError
from netsmith.metrics import Metric

Verdict = Literal["holds", "fails", "elsewhere", "not checked"]
_LAST_PLACES = 1e-9  #: by which two ways of adding up the same figures may differ, as a share


@dataclass(frozen=True)
class Claim:
    """One claim.

    Attributes:
        what: it is about, in words.
        said: what the run says, a JSON value.
        found: what was found here; None where nothing was looked at.
        verdict: ``holds``; ``fails``; ``elsewhere``, it is about another device or other data and says nothing here;
            ``not checked``.
        why: a clause that explains the verdict, where it needs one.
        unit: of both values: ``s``, ``B``, ``J``, ``share``, ``count``, that of a score such as ``dB``, or nothing.
    """

    what: str
    said: Any
    found: Any
    verdict: Verdict
    why: str = ""
    unit: str = ""

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)

    def of(self, where: str) -> Claim:
        """The same claim, of one of several networks."""
        return replace(self, what=f"{where}: {self.what}")


def unit_of(metric: Metric) -> str:
    """The unit of a claim about a score: ``share`` of what is shown in per cent, else the metric's own."""
    return "share" if metric.unit == "%" else metric.unit


def compared(
    what: str, said: Any, found: Any, unit: str = "", *, tolerance: float = _LAST_PLACES, why: str = ""
) -> Claim:  # fmt: skip
    """A claim that holds where the same was found, numbers within a share of ``tolerance``.

    Args:
        why: what explains a difference.
    """
    same = said == found
    if not same and all(isinstance(v, int | float) and not isinstance(v, bool) for v in (said, found)):
        same = math.isclose(said, found, rel_tol=tolerance, abs_tol=_LAST_PLACES * 1e-6)
    return Claim(what, said, found, "holds" if same else "fails", "" if same else why, unit)


def unchecked(what: str, said: Any, why: str, unit: str = "") -> Claim:
    """A claim that nobody can check here, and why."""
    return Claim(what, said, None, "not checked", why, unit)


def attempt(check: Callable[[], Iterator[Claim]], what: str, lenient: bool) -> list[Claim]:
    """All claims of a check, up to where it ends for lack of something.

    Args:
        what: the check is about.
        lenient: the summary is known to be damaged, so that anything may be missing from it.
    """
    found: list[Claim] = []
    try:
        found.extend(check())
    except InputError as error:
        found.append(unchecked(what, None, str(error)))
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError):
        if not lenient:
            raise
        found.append(unchecked(what, None, "summary.json does not have what this needs"))
    return found
