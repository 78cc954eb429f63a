"""From options, each by its own name, to a job's configuration and back.

The command line, keyword arguments and ``config.json`` have options side by side (``widths``, ``epochs``, ``mean``), a
configuration has them in groups. A group may also be given whole: ``fine_tune=FineTune(epochs=3)``, and so may methods
and a strategy: ``methods=(Prune(widths=16),)``, ``strategy=Exact(evaluations=16)``.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import os
import sys
import threading
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeVar

from netsmith.errors import InputError, did_you_mean, shown
from netsmith.jobs.config import (
    METHODS,
    STRATEGIES,
    Config,
    Method,
    Strategy,
    method_config,
    option,
    strategy_config,
)
from netsmith.schema import Meaning, kind_of, limits_of, meaning

C = TypeVar("C", bound=Config)
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Option:
    """One option of a job.

    Attributes:
        name: the field's.
        kind: type of its value: ``str``, ``int``, ``float``, ``bool``, a tuple type; None where only the job can tell.
        optional: whether it may be left open.
        default: ``dataclasses.MISSING`` where it must be given.
        meaning: what it says of itself.
        panel: heading that it stands under.
    """

    name: str
    kind: Any
    optional: bool
    default: Any
    meaning: Meaning
    panel: str

    @property
    def required(self) -> bool:
        """Whether it must be given."""
        return self.default is dataclasses.MISSING

    @property
    def flag(self) -> str:
        """How the command line calls it."""
        return self.meaning.flag or option(self.name)


def options_of(config: type[Config]) -> dict[str, Option]:
    """All options of a job by name, in the order of the help.

    ``methods`` and ``strategy`` are texts here, followed by the options of every method and of a strategy.
    """
    options: dict[str, Option] = {}
    for o in _walk(config):
        options.setdefault(o.name, o)  # of two methods with one name, the first says what it means
    return options


def _walk(config: type[Config]) -> Iterator[Option]:
    hints, panel = typing.get_type_hints(config), getattr(config, "panel", "")
    for f in dataclasses.fields(config):
        hint, m = hints[f.name], meaning(f)
        if f.name == "methods":
            yield Option(f.name, str, False, ",".join(method.name for method in _default(f)), m, m.panel)
            for method in METHODS.values():
                yield from (_open(o) for o in _walk(method))
        elif f.name == "strategy":
            yield Option(f.name, str, False, _default(f).name, m, m.panel)
            yield from _walk(Strategy)
        elif isinstance(hint, type) and issubclass(hint, Config):
            yield from _walk(hint)
        else:
            kind, optional = kind_of(hint)
            m = dataclasses.replace(m, limits=limits_of(f, hint))
            yield Option(f.name, kind, optional, f.default, m, m.panel or panel)


def _default(f: dataclasses.Field[Any]) -> Any:
    return f.default


def _open(o: Option) -> Option:
    """An option whose default differs from method to method is left open."""
    several = {o.default} | {f.default for m in METHODS.values() for f in dataclasses.fields(m) if f.name == o.name}
    return o if len(several) == 1 else dataclasses.replace(o, default=None, optional=True)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """The random numbers of a caller who has torch go on as if no job had been called."""
    torch = sys.modules.get("torch")
    with torch.random.fork_rng(devices=[]) if torch else nullcontext():
        yield


_ALONE = threading.RLock()  #: a job has the process for itself: torch traces, and machines are timed, one at a time


def takes(config: type[Config]) -> Callable[[F], F]:
    """Let a job's signature, as ``help()`` and editors show it, have the options that it takes by name.

    Jobs that are called from several threads run one after another.
    """

    def show(job: F) -> F:
        own = [p for p in inspect.signature(job).parameters.values() if p.kind is not p.VAR_KEYWORD]
        empty, names = inspect.Parameter.empty, {p.name for p in own}
        more = [
            inspect.Parameter(o.name, inspect.Parameter.KEYWORD_ONLY, default=empty if o.required else o.default)
            for o in options_of(config).values() if o.name not in names
        ]  # fmt: skip
        groups = [f for f in dataclasses.fields(config) if f.default_factory is not dataclasses.MISSING]
        more += [inspect.Parameter(f.name, inspect.Parameter.KEYWORD_ONLY, default=None) for f in groups]

        @functools.wraps(job)
        def alone(*args: Any, **given: Any) -> Any:
            with _ALONE, _undisturbed():
                return job(*args, **given)

        alone.__signature__ = inspect.Signature([*own, *more])  # type: ignore[attr-defined]
        return alone  # type: ignore[return-value]

    return show


def assemble(config: type[C], given: Mapping[str, Any]) -> C:
    """A job's configuration from options and whole groups.

    Args:
        given: option or group -> value; texts of the command line are read. None, where an option may not be left open,
            is its default.

    Raises:
        InputError: an unknown name, one given twice, or a value that cannot be used.
    """
    known, groups = options_of(config), {f.name for f in dataclasses.fields(config)}
    for name in given:
        if name not in known and name not in groups:
            near = did_you_mean(name, [*known, *groups])
            raise InputError(f"{config.__name__.removesuffix('Config').lower()} has no option {name!r}{near}")
    used: set[str] = set()
    built: C = _build(config, given, used)
    for name in given:
        value, default = given[name], None if name in used else known[name].default
        left_open = value is None or (type(value) is type(default) and value == default)
        if name not in used and not left_open:
            raise InputError(_unused(name, built))
    return built


def _unused(name: str, config: Config) -> str:
    """Why an option would do nothing."""
    owners = [m.name for m in METHODS.values() if name in {f.name for f in dataclasses.fields(m)}]
    chosen = [m.name for m in getattr(config, "methods", ())]
    if owners and not set(owners) & set(chosen):
        which = " or ".join(owners)
        return f"{option(name)} is of {which}, which --methods {','.join(chosen)} does not use; drop it, or add {which}"
    return f"{option(name)} is given beside a configuration that has it; give one of the two"


def _build(config: type[C], given: Mapping[str, Any], used: set[str]) -> C:
    hints, values = typing.get_type_hints(config), dict[str, Any]()
    for f in dataclasses.fields(config):
        hint, value = hints[f.name], given.get(f.name)
        if f.name == "methods":
            used.add(f.name)
            values[f.name] = _methods([m.name for m in _default(f)] if value is None else value, given, used)
        elif f.name == "strategy":
            used.add(f.name)
            values[f.name] = _strategy(_default(f).name if value is None else value, given, used)
        elif isinstance(hint, type) and issubclass(hint, Config):
            used.add(f.name)
            values[f.name] = value if value is not None else _build(hint, given, used)
            if not isinstance(values[f.name], hint):
                raise InputError(f"{option(f.name)} must be a {hint.__name__}, not {_wrong(value)}")
        elif f.name in given:
            used.add(f.name)
            if value is not None or kind_of(hint)[1] or kind_of(hint)[0] is None:
                values[f.name] = _read(value, f, hint)
        elif f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING:
            raise InputError(f"{option(f.name)} is missing; it is {meaning(f).doc}")
    return config(**values)


def _read(value: Any, f: dataclasses.Field[Any], hint: Any) -> Any:
    """A text of the command line as the value that it stands for; any other value as it is."""
    if not isinstance(value, str):
        return value
    if reader := meaning(f).read:
        return reader(value)
    if kind_of(hint)[0] == tuple[str, ...]:
        return tuple(dict.fromkeys(part.strip() for part in value.split(",") if part.strip()))
    return value


def _methods(value: Any, given: Mapping[str, Any], used: set[str]) -> tuple[Config, ...]:
    """Methods by name or as their configurations, each with the options that are its own."""
    several = value.split(",") if isinstance(value, str) else value
    several = [several] if isinstance(several, Config) else several
    if not isinstance(several, Sequence):
        raise InputError(f"--methods must be one or more of {', '.join(METHODS)}, not {_wrong(value)}")
    found: dict[str, Config] = {}
    for one in several:
        name = one.strip() if isinstance(one, str) else one.name if isinstance(one, Method) else ""
        own = method_config(name)
        if own is None:
            known = f"{', '.join(METHODS)}, or FILE.py:NAME for a kind of yours"
            raise InputError(f"--methods: unknown method {_wrong(one, METHODS)}; known: {known}")
        method = _build(own, given, used) if isinstance(one, str) else one
        if found.setdefault(name, method) != method:
            raise InputError(f"--methods has {name} twice, differently; give it once")
    return tuple(found.values())


def _wrong(value: Any, known: Mapping[str, Any] | None = None) -> str:
    """What stands where a method, strategy or group should, and what was meant."""
    if isinstance(value, type) and issubclass(value, Config):
        return f"the class {value.__name__}: write {value.__name__}()"
    return shown(value) + (did_you_mean(value, list(known)) if known and isinstance(value, str) else "")


def _strategy(value: Any, given: Mapping[str, Any], used: set[str]) -> Strategy:
    if isinstance(value, Strategy) and value.name:
        return value
    if isinstance(value, type) and issubclass(value, Config):
        raise InputError(f"--strategy: unknown strategy {_wrong(value)}; known: {', '.join(STRATEGIES)}")
    return _build(strategy_config(value), given, used)


def flatten(config: Config) -> dict[str, Any]:
    """The options of a configuration side by side, as JSON values for ``config.json``."""
    from netsmith.data import describe

    values: dict[str, Any] = {}
    for f in dataclasses.fields(config):
        value = getattr(config, f.name)
        if f.name == "methods":
            values["methods"] = [method.name for method in value]
            absent = [m() for m in METHODS.values() if m.name not in values["methods"]]
            values |= {k: v for method in (*reversed(absent), *value) for k, v in flatten(method).items()}
        elif f.name == "strategy":
            values |= {"strategy": value.name} | flatten(value)
        elif isinstance(value, Config):
            values |= flatten(value)
        elif f.name == "data":
            values[f.name] = None if value is None else describe(value)  # a task of the user's may bring its own
        else:
            values[f.name] = _recorded(value)
    return values


def _recorded(value: Any) -> Any:
    """A value as ``config.json`` has it; a thing of Python's by its name, which is the same in the next process."""
    if isinstance(value, tuple | list):
        return [_recorded(v) for v in value]
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    own = getattr(value, "name", None) or getattr(value, "__name__", None)
    return own if isinstance(own, str) else type(value).__name__
