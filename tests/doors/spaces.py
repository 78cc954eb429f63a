"""Doors of spaces and designs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from doors import register
from netsmith.network.zoo.blueprint import read_blueprint
from netsmith.space import Decision, Space
from netsmith.supernets.space import SPACES, load_space


def _spaces() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in SPACES.glob("*.toml")}


@register("space TOML", _spaces)
def _space(folder: Path) -> object:
    for path in sorted(folder.glob("*.toml")):
        space = load_space(str(path))
        design = space.decisions.sample(np.random.default_rng(0), 1)[0]
        space.describe(space.reference, 10), space.describe(design, 10).to_json(), space.scaled(0.5).slots
    return None


def _design() -> dict[str, bytes]:
    space = load_space("tiny")
    return {"design.json": space.describe(space.reference, 10).to_json().encode()}


@register("design JSON", _design)
def _read_design(folder: Path) -> object:
    return read_blueprint(folder / "design.json").key


def _decisions() -> dict[str, bytes]:
    decisions = (Decision("a", "width", (0.5, 1.0)), Decision("b", "bits", (2, 4)), Decision("c", "x", ("p", "q")))
    return {"space.json": Space(decisions, ((0, 2),)).to_json().encode()}


@register("decisions JSON", _decisions)
def _read_decisions(folder: Path) -> object:
    from netsmith.files import read_text

    space = Space.from_json(read_text(folder / "space.json", "space"))
    return json.dumps(space.describe(space.sample(np.random.default_rng(0), 1)[0]))
