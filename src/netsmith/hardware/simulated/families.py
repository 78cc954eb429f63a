"""Hardware of one's own: TOML files of hardware families to targets, and the packaged configurations.

A family is a frozen dataclass of numbers and a class that prices rows from it. A file names its family and gives the
fields; ``docs/hardware.md`` lists them. Families load on use.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netsmith.errors import InputError, did_you_mean, shown
from netsmith.files import read_toml
from netsmith.hardware.target import Target, register_target, register_target_file
from netsmith.schema import Parameter, describe, read_mapping
from netsmith.units import count_of

CONFIGS = Path(__file__).parent / "configs"
_ROOFLINE = "write roofline:peak=64e9,peak8=256e9,bandwidth=12e9 (peak in MAC/s, peakN at N bits, bandwidth in bytes/s)"


@dataclass(frozen=True)
class Family:
    """Where the two classes of a family are.

    Attributes:
        module: import path, imported on use.
        config: name of the frozen dataclass in it.
        target: name of the class that takes such a configuration.
    """

    name: str
    module: str
    config: str
    target: str

    @property
    def installed(self) -> bool:
        """Whether the module is there; a family may be a package of its own."""
        from importlib.util import find_spec

        try:
            return find_spec(self.module) is not None
        except ModuleNotFoundError:
            return False

    def classes(self) -> tuple[type, Callable[[Any], Target]]:
        """Configuration class and target class."""
        from importlib import import_module

        module = import_module(self.module)
        return getattr(module, self.config), getattr(module, self.target)


_FAMILIES: dict[str, Family] = {}


def register_family(name: str, module: str, config: str, target: str) -> Family:
    """Make ``family = "NAME"`` a family of hardware files; its module is not imported before a file asks for it."""
    _FAMILIES[name] = Family(name, module, config, target)
    return _FAMILIES[name]


def family_names() -> list[str]:
    """Names of all families."""
    return sorted(_FAMILIES)


def family(name: str, source: str = "family") -> Family:
    """The family of that name.

    Raises:
        InputError: there is none; names ``source`` and the nearest known one.
    """
    if name not in _FAMILIES:
        hint = did_you_mean(name, family_names())
        raise InputError(f"{source}: unknown family {shown(name)}{hint}; known families: {', '.join(family_names())}")
    return _FAMILIES[name]


def family_schema(name: str) -> tuple[Parameter, ...]:
    """Every key of a family's files: type, unit, default, meaning and limits."""
    return describe(family(name).classes()[0])


def load_config(
    source: str | Path | Mapping[str, Any], *, name: str | None = None, overrides: Mapping[str, Any] | None = None
) -> Target:
    """Build the target that a hardware file describes.

    Args:
        source: TOML file, or its contents as a mapping.
        name: name of the target; the file's name without ending by default, for a mapping the family.
        overrides: keys that replace those of the file.

    Raises:
        InputError: no such file, no TOML, or a key that is unknown, missing, of a wrong type or out of range; one
            sentence that names the file and the key.
    """
    given = isinstance(source, Mapping)
    where = f"target {name}" if name else "hardware configuration" if given else str(source)
    remedy = "docs/hardware.md shows how to write one"
    values = dict(source) if isinstance(source, Mapping) else read_toml(Path(source), "hardware file", remedy)
    if "family" not in values:
        raise InputError(
            f"{where}: the key 'family' is missing; it is one of {', '.join(family_names())} (see docs/hardware.md)"
        )
    named = values.pop("family")
    if not isinstance(named, str):
        raise InputError(f"{where}: the key 'family' must be a text, not {shown(named)}; {', '.join(family_names())}")
    kind = family(named, where)
    config, target_class = kind.classes()
    target = target_class(read_mapping(config, values | dict(overrides or {}), where))
    target.name = name or (kind.name if given else Path(str(source)).stem)
    return target


# ---- names ----------------------------------------------------------------------------------------------------------


def packaged_names() -> list[str]:
    """Targets that come with netsmith as a file; files are listed, not read."""
    return sorted(path.stem for path in CONFIGS.glob("*.toml"))


def packaged_of(family: str) -> list[str]:
    """Those of a family, in order of their names."""
    return [name for name in packaged_names() if _family_in(CONFIGS / f"{name}.toml") == family]


def _family_in(path: Path) -> str:
    return str(read_toml(path, "hardware file", "reinstall netsmith").get("family"))


def _packaged(name: str) -> Callable[..., Target]:
    def build(argument: str = "", **options: Any) -> Target:
        changes = assignments(argument, f"target {name}") | options
        return load_config(CONFIGS / f"{name}.toml", name=name, overrides=changes)

    build.__doc__ = f"``{name}``, or ``{name}:KEY=VALUE,...`` with keys of its file changed."
    return build


def assignments(text: str, source: str) -> dict[str, Any]:
    """``key=value,key=value`` with values as TOML writes them; a bare word is a text.

    Raises:
        InputError: something is no assignment.
    """
    found: dict[str, Any] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        key, equals, value = (part.strip() for part in item.partition("="))
        if not equals or not key or not value:
            raise InputError(f"{source}: {shown(item)} is no assignment; write KEY=VALUE,KEY=VALUE")
        found[key] = value_of(value)
    return found


def value_of(text: str) -> Any:
    """A value as TOML writes it; a bare word is a text."""
    import tomllib

    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, KeyError, RecursionError):
        return text


def _roofline(argument: str = "", **options: Any) -> Target:
    """``roofline:peak=64e9,peak8=256e9,bandwidth=12e9,overhead=5e-6``: a roofline machine in one line.

    ``peak`` is the rate in floating point (32 bits), ``peakN`` that at N-bit weights and activations, in
    multiply-accumulates a second; ``bandwidth`` in bytes a second, ``overhead`` in seconds a layer.
    """
    from netsmith.hardware.simulated.roofline import Roofline, RooflineConfig

    source = "target roofline"
    given = assignments(argument, source) | options
    if not given:
        raise InputError(f"{source} needs a machine: {_ROOFLINE}; or use a packaged one such as roofline-edge")
    rates: dict[str, float] = {}
    others: dict[str, Any] = {}
    for key, value in given.items():
        bits = count_of(key.removeprefix("peak") or "32", most=32)
        if key.startswith("peak") and bits:
            rates[f"{bits}x{bits}"] = value
        elif key in ("bandwidth", "overhead"):
            others["bandwidth_bytes_per_s" if key == "bandwidth" else "overhead_s"] = value
        else:
            hint = did_you_mean(key, ["peak", "peak8", "peak4", "bandwidth", "overhead"])
            raise InputError(f"{source} has no option {shown(key)}{hint}; {_ROOFLINE}")
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InputError(f"{source}: option {key} is a number, not {shown(value)}")
    if not rates or "bandwidth_bytes_per_s" not in others:
        raise InputError(f"{source} needs a peak and a bandwidth; {_ROOFLINE}")
    return Roofline(read_mapping(RooflineConfig, {"peak_macs_per_s": rates} | others, source))


for _name in ("roofline", "systolic", "bismo", "microcontroller"):
    _config = _name.title()
    register_family(_name, f"netsmith.hardware.simulated.{_name}", f"{_config}Config", _config)
register_family("bitfusion", "netsmith.hardware.simulated.bitfusion", "BitFusionConfig", "BitFusion")

register_target_file(".toml", lambda path, **options: load_config(path, overrides=options))
register_target("roofline")(_roofline)
for _name in packaged_names():
    register_target(_name)(_packaged(_name))
