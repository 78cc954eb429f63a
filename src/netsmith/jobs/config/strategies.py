"""How compress searches: each strategy with its traits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from netsmith.errors import InputError
from netsmith.jobs.config.base import Config
from netsmith.schema import parameter


@dataclass(frozen=True)
class Strategy(Config):
    """How designs are searched for.

    Attributes:
        usual: designs that it runs on the search split where sums of losses mislead and the user does not say.
        learns: it needs results of whole designs, as summed sensitivities tell it too little.
        trims: it goes to the budgets step by step.
    """

    name: ClassVar[str] = ""
    panel: ClassVar[str] = "Search"
    usual: ClassVar[int] = 200
    learns: ClassVar[bool] = False
    trims: ClassVar[bool] = False
    evaluations: int | None = parameter(
        "designs to run on the search split; 0 trusts the sums of single choices alone", default=None, low=0
    )
    sensitivity: Literal["loss", "output", "fisher", "hessian"] = parameter(
        "what one choice alone loses: loss, output (both measured), fisher or hessian", default="loss"
    )
    episode_images: int = parameter(
        "train each evaluated design on so many images first, as HAQ and NetAdapt do", default=0, low=0
    )

    def check(self) -> None:
        if self.trims and self.evaluations:
            raise InputError(
                f"--strategy {self.name} runs as many designs as its steps need; drop --evaluations, or give 0 to go "
                "by summed losses alone"
            )


class Exact(Strategy):
    """The optimum of summed losses with its proven bound, then designs beside it."""

    name, usual = "exact", 16


class Greedy(Strategy):
    """The choice that saves most for what it loses, one after another."""

    name, usual = "greedy", 16


class Uniform(Strategy):
    """One share of the channels and one width everywhere."""

    name, usual = "uniform", 49


class Random(Strategy):
    """Random designs that fill the budgets."""

    name = "random"


class Evolution(Strategy):
    """A genetic search."""

    name, learns = "evolution", True


class Shallow(Strategy):
    """Early layers keep most."""

    name, usual = "shallow", 32


class Deep(Strategy):
    """Late layers keep most."""

    name, usual = "deep", 32


class Amc(Strategy):
    """Reinforcement learning, layer by layer (AMC)."""

    name, usual, learns = "amc", 400, True


class Ddpg(Strategy):
    """Reinforcement learning of bit-widths (HAQ)."""

    name, usual, learns = "ddpg", 300, True


class NetAdapt(Strategy):
    """Step by step, the layer that costs least accuracy (NetAdapt)."""

    name, learns, trims = "netadapt", True, True


class CompactNet(Strategy):
    """Step by step, many layers at once, by accuracy over resource (CompactNet)."""

    name, learns, trims = "compactnet", True, True


STRATEGIES: dict[str, type[Strategy]] = {
    s.name: s
    for s in (Exact, Amc, CompactNet, Ddpg, Deep, Evolution, Greedy, NetAdapt, Random, Shallow, Uniform)
}  # fmt: skip
