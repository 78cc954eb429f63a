"""What an exploration of hardware says: ``explore.json``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from netsmith.errors import InputError, shown
from netsmith.files import read_json
from netsmith.shapes import Anything, Flag, List, Named, Number, OrNull, Record, Text

EXPLORE_FILE = "explore.json"

_AMOUNT = Number(low=0)
_REMEDY = "repeat the run's command with --resume, which writes it again"


def _bounded(row: Mapping[str, Any]) -> str | None:
    cost, bound = row["cost"], row["bound"]
    if (cost is None) != (bound is None):
        return "has a cost without a bound, or a bound without a cost"
    if cost is not None and bound > cost:
        return f"bound is {shown(bound)}, above the cost {shown(cost)} itself"
    return None


_HARDWARE = Record(optional={
    "units": _AMOUNT, "buffer_bytes": _AMOUNT, "clock_hz": _AMOUNT,
    "macs_per_s": _AMOUNT, "bytes_per_s": _AMOUNT, "bits": List(_AMOUNT),
})  # fmt: skip
_CONFIGURATION = Record(
    {
        "values": Anything(), "hardware": _HARDWARE, "cost": OrNull(_AMOUNT), "bound": OrNull(_AMOUNT),
        "given_latency": _AMOUNT, "worth": Flag(), "why": Text(),
    },
    {
        "latency": _AMOUNT, "energy": _AMOUNT, "given_energy": _AMOUNT, "loss": Number(), "exact": Flag(),
        "design": List(Number(whole=True)), "bits": Named(_AMOUNT),
    }, _bounded,
)  # fmt: skip

#: ``configurations`` are those of the grid, the last of ``fields`` varying fastest; each has the ``values`` that make
#: it, what ``hardware`` that is, the least ``cost`` (of what is minimised, SI units) of a network whose summed loss is
#: at most ``max_loss``, and ``bound``, what no such network costs less than; null where none fits, and ``why``.
#: ``given_...`` is what the network as given costs there, ``latency`` and ``energy`` those of the network that was
#: found, ``worth`` whether no other configuration that has no more of anything costs less. ``exact`` says whether the
#: cost tables are right at every design, so that bounds are of all of them.
EXPLORATION = Record(
    {
        "model": Text(), "family": Text(), "base": Anything(), "base_name": Text(),
        "minimize": Text(("latency", "energy")),
        "max_loss": _AMOUNT, "says": Text(), "fields": List(Text(empty=False), least=1), "kept": Text(),
        "exact": Flag(), "configurations": List(_CONFIGURATION, least=1),
    },
    {"sensitivity_seconds": _AMOUNT, "baseline_accuracy": Number(low=0, high=1), "loss_unit": Text()},
)  # fmt: skip


def check_exploration(record: Mapping[str, Any], source: str = "explore.json") -> None:
    """Hold a record to :data:`EXPLORATION`.

    Raises:
        InputError: names the first value that is wrong.
    """
    problem = EXPLORATION.problem(record, "")
    fields = record.get("fields") or []
    if problem is None and any(set(one["values"]) != set(fields) for one in record["configurations"]):
        problem = "the values of a configuration are not those of the fields"
    if problem:
        raise InputError(f"{source} is damaged, {problem}; {_REMEDY}")


def read_exploration(folder: Path) -> dict[str, Any] | None:
    """The ``explore.json`` of a run; None if it has none.

    Raises:
        InputError: the file is damaged.
    """
    path = folder / EXPLORE_FILE
    if not path.exists():
        return None
    found = read_json(path, _REMEDY)
    if not isinstance(found, dict):
        raise InputError(f"{path} is damaged, it is no record; {_REMEDY}")
    check_exploration(found, str(path))
    return found
