"""The replayable recipe: what was done to a network, step by step, without tracing.

A recipe knows nothing of dependency graphs: it holds, for each layer, the input and output channels that stay. So the
user's own factory output becomes the compressed network without tracing, and the saved weights load strictly.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from netsmith.compression.steps import Step, step_class, step_names
from netsmith.errors import InputError, shown
from netsmith.files import parse_json, read_json
from netsmith.shapes import Anything, List, Named, Number, Record, Text

VERSION = 1
_REMEDY = "give the recipe.json of a run"
_BITS = List(Number(low=1, high=32, whole=True), count=2)
_RECIPE = Record(
    {"version": Number(low=1, whole=True), "steps": List(Anything())},
    {"quantize": Record(optional={"int8": List(Text()), "bits": Named(_BITS)})},
)


@dataclass(frozen=True)
class Recipe:
    """Decisions in the order in which they were taken; ``quantize`` belongs to the quantizer.

    >>> Recipe.from_json(Recipe().to_json()) == Recipe()
    True
    """

    steps: tuple[Step, ...] = ()
    quantize: Mapping[str, Any] = field(default_factory=dict)
    version: int = VERSION

    def then(self, *steps: Step) -> Recipe:
        """Return the recipe with ``steps`` after its own; steps that do nothing are left out."""
        return Recipe((*self.steps, *(s for s in steps if s)), self.quantize, self.version)

    def to_json(self) -> str:
        """Return the recipe as JSON text."""
        steps = [{"do": s.do} | s.to_dict() for s in self.steps]
        return json.dumps({"version": self.version, "steps": steps, "quantize": dict(self.quantize)}, indent=1)

    @classmethod
    def read(cls, path: str | Path) -> Recipe:
        """Read a ``recipe.json``.

        Raises:
            InputError: it cannot be read, or holds no recipe.
        """
        return cls._of(read_json(Path(path), _REMEDY), str(path))

    @classmethod
    def from_json(cls, text: str) -> Recipe:
        """Read what ``to_json`` wrote.

        Raises:
            InputError: the text is no recipe, or one of a newer version.
        """
        return cls._of(parse_json(text, "the recipe", _REMEDY), "the recipe")

    @classmethod
    def _of(cls, data: Any, called: str) -> Recipe:
        if problem := _RECIPE.problem(data, "") or _problem_of_steps(data["steps"]):
            raise InputError(f"{called} is no recipe of netsmith: {problem}; {_REMEDY}")
        if data["version"] > VERSION:
            raise InputError(
                f"{called} has version {data['version']}, this netsmith reads up to {VERSION}; update netsmith"
            )
        try:
            steps = tuple(step_class(s["do"]).from_dict(s) for s in data["steps"])
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{called} is no recipe of netsmith ({shown(str(error))}); {_REMEDY}") from error
        return cls(steps, data.get("quantize") or {}, data["version"])


def _problem_of_steps(steps: Any) -> str | None:
    """What is wrong with the first step that is none."""
    for i, step in enumerate(steps):
        where = f"steps[{i}]"
        problem = Record({"do": Text(tuple(step_names()))}).problem(step, where)
        if problem := problem or step_class(step["do"]).shape.problem(step, where):
            return problem
    return None


def apply_recipe(model: nn.Module, recipe: Recipe) -> nn.Module:
    """Apply every step to ``model`` in place, without tracing, and return it; weights then load strictly.

    Raises:
        InputError: the recipe names a layer or a channel that the model does not have.
    """
    for step in recipe.steps:
        step.apply(model)
    return model
