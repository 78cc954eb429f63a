"""The Python files that make a user's network: its own and what it imports from the user's folder."""

from __future__ import annotations

import ast
import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path


def source_files(spec: str) -> list[Path]:
    """Files of the user's that the network ``spec`` comes from, in order; none for the zoo and installed packages."""
    place = spec.strip().partition("?")[0].rpartition(":")[0]
    if place in ("", "zoo", "timm", "torchvision", "design"):
        return []
    if place.endswith(".py"):
        path = Path(os.path.expanduser(place)).resolve()
        return imported(path, path.parent) if path.is_file() else []
    try:
        found = importlib.util.find_spec(place)
    except (ImportError, ValueError):
        return []
    if found is None or found.origin is None or not found.origin.endswith(".py"):
        return []
    path = Path(found.origin).resolve()
    if {"site-packages", "dist-packages"} & set(path.parts):
        return []
    up = place.count(".") + (path.name == "__init__.py")
    return imported(path, path.parents[up])


def imported(path: Path, root: Path) -> list[Path]:
    """``path`` and every file below ``root`` that it imports, directly or not, sorted.

    Read from the text of the files, imports inside functions among them; names that are put together while the code
    runs are not seen.
    """
    found: set[Path] = set()
    todo = [path]
    while todo:
        file = todo.pop()
        if file in found:
            continue
        found.add(file)
        for base, name in _imports(file, root):
            parts = name.split(".") if name else []
            for n in range(len(parts) + 1):
                place = base.joinpath(*parts[:n])
                near = [place / "__init__.py"] if n == 0 else [place.with_suffix(".py"), place / "__init__.py"]
                todo += [p.resolve() for p in near if p.is_file()]
    return sorted(found)


def code_of(path: Path) -> str:
    """What a file of Python says: comments, blank lines and layout do not count."""
    try:
        return ast.dump(ast.parse(path.read_bytes()))
    except (SyntaxError, ValueError):  # it may never be run
        return path.read_bytes().hex()


def _imports(file: Path, root: Path) -> Iterator[tuple[Path, str]]:
    """Folder and dotted name of everything that a file imports."""
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((root, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = file.parents[node.level - 1] if 0 < node.level <= len(file.parents) else root
            module = f"{node.module}." if node.module else ""
            yield from ((base, f"{module}{alias.name}".removesuffix(".*")) for alias in node.names)
