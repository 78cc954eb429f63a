"""Step-wise trimming as a way to find designs: NetAdapt and CompactNet on masked designs, or with short trainings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from netsmith.accuracy.designs import DesignEvaluator
from netsmith.decisions.kind import Designs
from netsmith.decisions.pricing import Pricing
from netsmith.decisions.slim import Slimmed
from netsmith.jobs.proposals import Proposal, loss_of
from netsmith.jobs.short_tune import FOLDER, Cut, ShortTuner
from netsmith.progress import Progress
from netsmith.runs.folder import Run
from netsmith.search.strategy import Problem
from netsmith.search.trim.compactnet import CompactNet
from netsmith.search.trim.family import Member
from netsmith.search.trim.trimming import Trimming
from netsmith.systems.compactnet import iterations_for
from netsmith.systems.family import trim


class Trimmer:
    """Proposes the network that a trimming ends with; asked again for other limits, it goes on from where they part.

    Args:
        name: "netadapt" or "compactnet".
        pricing: renews the cost tables at every winner, so that each candidate's price is its own.
        progress: shown the share of the way that is done.
        how: evaluates candidates: as masked designs, or after a short training; None by summed losses.
    """

    def __init__(
        self, name: str, pricing: Pricing, progress: Progress, how: DesignEvaluator | ShortTuner | None = None
    ) -> None:
        self.name, self.pricing, self.how, self.progress = name, pricing, how, progress
        self.strategy: Trimming | None = None
        self._families: dict[tuple[int, ...], tuple[list[Member], list[Cut]]] = {}
        self._cuts: list[Cut] = []

    def __call__(self, problem: Problem) -> Proposal:
        if self.strategy is None:
            self.strategy = self._strategy(problem)
        else:
            self.strategy.retarget(problem)
            del self._cuts[len(self.strategy.family) :]
        start: Any = self._cuts[-1] if self._cuts else Cut(self._key(self.pricing.space.reference))
        # masked designs are all cut from the network as given: nothing is carried on but the design
        family = trim(self.strategy, start, self._tune(problem), on_winner=self._won, progress=self.progress)
        design = self._key(family.design)
        self._families[design] = list(family.members), list(self._cuts)
        return Proposal(np.array(design), family.members[-1].loss)

    def outcome(self, design: Sequence[int], run: Run, slim: Callable[[Designs], Slimmed]) -> dict[str, Any]:
        """The family of a proposed design, as JSON values, and the rule by which its winners were chosen.

        Recipes that make the networks are written to the run folder; so are weights, where they were tuned.
        """
        found = self._families.get(tuple(design))
        if found is None or self.strategy is None:  # the design of least latency, which was not trimmed to
            return {}
        first, rows = found[0][0].costs, []
        for member, cut in zip(*found, strict=True):
            recipe = cut.recipe or f"{FOLDER}/{cut.key}.recipe.json"
            if cut.recipe is None:
                run.write_text(recipe, slim(np.array(cut.design)).recipe.to_json())
            speed_up = {n: first[n] / v for n, v in member.costs.items()}
            rows.append(
                member.to_dict()
                | {"design": list(cut.design), "speed_up": speed_up, "recipe": recipe, "weights": cut.weights}
            )
        return {"family": rows, "rule": self.strategy.rule}

    def _strategy(self, problem: Problem) -> Trimming:
        space, pricing = self.pricing.space.decisions, self.pricing
        names = list(problem.budgets)

        def renew(design: Designs) -> dict[str, Any]:
            return {name: pricing.table(name, design) for name in names}

        if self.name == "netadapt":
            return Trimming(problem, space, renew=renew)
        given = problem.price(pricing.space.reference[None])
        speed_up = max((float(given[n][0]) / limit for n, limit in problem.budgets.items()), default=1.0)
        return CompactNet(problem, space, iterations=iterations_for(speed_up), renew=renew)

    def _tune(self, problem: Problem) -> Callable[[Cut, Designs], Iterable[tuple[Cut, float]]]:
        how = self.how
        if isinstance(how, ShortTuner):
            return how

        def masked(_: Cut, designs: Designs) -> Iterable[tuple[Cut, float]]:
            if how is None:
                losses = [float(v) for v in problem.estimate(designs)]
            else:
                losses = [loss_of(e) for e in how.evaluate(designs)]
            return zip((Cut(self._key(d)) for d in designs), losses, strict=True)

        return masked

    def _won(self, cut: Cut, member: Member) -> None:
        if isinstance(self.how, ShortTuner):
            self.how.keep(cut)
        self._cuts.append(cut)

    def _key(self, design: Designs) -> tuple[int, ...]:
        return tuple(int(k) for k in self.pricing.space.canonical(design))
