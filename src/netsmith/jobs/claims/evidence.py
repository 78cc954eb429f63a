"""The files of a finished run as evidence: opened once, each only if it is as the run built it, and none changed."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netsmith.errors import InputError
from netsmith.files import read_json
from netsmith.jobs.load import builder_of
from netsmith.jobs.result import Result
from netsmith.metrics import ACCURACY, Metric, metric_of
from netsmith.runs.folder import Run
from netsmith.runs.names import EXAMPLES, SUMMARY
from netsmith.runs.summary import summary_problem
from netsmith.runs.task_record import task_problem

if TYPE_CHECKING:
    from torch import nn

    from netsmith.data.batch import Batch
    from netsmith.export.pt2 import Program
    from netsmith.hardware.measured.timing import Feed
    from netsmith.network.graph import Graph


class Evidence:
    """What a run folder holds.

    Args:
        run: folder of a finished run.
        factory: builds its network as given; by default what its summary names does.

    Attributes:
        faults: name of every file that was built -> ``""``, ``missing`` or ``changed``.
        problem: what keeps the summary from being one, ``""`` if nothing does.

    Raises:
        InputError: it is no run folder, or the run is not finished.
    """

    def __init__(self, run: str | Path, factory: str | nn.Module | Callable[[], nn.Module] | None = None) -> None:
        self.run = Run.open(run)
        self.folder, self.config = self.run.folder, self.run.config
        if not (self.folder / SUMMARY).exists():
            raise InputError(
                f"{self.folder} is not finished, it has no summary.json; repeat its command with --resume, then verify"
            )
        self.faults = self.run.faults()
        found = read_json(self.folder / SUMMARY, "repeat the run's command with --resume")
        if not isinstance(found, dict):
            raise InputError(f"{self.folder / SUMMARY} is no mapping; repeat the run's command with --resume")
        self.summary: dict[str, Any] = found
        self.problem = summary_problem(found) or ""
        self._factory = factory

    @property
    def metric(self) -> Metric:
        """The score that its summary ranks networks by; that of classification where the summary is damaged there."""
        return ACCURACY if task_problem(self.summary) else metric_of(self.summary)

    def file(self, name: str) -> Path:
        """A file of the run that is as it was built.

        Raises:
            InputError: it is not.
        """
        fault = self.faults.get(name, "of no known digest")
        if fault:
            raise InputError(f"{name} is {fault}")
        return self.folder / name

    def has(self, name: str) -> bool:
        """Whether the run has built such a file, be it damaged since."""
        return name in self.faults

    def stages(self, start: str) -> list[dict[str, Any]]:
        """Results of all stages whose names begin so; of stages that nobody changed."""
        names = [n for n, fault in self.faults.items() if n.startswith(f"stages/{start}") and not fault]
        values = [read_json(self.folder / name, "repeat the run")["value"] for name in names]
        return [value for value in values if isinstance(value, dict)]

    @cached_property
    def rounds(self) -> bool:
        """Whether its network computes with fewer bits than floats have."""
        if not self.has("recipe.json"):
            return False
        from netsmith.compression.recipe import Recipe

        return any(Recipe.read(self.file("recipe.json")).quantize.values())

    @property
    def folded(self) -> bool:
        """Whether the run folded batch norm into the layers before it, which its methods decide."""
        from netsmith.jobs.config import method_config

        methods = [method_config(name) for name in self.summary.get("methods") or ()]
        return not any(method is not None and method.keeps_norms for method in methods)

    @cached_property
    def program(self) -> Program:
        """The network of ``model.pt2``."""
        from netsmith.export.pt2 import load_pt2

        return load_pt2(self.file("model.pt2"))

    @cached_property
    def graph(self) -> Graph:
        """The same, traced."""
        from netsmith.network.graph import trace

        return trace(self.program, self.example)

    @cached_property
    def given(self) -> nn.Module:
        """The network as the run was given it, with fresh weights."""
        return builder_of(self.folder, self.summary, self._factory)()

    @cached_property
    def plain(self) -> nn.Module:
        """The result as a module of the user's own, with its weights: the recipe replayed."""
        for name in ("model.safetensors", *(n for n in ("recipe.json", "network.json") if self.has(n))):
            self.file(name)
        return Result.of_run(
            self.folder, self.summary, builder_of(self.folder, self.summary, self._factory)
        ).float_model

    @cached_property
    def examples(self) -> Batch | None:
        """What its network takes, where random numbers cannot stand for it; a network of a front has that of the front.

        Raises:
            InputError: the file is damaged.
        """
        from netsmith.network.examples import read_examples

        shared = self.folder.parent.parent / EXAMPLES
        if self.has(EXAMPLES):
            return read_examples(self.file(EXAMPLES))
        return read_examples(shared) if not self.has("baseline.onnx") and shared.is_file() else None

    @property
    def example(self) -> tuple[int, ...] | Batch:
        """What its networks are traced with."""
        return self.input_shape if self.examples is None else self.examples.take(slice(0, 2))

    @property
    def feed(self) -> Feed | None:
        """What its networks are timed on; None where that is random numbers."""
        if self.examples is None:
            return None
        from netsmith.network.signature import feed_of

        few = self.examples.take(slice(0, 1 if self.graph.dynamic_batch else self.graph.example_batch))
        return feed_of(few, self.graph.input_names, self.graph.module)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of one sample, as ``model.onnx`` says."""
        from netsmith.export.feeding import read_feeding

        return read_feeding(self.file("model.onnx")).input_shape
