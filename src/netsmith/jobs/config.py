"""What can be asked of each job: frozen dataclasses whose fields say their type, range, default and meaning, once.

The command line and its help, ``docs/options.md``, the keyword arguments of Python and the ``config.json`` of a run are
all made from them (``netsmith.jobs.assembly``). Whatever can be wrong with options alone is found when one is made.
A method or a strategy is a small configuration of its own: ``methods=(Prune(widths=16), Quantize(least_bits=4))``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

from netsmith.errors import InputError
from netsmith.schema import parameter, validate
from netsmith.units import Budget, numbers, parse_input_shape, read_budgets

MOST_SEED = 2**63 - 1
_SIDE = 16384  #: of images in pixels; larger ones would not fit into memory
SYSTEMS = ("proxylessnas", "proxylessnas-r", "oneshot", "random", "multiplier")
MODEL = "file.py:callable, package.module:callable, timm:NAME, torchvision:NAME, zoo:NAME or design:FILE.json"


def option(name: str) -> str:
    """How a message calls the option of a field: ``--search-size``."""
    return "--" + name.replace("_", "-")


@dataclass(frozen=True)
class Config:
    """Checks types and ranges when one is made, then what its fields mean together."""

    def __post_init__(self) -> None:
        validate(self, option)
        self.check()

    def check(self) -> None:
        """Refuse what contradicts itself.

        Raises:
            InputError: names the option and the remedy.
        """


def _seed() -> Any:
    return parameter("equal seeds, equal results", default=0, low=0, high=MOST_SEED)


def _threads() -> Any:
    return parameter("threads that the deployed network runs on", default=1, low=1, high=1024)


def _target() -> Any:
    return parameter("hardware; `netsmith targets` lists it", default="cpu")


def _weights() -> Any:
    return parameter(".safetensors or .pth file; FILE#KEY takes those under a key of it", default=None, metavar="FILE")


def _classes_number() -> Any:
    return parameter("outputs of the network, if its spec does not say so", default=None, low=1, high=10_000_000)


def _input() -> Any:
    return parameter(
        "shape of one sample, if the network does not say it",
        default=None, low=1, flag="--input", metavar="C,H,W", read=parse_input_shape, repeats=True,
    )  # fmt: skip


# --- what several jobs take -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Budgets(Config):
    """Upper bounds on costs, absolute (``3ms``) or relative to the network as given (``0.5x``)."""

    panel: ClassVar[str] = "Budgets"
    latency: str | None = parameter("3ms, or 0.5x of the network as given", default=None, metavar="BUDGET")
    energy: str | None = parameter("2mJ, or 0.5x", default=None, metavar="BUDGET")
    size: str | None = parameter("300KB, or 0.25x", default=None, metavar="BUDGET")
    macs: str | None = parameter("30M, or 0.5x", default=None, metavar="BUDGET")

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):  # a bare number gets the sentence that asks for its unit
            value = getattr(self, field.name)
            if isinstance(value, int | float) and not isinstance(value, bool):
                object.__setattr__(self, field.name, str(value))
        super().__post_init__()

    def check(self) -> None:
        self.read()

    def read(self) -> dict[str, Budget]:
        """The budgets that are given, by cost."""
        return read_budgets(**{f.name: getattr(self, f.name) for f in dataclasses.fields(self)})


@dataclass(frozen=True)
class Images(Config):
    """How images and labels are read."""

    panel: ClassVar[str] = "Data"
    mean: tuple[float, ...] | None = parameter(
        "normalisation a channel, on x/255", default=None, metavar="R,G,B", read=numbers("--mean"), repeats=True
    )
    std: tuple[float, ...] | None = parameter(
        "likewise; both or neither", default=None, metavar="R,G,B", read=numbers("--std"), repeats=True
    )
    image_size: int | None = parameter("side; default is that of the images", "pixels", default=None, low=1, high=_SIDE)
    label_column: str | None = parameter("where the labels are, if not in `label`", default=None)
    classes: Any = parameter(
        "class names in the order of the network's outputs: one a line, or JSON", default=None, metavar="FILE"
    )
    pixel_range: tuple[float, ...] | None = parameter(
        "values that become 0 and 255 in images of more than 8 bits", default=None, metavar="LOW,HIGH",
        read=numbers("--pixel-range", "two numbers, the lower first, such as 0,4095"), repeats=True,
    )  # fmt: skip
    search_size: int | None = parameter("held out of train to decide on", "images", default=None, low=1)
    train_limit: int | None = parameter("train on this many only", "images", default=None, low=1)

    def check(self) -> None:
        if (self.mean is None) != (self.std is None):
            raise InputError("--mean and --std belong together; give both or neither")
        if self.mean is not None and self.std is not None and len(self.mean) != len(self.std):
            raise InputError(
                f"--mean has {len(self.mean)} numbers and --std {len(self.std)}; give one a channel in each"
            )
        if self.std is not None and not all(value > 0 for value in self.std):
            raise InputError(f"--std is {','.join(f'{v:g}' for v in self.std)}; every number of it must be above 0")
        if self.pixel_range is not None and (len(self.pixel_range) != 2 or self.pixel_range[0] >= self.pixel_range[1]):
            raise InputError("--pixel-range must be two numbers, the lower first, such as 0,4095")
        if self.classes is not None and not isinstance(self.classes, str | Path | list | tuple):
            raise InputError("--classes must be a file, or in Python a list of names")
        check_file("--classes", self.classes)

    def for_data(self) -> dict[str, Any]:
        """The fields as keyword arguments of ``netsmith.data.data_for``."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}


# --- what compress takes ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Prune(Config):
    """Remove channels and branches."""

    name: ClassVar[str] = "prune"
    panel: ClassVar[str] = "Channels"
    widths: int = parameter("most channel counts of a group to choose from", default=8, low=2, high=65536)
    importance: Literal["l1", "l2", "taylor", "fpgm", "bn", "reconstruction"] = parameter(
        "which channels stay", default="l2"
    )
    reconstruct: bool = parameter(
        "repair layers that read pruned channels, by least squares on their outputs", default=True
    )


@dataclass(frozen=True)
class Quantize(Config):
    """Make layers integer layers, of a width each where the target has a choice."""

    name: ClassVar[str] = "quantize"
    panel: ClassVar[str] = "Bits"
    least_bits: int = parameter(
        "fewest bits of a layer where there is a choice; default 2, of shared weights 1", default=2, low=1, high=8
    )
    calibration: Literal["minmax", "percentile", "mse", "entropy"] = parameter("ranges of integers", default="mse")


@dataclass(frozen=True)
class Share(Config):
    """Store weights as indices into codebooks, which saves bytes and no time."""

    name: ClassVar[str] = "share"
    panel: ClassVar[str] = "Bits"
    least_bits: int = parameter("fewest bits of an index", default=1, low=1, high=8)


Method = Prune | Quantize | Share
M = TypeVar("M", bound=Config)


def chosen(methods: Sequence[Config], kind: type[M]) -> M | None:
    """The method of that kind, if it may be used."""
    return next((m for m in methods if isinstance(m, kind)), None)


METHODS: dict[str, type[Method]] = {m.name: m for m in (Prune, Quantize, Share)}


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


@dataclass(frozen=True)
class FineTune(Config):
    """Training of what is left."""

    panel: ClassVar[str] = "Training"
    epochs: int | None = parameter("fine-tuning; default by the size of the data", default=None, low=0, high=1_000_000)
    lr: float | None = parameter("peak learning rate; default by what is fine-tuned", default=None, above=0)


@dataclass(frozen=True)
class CompressConfig(Config):
    """Make a trained network keep its budgets on a target, at the least loss of accuracy."""

    model: Any = parameter(MODEL, metavar="MODEL")
    data: Any = parameter("digits, a Hugging Face name, or a folder of images or parquet files")
    target: str = _target()
    budgets: Budgets = dataclasses.field(default_factory=Budgets)
    methods: tuple[Method, ...] = parameter(
        "prune, quantize, or both with a comma; or share, for --size", default=(Prune(), Quantize()), panel="Search"
    )
    strategy: Strategy = parameter(f"{', '.join(STRATEGIES)} (exact proves its bound)", default=Exact(), panel="Search")
    fine_tune: FineTune = dataclasses.field(default_factory=FineTune)
    huffman: bool = parameter(
        "code the packed file; the search goes by its size without, an upper bound", default=False, panel="Bits"
    )
    weights: str | None = _weights()
    images: Images = dataclasses.field(default_factory=Images)
    threads: int = _threads()
    seed: int = _seed()

    def check(self) -> None:
        self._check_methods()
        if self.strategy.trims and self.strategy.episode_images:
            self._check_trained_trimming()
        check_model("MODEL", self.model)
        check_data(self.data)
        check_file("--weights", self.weights)

    def _check_methods(self) -> None:
        budgets = self.budgets.read()
        if not self.methods:
            raise InputError(f"--methods is empty; give at least one of {', '.join(METHODS)}")
        if chosen(self.methods, Share) is None:
            return
        if chosen(self.methods, Quantize):
            raise InputError(
                "--methods share and quantize exclude each other: a weight is an index or an integer; drop one"
            )
        if "size" not in budgets:
            raise InputError("--methods share saves bytes and no time or energy: give a budget of them with --size")
        others = [name for name in budgets if name != "size"]
        if others and not chosen(self.methods, Prune):
            raise InputError(
                f"--methods share does not change {others[0]}: drop --{others[0]}, or add prune to --methods"
            )

    def _check_trained_trimming(self) -> None:
        if self.strategy.evaluations == 0 or [m.name for m in self.methods] != ["prune"]:
            raise InputError(
                f"--strategy {self.strategy.name} with --episode-images trains smaller networks: give --methods prune, "
                "and no --evaluations"
            )
        if self.prune.importance == "reconstruction":
            raise InputError(
                "--importance reconstruction is about the network as given, but --episode-images cuts candidates out "
                "of trained winners; use l2 or another criterion"
            )

    @property
    def prune(self) -> Prune:
        """How channels go; its defaults where none do."""
        return chosen(self.methods, Prune) or Prune()

    @property
    def quantize(self) -> Quantize:
        """How integers come about; its defaults where none do."""
        return chosen(self.methods, Quantize) or Quantize()


# --- what specialize takes --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SupernetSearch(Config):
    """How a network of all paths is trained and searched."""

    panel: ClassVar[str] = "Search"
    system: str = parameter(
        "what finds the network; proxylessnas-r learns by REINFORCE", default="proxylessnas", choices=SYSTEMS
    )
    compare: tuple[str, ...] = parameter(
        "systems to run as well, trained alike", default=(), choices=SYSTEMS, metavar="S,S,..."
    )
    search_epochs: int | None = parameter(
        "of the search; default by the size of the data", default=None, low=1, high=1_000_000
    )
    warmup_epochs: int | None = parameter(
        "of weights alone, before it; default a quarter", default=None, low=0, high=1_000_000
    )
    warmup_from: str | None = parameter("use its warm-up, of the same space and data", default=None, metavar="RUN")
    loss: Literal["constrained", "additive", "multiplicative"] = parameter(
        "constrained (by the budgets), additive or multiplicative", default="constrained"
    )
    weight: float = parameter("of costs, in additive", default=0.1, low=0)
    mode: Literal["recompute", "full", "two"] = parameter("gradients of gates", default="recompute")
    every: int = parameter("steps of weights for one of the probabilities", default=5, low=1)
    evaluations: int = parameter("networks to choose among at the end; 0: the most probable", default=300, low=0)

    def check(self) -> None:
        if self.evaluations < 1 and "oneshot" in self.systems:
            raise InputError("oneshot chooses by running networks; give --evaluations 1 or more")
        if self.warmup_from is not None and not _is_there(self.warmup_from):
            raise InputError(f"--warmup-from {self.warmup_from} is no folder; give that of a run, or drop it")
        object.__setattr__(self, "compare", self.systems[1:])

    @property
    def systems(self) -> tuple[str, ...]:
        """The run's own system, then those beside it."""
        return tuple(dict.fromkeys((self.system, *self.compare)))


@dataclass(frozen=True)
class FoundTraining(Config):
    """How the network that was found is trained."""

    panel: ClassVar[str] = "Training"
    epochs: int | None = parameter(
        "of training what was found; default by the data", default=None, low=0, high=1_000_000
    )
    lr: float | None = parameter("its peak learning rate", default=None, above=0)
    batch_size: int = parameter("of a training step", "images", default=128, low=1, high=1_000_000)
    inherit: bool = parameter("start from the weights of the search", default=False)
    teacher: Any = parameter("network to distil from", default=None, metavar="MODEL")
    teacher_weights: str | None = parameter("its weights", default=None, metavar="FILE")

    def check(self) -> None:
        check_teacher(self.teacher, self.teacher_weights)


@dataclass(frozen=True)
class SpecializeConfig(Config):
    """Find a network of a design space that keeps budgets on a target, train it, and measure it."""

    data: Any = parameter("digits, a Hugging Face name, or a folder of images or parquet files")
    space: Any = parameter("mobile, mobile-small, tiny or FILE.toml", default="mobile-small", metavar="S")
    target: str = _target()
    budgets: Budgets = dataclasses.field(default_factory=Budgets)
    search: SupernetSearch = dataclasses.field(default_factory=SupernetSearch)
    width: float = parameter("multiplier of all channels of the space", default=1.0, low=0.05, high=8.0)
    batch: int = parameter("samples at a time, on modelled targets", default=1, low=1, high=1_000_000)
    training: FoundTraining = dataclasses.field(default_factory=FoundTraining)
    images: Images = dataclasses.field(default_factory=Images)
    threads: int = _threads()
    seed: int = _seed()

    def check(self) -> None:
        check_data(self.data)


# --- what the other jobs take -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TrainConfig(Config):
    """Train a network from scratch, or fine-tune it, and write its weights."""

    model: Any = parameter(MODEL, metavar="MODEL")
    data: Any = parameter("digits, a Hugging Face name, or a folder of images or parquet files")
    epochs: int = parameter("passes over the train split", default=10, low=1, high=1_000_000)
    weights: str | None = _weights()
    lr: float | None = parameter("peak learning rate; default 0.02 with --weights, else 0.1", default=None, above=0)
    batch_size: int = parameter("of a step", "images", default=128, low=1, high=1_000_000)
    weight_decay: float | None = parameter("default 1e-4 with --weights, else 5e-4", default=None, low=0)
    schedule: str = parameter("of the learning rate", default="one-cycle", choices=("one-cycle", "cosine", "constant"))
    teacher: Any = parameter("network to distil from", default=None, metavar="MODEL")
    teacher_weights: str | None = parameter("its weights", default=None, metavar="FILE")
    alpha: float = parameter("share of the teacher's answers in the loss", default=0.5, low=0, high=1)
    temperature: float = parameter("of the teacher's answers", default=4.0, above=0)
    label_smoothing: float = parameter("share of a label that all classes have", default=0.0, low=0, high=0.99)
    augment: bool = parameter("flip and shift the images", default=True)
    bf16: Literal["auto", "on", "off"] = parameter("train in bfloat16", default="auto")
    patience: int | None = parameter("stop after this many epochs without progress", default=None, low=1)
    images: Images = dataclasses.field(default_factory=Images)
    seed: int = _seed()

    def __post_init__(self) -> None:
        if isinstance(self.bf16, bool):
            object.__setattr__(self, "bf16", "on" if self.bf16 else "off")
        super().__post_init__()

    def check(self) -> None:
        check_model("MODEL", self.model)
        check_data(self.data)
        check_file("--weights", self.weights)
        check_teacher(self.teacher, self.teacher_weights)


@dataclass(frozen=True)
class ProfileConfig(Config):
    """Price a network layer by layer."""

    model: Any = parameter(MODEL, metavar="MODEL")
    target: str = _target()
    input_shape: tuple[int, ...] | None = _input()
    weights: str | None = _weights()
    num_classes: int | None = _classes_number()
    bits: int = parameter("width to price weights and activations at", "bits", default=32, low=1, high=32)
    batch: int = parameter("samples at a time", default=1, low=1, high=1_000_000)
    threads: int = _threads()

    def check(self) -> None:
        check_model("MODEL", self.model)
        check_file("--weights", self.weights)


@dataclass(frozen=True)
class MeasureConfig(Config):
    """Build a latency table, of this machine or of a device that cannot run Python."""

    model: Any = parameter("the network whose layers are wanted", default=None, metavar="[MODEL]")
    input_shape: tuple[int, ...] | None = _input()
    space: bool = parameter("also every width and bit-width that compress may try, not just the network", default=False)
    write: str | None = parameter(
        "measure nothing; write the layers as ONNX files to time elsewhere", default=None, metavar="FOLDER"
    )
    read: str | None = parameter(
        "make a table of the times that such a folder came back with", default=None, metavar="FOLDER"
    )
    out: str | None = parameter("table file; default for this machine is its cache", default=None, metavar="FILE")
    weights: str | None = _weights()
    num_classes: int | None = _classes_number()
    threads: int = _threads()

    def check(self) -> None:
        if self.read is not None and (self.model is not None or self.write is not None):
            raise InputError("--read takes the times of a folder as they are; drop the network and --write")
        if self.read is not None and self.out is None:
            raise InputError("say where the table is to go: --out device.json")
        if self.read is None and self.model is None:
            raise InputError("name the network whose layers are to be measured, or --read a folder of times")
        if self.write is not None and self.out is not None:
            raise InputError("--out is the table of --read; drop it here")
        if self.model is not None:
            check_model("MODEL", self.model)
        check_file("--weights", self.weights)


# --- files that options name, looked for before anything is loaded ----------------------------------------------------


def check_file(name: str, given: Any) -> None:
    """Refuse a file that is not there; ``FILE#KEY`` is a key of a file.

    Raises:
        InputError: names the option and the file.
    """
    if not isinstance(given, str | Path):
        return
    if not str(given).strip():
        raise InputError(f"{name} is empty; give a file, or drop it")
    if not any(_is_there(place) for place in (str(given), str(given).rpartition("#")[0])):
        raise InputError(f"there is no file {given} for {name}; give an existing one")


def _is_there(place: str) -> bool:
    """Whether a path can be followed: not nobody's home folder, a name that is too long or one with a null byte."""
    try:
        return bool(place) and Path(place).expanduser().exists()
    except (OSError, RuntimeError, ValueError):
        return False


def check_model(name: str, given: Any) -> None:
    """Refuse a MODEL that names a file that is not there.

    Raises:
        InputError: names it.
    """
    if not isinstance(given, str):
        return
    text = given.strip().partition("?")[0]
    if not text:
        raise InputError(f"{name} is empty: write {MODEL}")
    place, _, _ = text.rpartition(":")
    file = text.removeprefix("design:") if text.startswith("design:") else next(
        (part for part in (place, text) if part.endswith(".py")), None
    )  # fmt: skip
    if file is not None and not _is_there(file):
        raise InputError(f"there is no file {file} for {name} {given!r}; give an existing one")


def check_teacher(teacher: Any, weights: str | None) -> None:
    """Refuse weights without a network, and files that are not there.

    Raises:
        InputError: names the option.
    """
    if weights is not None and teacher is None:
        raise InputError("--teacher-weights are of no network; name it with --teacher")
    check_model("--teacher", teacher)
    check_file("--teacher-weights", weights)


def check_data(given: Any) -> None:
    """Refuse data that name nothing.

    Raises:
        InputError: names it.
    """
    if given is None or (isinstance(given, str) and not given.strip()):
        raise InputError("--data is empty; give 'digits', an existing path or a Hugging Face name")
