"""Text to numbers and back: budgets, shapes, and figures for tables. Inside netsmith everything is in SI units."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, get_args

from netsmith.errors import InputError, shown

Quantity = Literal["latency", "energy", "size", "macs", "memory"]

_BYTES = {"B": 1.0, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30}

_UNITS = MappingProxyType(
    {
        "latency": {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9},
        "energy": {"J": 1.0, "mJ": 1e-3, "uJ": 1e-6, "nJ": 1e-9},
        "size": _BYTES,
        "macs": {"K": 1e3, "M": 1e6, "G": 1e9, "KMACs": 1e3, "MMACs": 1e6, "GMACs": 1e9, "MACs": 1.0},
        "memory": _BYTES,
    }
)
#: what the messages propose
_EXAMPLE = MappingProxyType({"latency": "ms", "energy": "mJ", "size": "MB", "macs": "M", "memory": "KB"})
_NUMBER = re.compile(r"^([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)\s*([^\d.,;:_'\s+-].*)?$")
#: how costs are called in sentences
COST_NAMES = MappingProxyType(
    {"latency": "latency", "energy": "energy", "size": "size", "macs": "MACs", "memory": "peak memory"}
)
#: what a number without a unit may be meant in, the likeliest first, and what a network may cost in the base unit
_MEANT = MappingProxyType({
    "latency": (("ms", "s", "us", "ns"), 1e-5, 100.0), "energy": (("mJ", "J", "uJ", "nJ"), 1e-7, 1000.0),
    "size": (("MB", "B"), 100.0, 1e10), "macs": (("M", "MACs", "G"), 1e3, 1e13),
    "memory": (("KB", "MB", "B"), 100.0, 1e11),
})  # fmt: skip
_LONGEST = 60  #: characters of a budget
_ROUNDING = 1e-9  #: of a value that has come through a sum


@dataclass(frozen=True)
class Budget:
    """An upper bound on a cost.

    Attributes:
        cost: which cost.
        value: seconds, joules, bytes or multiply-accumulates; if relative, the share of the network as given.
        relative: whether ``value`` is such a share.
    """

    cost: Quantity
    value: float
    relative: bool = False

    def limit(self, original: float) -> float:
        """The bound in SI units for a network that costs ``original``."""
        return self.value * original if self.relative else self.value

    def __str__(self) -> str:
        if self.relative:
            return f"{self.value:g}x"
        return format_cost(self.cost, self.value)


def parse_budget(text: str, quantity: Quantity) -> Budget:
    """Read a budget such as ``3ms``, ``2mJ``, ``300KB``, ``30M`` or ``0.5x``.

    Args:
        text: number and unit; ``x`` is relative to the network as given. KB, MB, GB are powers of 1000, KiB etc. of
            1024. Upper and lower case matter only where they differ in meaning.
        quantity: ``latency``, ``energy``, ``size``, ``macs`` or ``memory``.

    Raises:
        InputError: no number, no unit, a unit of something else, not above 0, or a share of 1 or more.
    """
    if quantity not in get_args(Quantity):
        raise InputError(f"there is no budget of {quantity!r}: choose {', '.join(get_args(Quantity))}")
    text, unit = str(text).strip(), _EXAMPLE[quantity]
    if len(text) > _LONGEST:
        raise InputError(f"the {quantity} budget {shown(text)} is too long: write for instance 0.5x or 3{unit}")
    if not text:
        raise InputError(f"the {quantity} budget is empty: write for instance 0.5x or 3{unit}")
    match = _NUMBER.match(text)
    if match is None:
        raise InputError(f"the {quantity} budget {text!r} is no number with a unit: write for instance 0.5x or 3{unit}")
    number, suffix = match[1], match[2] or ""
    value = float(number)
    if not math.isfinite(value) or value <= 0:
        raise InputError(
            f"the {quantity} budget {text!r} must be a finite number above 0, for instance 0.5x or 3{unit}"
        )
    if not suffix:
        raise InputError(f"{text} has no unit: write {' or '.join(_meant(text, value, quantity))}")
    if suffix in ("x", "X"):
        if value >= 1:
            raise InputError(
                f"the {quantity} budget {text!r} asks for no saving: a relative budget is below 1x, for instance 0.5x"
            )
        return Budget(quantity, value, relative=True)
    if suffix == "%":
        share = f"{value / 100:g}x" if value < 100 else "a share below 1, for instance 0.5x"
        raise InputError(f"the {quantity} budget {text!r} is a percentage: write {share}")
    budget = Budget(quantity, value * _factor(text, suffix, quantity))
    if not (math.isfinite(budget.value) and budget.value > 0):
        raise InputError(f"the {quantity} budget {text!r} is out of range: write for instance 0.5x or 3{unit}")
    return budget


def _meant(text: str, value: float, quantity: Quantity) -> list[str]:
    """What a number without a unit may mean: a share, and the first unit in which a network may cost so much."""
    units, least, most = _MEANT[quantity]
    found = [f"{text}x"] if value < 1 else []
    unit = next((u for u in units if least <= value * _UNITS[quantity][u] <= most), None)
    if unit == _EXAMPLE[quantity]:
        found.append(f"{text}{unit}")
    elif unit is not None:
        found.append(f"{text}{unit} ({format_cost(quantity, value * _UNITS[quantity][unit])})")
    return found or [f"for instance 0.5x or 3{_EXAMPLE[quantity]}"]


def _factor(text: str, suffix: str, quantity: Quantity) -> float:
    units = _UNITS[quantity]
    suffix = suffix.replace("µ", "u").replace("μ", "u")
    if quantity == "macs" and suffix.lower().endswith("mac"):
        suffix += "s"
    if suffix in units:
        return units[suffix]
    near = [u for u in units if u.lower() == suffix.lower()]
    # mJ and MJ differ by a billion: a guess is only safe if the case cannot carry meaning
    if len(near) == 1 and not (quantity == "energy" and suffix[0] == "M"):
        return units[near[0]]
    owner = next((q for q, known in _UNITS.items() if q != quantity and suffix in known), None)
    what = f"is a unit of {owner}, not of {quantity}" if owner else f"is no unit of {quantity}"
    raise InputError(f"{suffix} in {text!r} {what}: write x, {', '.join(units)}")


def check_budgets(budgets: Iterable[Budget], needed: bool = True) -> dict[Quantity, Budget]:
    """Budgets by cost.

    Args:
        needed: whether there must be one.

    Raises:
        InputError: none at all where one is needed, or two of the same cost.
    """
    found: dict[Quantity, Budget] = {}
    for budget in budgets:
        if budget.cost in found:
            raise InputError(
                f"there are two budgets of {budget.cost}, {found[budget.cost]} and {budget}: keep the one that is meant"
            )
        found[budget.cost] = budget
    if needed and not found:
        raise InputError(
            "there is no budget: give one of --latency, --energy, --size, --macs or --memory, for instance 0.5x"
        )
    return found


def read_budgets(
    *, latency: str | None, energy: str | None, size: str | None, macs: str | None, memory: str | None,
    needed: bool = True,
) -> dict[str, Budget]:  # fmt: skip
    """Budgets as options give them, by cost.

    Raises:
        InputError: one that cannot be read, or none at all where one is ``needed``.
    """
    texts: dict[Quantity, str | None] = {
        "latency": latency, "energy": energy, "size": size, "macs": macs, "memory": memory,
    }  # fmt: skip
    given = [parse_budget(text, name) for name, text in texts.items() if text is not None]
    return {str(name): budget for name, budget in check_budgets(given, needed).items()}


def parse_input_shape(text: str) -> tuple[int, ...]:
    """Read the shape of one sample, ``3,224,224`` (or ``3x224x224``), without the batch axis.

    Raises:
        InputError: not whole numbers above 0.
    """
    parts = [p.strip() for p in re.split(r"[,xX]", str(text)[: 2 * _LONGEST].strip().strip("()[]"))]
    if parts and parts[-1] == "":
        parts.pop()  # "(64,)" is how Python writes a single axis
    axes = [count_of(part) for part in parts]
    if not parts or not all(axes):
        raise InputError(
            f"the input shape {shown(text)} cannot be read: write channels, height, width, for instance 3,224,224"
        )
    if len(parts) > 4:
        raise InputError(
            f"the input shape {shown(text)} has {len(parts)} axes: leave out the batch axis, for instance 3,224,224"
        )
    return tuple(axis for axis in axes if axis)


def count_of(text: str, most: int = 10**9) -> int | None:
    """The whole number that the digits 0 to 9 write, such as ``"16"``; None for any other text, or above ``most``."""
    if not text.isascii() or not text.isdigit() or len(text.lstrip("0")) > len(str(most)):
        return None
    return found if (found := int(text)) <= most else None


def numbers(option: str, what: str = "one number a channel, such as 0.5,0.5,0.5") -> Callable[[str], tuple[float, ...]]:
    """A reader of numbers with commas between them, for an option.

    Args:
        what: the option takes, in words.
    """

    def read(text: str) -> tuple[float, ...]:
        try:
            return tuple(float(part) for part in text.split(","))
        except ValueError:
            raise InputError(f"{option} {text!r} cannot be read: write {what}") from None

    return read


def format_seconds(value: float, digits: int = 3) -> str:
    """``0.00312`` -> ``3.12 ms``."""
    return _format(value, (("s", 1.0), ("ms", 1e-3), ("us", 1e-6), ("ns", 1e-9)), digits)


def format_joules(value: float, digits: int = 3) -> str:
    """``0.002`` -> ``2.00 mJ``."""
    return _format(value, (("J", 1.0), ("mJ", 1e-3), ("uJ", 1e-6), ("nJ", 1e-9), ("pJ", 1e-12)), digits)


def format_bytes(value: float, digits: int = 3) -> str:
    """``300000`` -> ``300 KB`` (powers of 1000)."""
    if abs(value) < 1000:
        return f"{value:.0f} B"
    return _format(value, (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("KB", 1e3)), digits)


def format_count(value: float, digits: int = 3) -> str:
    """``30100000`` -> ``30.1 M``; below 1000 in full."""
    if abs(value) < 1000:
        return f"{value:.{max(6, digits)}g}"
    return _format(value, (("T", 1e12), ("G", 1e9), ("M", 1e6), ("K", 1e3)), digits)


def format_cost(cost: str, value: float, digits: int = 3) -> str:
    """A cost in SI units for a table or a sentence; one of another name has no unit."""
    write = {
        "latency": format_seconds, "energy": format_joules, "size": format_bytes, "macs": format_count,
        "memory": format_bytes,
    }  # fmt: skip
    return write[cost](value, digits) if cost in write else f"{value:.{max(6, digits)}g}"


def format_apart(cost: str, value: float, other: float) -> tuple[str, str]:
    """Two values of a cost with as many digits as it takes to tell them apart: a limit and what is just over it."""
    return _apart(lambda digits: (format_cost(cost, value, digits), format_cost(cost, other, digits)))


def format_least(cost: str, value: float, digits: int = 3) -> str:
    """The least that a cost can be, rounded up: a budget that is written so is met."""
    if not (math.isfinite(value) and value > 0):
        return format_cost(cost, value)
    if cost in ("size", "memory") and value < 1000:
        return format_cost(cost, math.ceil(value * (1 - _ROUNDING)))
    kept = digits if cost in COST_NAMES and not (cost == "macs" and value < 1000) else max(6, digits)
    step = 10.0 ** (math.floor(math.log10(value)) + 1 - kept)
    return format_cost(cost, math.ceil(value / step * (1 - _ROUNDING)) * step, digits)


def within(budgets: Mapping[str, float]) -> str:
    """``latency within 3.00 ms and size within 300 KB``."""
    return " and ".join(f"{COST_NAMES.get(n, n)} within {format_cost(n, limit)}" for n, limit in budgets.items())


def reached_of(costs: Mapping[str, float], budgets: Mapping[str, float]) -> str:
    """``latency 3.12 ms of 4.00 ms allowed, size 290 KB of 300 KB``, with digits enough to tell both apart."""
    found = list[str]()
    for name, limit in budgets.items():
        allowed, value = format_apart(name, limit, costs[name])
        found.append(f"{COST_NAMES.get(name, name)} {value} of {allowed}{'' if found else ' allowed'}")
    return ", ".join(found)


def allowed_of(budgets: Mapping[str, float], given: Mapping[str, float]) -> str:
    """``latency 4.00 ms (8.00 ms as given), size 300 KB (1.08 MB as given)``."""
    return ", ".join(
        f"{COST_NAMES.get(n, n)} {format_cost(n, limit)} ({format_cost(n, given[n])} as given)"
        for n, limit in budgets.items()
    )


def room_of(limits: Mapping[str, float]) -> str:
    """``peak memory of 229 KB and size of 918 KB``."""
    return " and ".join(f"{COST_NAMES.get(n, n)} of {format_cost(n, limit)}" for n, limit in limits.items())


def over(cost: str, limit: float, least: float) -> str:
    """``latency within 3.00 ms (the smallest reachable is 4.13 ms)``."""
    most, reachable = _apart(lambda digits: (format_cost(cost, limit, digits), format_least(cost, least, digits)))
    return f"{COST_NAMES.get(cost, cost)} within {most} (the smallest reachable is {reachable})"


def _apart(write: Callable[[int], tuple[str, str]]) -> tuple[str, str]:
    """Two texts with the fewest digits, 3 or more, at which they differ."""
    texts = [write(digits) for digits in range(3, 10)]
    return next((both for both in texts if both[0] != both[1]), texts[0])


def _format(value: float, scales: tuple[tuple[str, float], ...], significant: int) -> str:
    """That many significant digits in the largest unit that leaves a number of 1 or more."""
    if not math.isfinite(value):
        return str(value)
    if value == 0:
        return f"0 {scales[0][0]}"
    # 999.7 us rounds to 1000 us, so the unit is chosen after rounding
    rounded = float(f"{abs(value):.{significant}g}")
    unit, scale = next(((u, s) for u, s in scales if rounded >= s * (1 - 1e-12)), scales[-1])
    scaled = rounded / scale
    sign = "-" if value < 0 else ""
    if scaled < 0.01:  # below the smallest unit
        return f"{sign}{scaled:.{significant}g} {unit}"
    digits = max(0, significant - 1 - math.floor(math.log10(scaled)))
    return f"{sign}{scaled:.{min(digits, significant + 1)}f} {unit}"
