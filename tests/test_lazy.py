"""Packages whose names load on first use: every name is there, the type checker is told of it, and no other is."""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path

import pytest

import netsmith

ROOT = Path(netsmith.__file__).parent
LAZY = [path for path in sorted(ROOT.rglob("__init__.py")) if "lazy_names(" in path.read_text(encoding="utf-8")]


def test_packages_are_found() -> None:
    assert ROOT / "__init__.py" in LAZY and len(LAZY) > 10


@pytest.mark.parametrize("path", LAZY, ids=lambda path: path.parent.name)
def test_names_load_on_first_use_and_no_others(path: Path) -> None:
    package = import_module(".".join(("netsmith", *path.parent.relative_to(ROOT).parts)))
    assert dir(package) == sorted(package.__all__)
    for name in package.__all__:
        assert getattr(package, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = package.nothing
    known = {alias.asname or alias.name for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
             if isinstance(node, ast.ImportFrom) for alias in node.names}  # fmt: skip
    assert set(package.__all__) <= known | {"__version__"}, "a type checker does not know these names"
