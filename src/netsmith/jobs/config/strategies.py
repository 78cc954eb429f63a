"""How compress searches: a configuration for each strategy there is, made from what the strategy says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Literal

from netsmith.errors import InputError, did_you_mean, shown
from netsmith.jobs.config.base import Config
from netsmith.schema import parameter
from netsmith.search.registry import BUILT_IN, Spec, Traits, spec_of, strategy_names, strategy_spec


@dataclass(frozen=True)
class Strategy(Config):
    """How designs are searched for."""

    name: ClassVar[str] = ""
    panel: ClassVar[str] = "Search"
    evaluations: int | None = parameter(
        "designs to run on the search split; 0 trusts the sums of single choices alone", default=None, low=0
    )
    sensitivity: Literal["loss", "output", "fisher", "hessian"] = parameter(
        "what one choice alone loses: loss, output (both measured), fisher or hessian", default="loss"
    )
    episode_images: int = parameter(
        "train each evaluated design on so many images first, as HAQ and NetAdapt do", default=0, low=0
    )

    @property
    def spec(self) -> Spec:
        """The strategy, and what it says of itself."""
        return strategy_spec(self.name)

    @property
    def traits(self) -> Traits:
        """How the strategy wants to be run."""
        return self.spec.traits

    def check(self) -> None:
        if self.name and self.traits.walks and self.evaluations:
            raise InputError(
                f"--strategy {self.name} runs as many designs as its steps need; drop --evaluations, or give 0 to go "
                "by summed losses alone"
            )


def _configuration(spec: Spec) -> type[Strategy]:
    """The class of a strategy's configurations: the options are those that all have."""
    return _named(spec.name, spec.title, spec.summary)


@lru_cache(maxsize=256)
def _named(name: str, title: str, summary: str) -> type[Strategy]:
    return type(title, (Strategy,), {"name": name, "__doc__": summary, "__module__": __name__})


STRATEGIES: dict[str, type[Strategy]] = {name: _configuration(strategy_spec(name)) for name in BUILT_IN}
Amc = STRATEGIES["amc"]
CompactNet = STRATEGIES["compactnet"]
Ddpg = STRATEGIES["ddpg"]
Deep = STRATEGIES["deep"]
Evolution = STRATEGIES["evolution"]
Exact = STRATEGIES["exact"]
Greedy = STRATEGIES["greedy"]
Haq = STRATEGIES["haq"]
NetAdapt = STRATEGIES["netadapt"]
Random = STRATEGIES["random"]
Shallow = STRATEGIES["shallow"]
Uniform = STRATEGIES["uniform"]


def strategy_config(name: Any) -> type[Strategy]:
    """The class of the configurations of a strategy: by its name, by what was registered, or ``FILE.py:NAME``.

    Raises:
        InputError: no such strategy, or a file without it.
    """
    if isinstance(name, str) and ".py:" in name:
        from netsmith.jobs.userfile import strategy_in

        return _configuration(strategy_in(name))
    own = spec_of(name) if callable(name) else None
    if own is not None:
        return _configuration(own)
    if not isinstance(name, str) or name not in strategy_names():
        known = strategy_names()
        wrong = shown(name) + (did_you_mean(name, known) if isinstance(name, str) else "")
        raise InputError(
            f"--strategy: unknown strategy {wrong}; known: {', '.join(known)}, or FILE.py:NAME for one of yours"
        )
    return STRATEGIES.get(name) or _configuration(strategy_spec(name))
