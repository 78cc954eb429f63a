"""What can be asked of each job: frozen dataclasses whose fields say their type, range, default and meaning, once.

The command line and its help, ``docs/options.md``, the keyword arguments of Python and the ``config.json`` of a run are
all made from them (``netsmith.jobs.assembly``). Whatever can be wrong with options alone is found when one is made.
A method or a strategy is a small configuration of its own: ``methods=(Prune(widths=16), Quantize(least_bits=4))``.
"""

from netsmith.jobs.config.base import Config, option
from netsmith.jobs.config.compress import CompressConfig
from netsmith.jobs.config.explore import ExploreConfig
from netsmith.jobs.config.front import FrontOptions
from netsmith.jobs.config.groups import Budgets, FineTune, Images
from netsmith.jobs.config.methods import METHODS, Method, Prune, Quantize, Share, Sparsify, chosen, method_config
from netsmith.jobs.config.others import MeasureConfig, ProfileConfig, TrainConfig
from netsmith.jobs.config.places import check_call
from netsmith.jobs.config.specialize import FoundTraining, SpecializeConfig, SupernetSearch
from netsmith.jobs.config.strategies import (
    STRATEGIES,
    Amc,
    CompactNet,
    Ddpg,
    Deep,
    Evolution,
    Exact,
    Greedy,
    Haq,
    NetAdapt,
    Random,
    Shallow,
    Strategy,
    Uniform,
    strategy_config,
)

__all__ = [
    "METHODS", "STRATEGIES", "Amc", "Budgets", "CompactNet", "CompressConfig", "Config", "Ddpg", "Deep",
    "Evolution", "Exact", "ExploreConfig", "FineTune", "FoundTraining", "FrontOptions", "Greedy", "Haq", "Images",
    "MeasureConfig", "Method", "NetAdapt", "ProfileConfig", "Prune", "Quantize", "Random", "Shallow", "Share",
    "Sparsify", "SpecializeConfig", "Strategy", "SupernetSearch", "TrainConfig", "Uniform", "check_call", "chosen",
    "method_config", "option", "strategy_config",
]  # fmt: skip
