"""A strategy of a user's own, in a Python file: ``--strategy FILE.py:NAME``."""

from __future__ import annotations

from types import ModuleType

from netsmith.errors import InputError, did_you_mean
from netsmith.files import to_path
from netsmith.network.userfile import load_file
from netsmith.search.registry import Factory, Spec, register_strategy, spec_of, strategy_names, strategy_spec
from netsmith.usercode import user_code


def registered_in(words: str) -> Spec:
    """Execute a file, and return the strategy in it by the words that name it, with the traits it was registered with.

    Args:
        words: ``FILE.py:NAME``; a class or function of the file, or what it registers a strategy as.

    Raises:
        InputError: there is no such file, it fails, or it has no such strategy.
    """
    place, _, name = words.rpartition(":")
    path = to_path(place)
    if not path.is_file():
        raise InputError(f"there is no file {place} for --strategy; give an existing one")
    with user_code():
        module = load_file(path)
    factory = getattr(module, name, None)
    if not callable(factory) and name in strategy_names() and _made_in(strategy_spec(name).factory, module):
        factory = strategy_spec(name).factory
    if not callable(factory):
        known = [n for n, v in vars(module).items() if hasattr(v, "ask") and isinstance(v, type)]
        hint = did_you_mean(name, known) or (f"; it has {', '.join(known)}" if known else "")
        raise InputError(f"{place} has no strategy {name!r}{hint}; name a class with ask and tell")
    known_as = spec_of(factory)
    register_strategy(words, **(vars(known_as.traits) if known_as else {}))(factory)
    return strategy_spec(words)


def _made_in(factory: Factory, module: ModuleType) -> bool:
    return getattr(factory, "__module__", "") == module.__name__
