"""The networks that a step-wise search leaves on its way, as a run keeps them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from netsmith.decisions.kind import Designs
from netsmith.decisions.slim import Slimmed
from netsmith.runs.folder import Run
from netsmith.search.strategy import Path
from netsmith.search.trim.family import Member
from netsmith.study.inherited import Inherited, recipe_file
from netsmith.study.study import Study


def family_of(study: Study, design: Sequence[int], run: Run, slim: Callable[[Designs], Slimmed]) -> dict[str, Any]:
    """The family of a design that was found, as JSON values, and the rule by which its members were chosen.

    Recipes that make the networks are written to the run folder; so are weights, where they were trained.

    Args:
        slim: a design to its network, for members that were not trained.
    """
    assert study.log is not None
    members: Sequence[Member] = study.families.get(tuple(design), ())
    rows = []
    kept = study.log.evaluator.kept if isinstance(study.log.evaluator, Inherited) else {}
    way: Path = ()
    for member in members:
        own = study.log.network(member.design)
        way = (*way, own) if study.log.inherits else (own,)
        if own not in kept:
            run.write_text(recipe_file(way), slim(np.array(own)).recipe.to_json())
        rows.append(
            member.to_dict() | {"design": list(own), "speed_up": member.speed_ups(members[0]),
                                "recipe": recipe_file(way), "weights": kept.get(own)}
        )  # fmt: skip
    return {"family": rows, "rule": study.strategy.rule} if rows else {}
