"""The script of docs/results.md, as somebody runs it who has ``model.onnx`` and nothing of netsmith."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

_PAGE = Path(__file__).parents[1] / "docs" / "results.md"


def classify_by(model: Path) -> Callable[[Path], str]:
    """What the script makes of a model: a function from an image file to the name of its class."""
    scripts = re.findall(r"```python\n(.*?)```", _PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (script,) = (s for s in scripts if "netsmith.{key}" in s)
    assert not re.search(r"^\s*(import|from) netsmith", script, re.MULTILINE)
    names: dict[str, Any] = {}
    exec(script.replace("runs/NAME/model.onnx", str(model)), names)
    found: Callable[[Path], str] = names["classify"]
    return found


def answer_by(model: Path) -> Callable[[Any], dict[str, Any]]:
    """The same of the script for networks of any task: a function from arrays by name to outputs by name."""
    scripts = re.findall(r"```python\n(.*?)```", _PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (script,) = (s for s in scripts if "netsmith.task" in s)
    assert not re.search(r"^\s*(import|from) netsmith", script, re.MULTILINE)
    names: dict[str, Any] = {}
    exec(script.replace("runs/NAME/model.onnx", str(model)), names)
    found: Callable[[Any], dict[str, Any]] = names["answer"]
    return found


def accuracy_by(model: Path, folder: Path) -> float:
    """Share of the images of ``folder`` that lie in the subfolder of the class that the script says."""
    classify = classify_by(model)
    files = sorted(folder.glob("*/*.png"))
    return sum(classify(file) == file.parent.name for file in files) / len(files)
