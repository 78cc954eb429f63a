"""A user's Python file as a module, loaded so that it cannot clash with another of the same name."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType

from netsmith.errors import InputError
from netsmith.files import check_regular
from netsmith.usercode import failure

_MOST_BYTES = 16_000_000


def load_file(path: Path) -> ModuleType:
    """Execute the file ``path`` as a module, with its folder importable meanwhile.

    The module gets a name of its own, made from the path, and stays in ``sys.modules`` under it (dataclasses and
    ``inspect`` look there); a file that changed on disk is loaded anew.

    Raises:
        InputError: the file cannot be read or fails while it runs.
    """
    path = path.resolve()
    with suppress(FileNotFoundError):  # which is said by those who run it
        check_regular(path, remedy="name a Python file", limit=_MOST_BYTES)
    name = f"_netsmith_user_{path.stem}_{hashlib.sha1(str(path).encode()).hexdigest()[:10]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise InputError(f"{path} cannot be loaded as Python")
    module = importlib.util.module_from_spec(spec)
    before = sys.modules.get(name)
    sys.modules[name] = module
    try:
        with importing(path.parent):
            spec.loader.exec_module(module)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # also SystemExit: a user's code may raise anything
        if before is None:
            sys.modules.pop(name, None)
        else:
            sys.modules[name] = before
        raise InputError(f"{path} cannot be loaded: {_describe(error, path)}") from error
    return module


@contextmanager
def importing(folder: Path) -> Iterator[None]:
    """Make the modules beside a user's file importable.

    A module of the same name from another user's folder (two projects that both have a ``layers.py``) is hidden
    meanwhile and comes back afterwards; installed packages are never hidden.
    """
    folder = folder.resolve()
    beside = {p.stem for p in folder.glob("*.py")} | {p.parent.name for p in folder.glob("*/__init__.py")}
    hidden = {
        name: module
        for name, module in list(sys.modules.items())
        if name.partition(".")[0] in beside and _foreign(sys.modules.get(name.partition(".")[0]), folder)
    }
    for name in hidden:
        del sys.modules[name]
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        with suppress(ValueError):  # the user's code may have removed it
            sys.path.remove(str(folder))
        sys.modules.update(hidden)


def _foreign(module: ModuleType | None, folder: Path) -> bool:
    """Whether a module is a user's, but from another folder."""
    file = getattr(module, "__file__", None)
    if file is None or module is sys.modules["__main__"]:
        return False
    path = Path(file).resolve()
    if path.is_relative_to(folder) or {"site-packages", "dist-packages"} & set(path.parts):
        return False
    return not any(path.is_relative_to(root) for root in (Path(__file__).parents[1], *_standard_library()))


def _standard_library() -> list[Path]:
    import sysconfig

    paths = sysconfig.get_paths()
    return [Path(paths[k]).resolve() for k in ("stdlib", "platstdlib")]


def _describe(error: BaseException, path: Path) -> str:
    """The error with the line of the user's file where it came up."""
    import traceback

    if isinstance(error, SyntaxError) and error.lineno is None:
        return f"{error.msg}, so it is no Python file"
    if isinstance(error, SyntaxError):
        return f"{error.msg} in line {error.lineno}" + (f" of {error.filename}" if error.filename != str(path) else "")
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
    where = f" in line {lines[-1]}" if lines else ""
    return f"{failure(error)}{where}"
