"""The options of compress."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from netsmith.errors import InputError
from netsmith.jobs.config.base import (
    DATA,
    TASK,
    Config,
    seed_field,
    target_field,
    threads_field,
    weights_field,
)
from netsmith.jobs.config.front import FrontOptions
from netsmith.jobs.config.groups import Budgets, FineTune, Images
from netsmith.jobs.config.methods import METHODS, HasMethods, Method, Prune, Quantize, chosen
from netsmith.jobs.config.places import check_data, check_file, check_model
from netsmith.jobs.config.strategies import STRATEGIES, Exact, Strategy
from netsmith.schema import parameter
from netsmith.usercode import FORMS


@dataclass(frozen=True)
class CompressConfig(HasMethods, Config):
    """Make a trained network keep its budgets on a target, at the least loss of its score."""

    model: Any = parameter(FORMS, metavar="MODEL")
    data: Any = parameter(DATA, default=None)
    target: str = target_field()
    budgets: Budgets = dataclasses.field(default_factory=Budgets)
    reorder: bool = parameter(
        "run operators in the order of least peak memory, which the file then has", default=False, panel="Budgets"
    )
    several: FrontOptions = dataclasses.field(default_factory=FrontOptions)
    methods: tuple[Method, ...] = parameter(
        "prune, quantize, or both with a comma; or, for --size, sparsify, share, or both",
        default=(Prune(), Quantize()),
        panel="Search",
    )
    strategy: Strategy = parameter(f"{', '.join(STRATEGIES)} (exact proves its bound)", default=Exact(), panel="Search")
    fine_tune: FineTune = dataclasses.field(default_factory=FineTune)
    huffman: bool = parameter(
        "code the packed file; the search goes by its size without, an upper bound", default=False, panel="Bits"
    )
    weights: str | None = weights_field()
    task: Any = parameter(TASK, default="classification", panel="Data")
    images: Images = dataclasses.field(default_factory=Images)
    threads: int = threads_field()
    seed: int = seed_field()

    def check(self) -> None:
        if self.several.wanted:
            self._check_front()
        else:
            self.budgets.need(self.target)
        self._check_methods()
        if self.strategy.traits.walks and self.strategy.episode_images:
            self._check_trained_trimming()
        check_model("MODEL", self.model)
        check_data(self.data, self.task)
        check_file("--weights", self.weights)

    def _check_methods(self) -> None:
        budgets = self.budgets.read()
        if not self.methods:
            raise InputError(f"--methods is empty; give at least one of {', '.join(METHODS)}")
        light = [m.name for m in self.methods if m.bytes_alone]
        if not light:
            return
        if chosen(self.methods, Quantize):
            why = "a weight is an index or an integer" if "share" in light else "sparse weights are floats or shared"
            raise InputError(f"--methods {light[0]} and quantize exclude each other: {why}; drop one")
        names, saves = " and ".join(light), "saves" if len(light) == 1 else "save"
        if "size" not in budgets and not (self.several.wanted and self.several.minimize == "size"):
            raise InputError(
                f"--methods {names} {saves} bytes and no time or energy: give a budget of them with --size"
            )
        others = [name for name in budgets if name != "size"]
        if others and all(m.bytes_alone for m in self.methods):
            does = "does" if len(light) == 1 else "do"
            raise InputError(
                f"--methods {names} {does} not change {others[0]}: drop --{others[0]}, or add prune to --methods"
            )

    def _check_front(self) -> None:
        if self.strategy.episode_images:
            raise InputError(
                "--episode-images trains designs on the way to one network: drop it, or --front, --max-drop and "
                "--min-score"
            )
        if all(m.bytes_alone for m in self.methods) and self.several.minimize != "size":
            raise InputError(
                f"--methods {','.join(m.name for m in self.methods)} saves bytes alone: add --minimize size"
            )
        if self.several.goal and self.strategy.traits.guarantees:  # by accuracy weighed against the cost
            name = self.strategy.name
            if self.strategy.evaluations == 0:
                raise InputError(f"--strategy {name} learns from designs that it runs: give --evaluations 1 or more")
            if self.several.minimize == "memory":
                raise InputError(
                    f"--strategy {name} sees costs that are sums of its choices, and peak memory is none: use "
                    "--strategy exact, or minimize another cost"
                )

    def _check_trained_trimming(self) -> None:
        if self.strategy.evaluations == 0 or [m.name for m in self.methods] != ["prune"]:
            raise InputError(
                f"--strategy {self.strategy.name} with --episode-images trains smaller networks: give --methods prune, "
                "and no --evaluations"
            )
        if self.prune.reads_moments:
            raise InputError(
                "--importance asks for moments of the network as given, as reconstruction does, but --episode-images "
                "cuts candidates out of trained winners; use l2 or another criterion"
            )
