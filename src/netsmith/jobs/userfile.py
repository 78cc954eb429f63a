"""What a user has in a Python file: ``FILE.py:NAME`` for --strategy, --methods, --task, --fit and --after-epoch."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from types import ModuleType
from typing import Any

from netsmith.decisions.registry import Maker, makers_of, register_kind, registered_names
from netsmith.errors import InputError, did_you_mean
from netsmith.files import to_path
from netsmith.network.userfile import load_file
from netsmith.search.registry import Factory, Spec, register_strategy, spec_of, strategy_names, strategy_spec
from netsmith.usercode import user_code


def strategy_in(words: str) -> Spec:
    """Execute a file, and return the strategy in it by the words that name it, with the traits it was registered with.

    Args:
        words: ``FILE.py:NAME``; a class or function of the file, or what it registers a strategy as.

    Raises:
        InputError: there is no such file, it fails, or it has no such strategy.
    """
    module, name = _module(words, "--strategy")
    factory = getattr(module, name, None)
    if not callable(factory) and name in strategy_names() and _made_in(strategy_spec(name).factory, module):
        factory = strategy_spec(name).factory
    if not callable(factory):
        known = [n for n, v in vars(module).items() if hasattr(v, "ask") and isinstance(v, type)]
        hint = did_you_mean(name, known) or (f"; it has {', '.join(known)}" if known else "")
        raise InputError(f"{module.__file__} has no strategy {name!r}{hint}; name a class with ask and tell")
    known_as = spec_of(factory)
    register_strategy(words, **(vars(known_as.traits) if known_as else {}))(factory)
    return strategy_spec(words)


@cache
def kind_in(words: str) -> str:
    """Execute a file, and register the kind of decisions in it under the words that name it, which are returned.

    Args:
        words: ``FILE.py:NAME``; a function of the file that makes a kind, or what it registers one as.

    Raises:
        InputError: there is no such file, it fails, or it has no such kind.
    """
    module, name = _module(words, "--methods")
    maker: Maker | None = getattr(module, name, None)
    own = [m for method in registered_names() for m in makers_of(method) if _made_in(m, module)]
    if not callable(maker) and name in registered_names():
        maker = next((m for m in makers_of(name) if m in own), None)
    if not callable(maker) or isinstance(maker, type):  # a kind's class is not called as its maker is
        known = [m.__name__ for m in own]
        hint = did_you_mean(name, known) or (f"; it has {', '.join(known)}" if known else "")
        raise InputError(f"{module.__file__} has no kind {name!r}{hint}; name a function with @register_kind")
    register_kind(words)(maker)
    return words


@cache
def function_in(words: str, option: str) -> Callable[..., Any]:
    """Execute a file, and return the function in it by the words that name it.

    Args:
        words: ``FILE.py:NAME``.
        option: that gave them, for messages.

    Raises:
        InputError: there is no such file, it fails, or it has no such function.
    """
    if ".py:" not in words:
        raise InputError(f"{option} is {words!r}; name a function of a file, as FILE.py:NAME")
    module, name = _module(words, option)
    function = getattr(module, name, None)
    if not callable(function):
        known = [n for n, v in vars(module).items() if callable(v) and getattr(v, "__module__", "") == module.__name__]
        raise InputError(
            f"{module.__file__} has no function {name!r}{did_you_mean(name, known)}; name one for {option}"
        )
    return function  # type: ignore[no-any-return]


def _module(words: str, option: str) -> tuple[ModuleType, str]:
    """The module of the file, and the name in it."""
    place, _, name = words.rpartition(":")
    path = to_path(place)
    if not path.is_file():
        raise InputError(f"there is no file {place} for {option}; give an existing one")
    with user_code():
        return load_file(path), name


def _made_in(factory: Factory | Maker, module: ModuleType) -> bool:
    return getattr(factory, "__module__", "") == module.__name__
