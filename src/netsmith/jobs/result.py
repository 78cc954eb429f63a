"""What a job hands back: its figures, its files and its network, which is loaded when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netsmith.errors import InputError
from netsmith.files import to_path
from netsmith.metrics import metric_of
from netsmith.runs.names import FORMATS, SUMMARY
from netsmith.units import COST_NAMES, format_apart

if TYPE_CHECKING:
    from torch import Tensor, nn

    from netsmith.data.batch import Batch
    from netsmith.export.product import Product

#: what a product's file is for -> the file; a network is written as recipe or as description, whichever says it
FILES = {**FORMATS, "recipe": "recipe.json", "network": "network.json"}


@dataclass(frozen=True, eq=False, repr=False)
class Result:
    """What a job came to. A pickle of it has its figures, and networks that are loaded from its files.

    Attributes:
        summary: figures, as in ``summary.json``.
        folder: where the job's files are.
        product: what a file of the finished network is for -> the file. Of a run: ``onnx``, ``pt2``, ``safetensors``,
            ``nsw``, and ``recipe`` or ``network``; of a training: ``safetensors``.
        given: builds the network that the job was given, with any weights; None where the product has a description.
        images: some of the search split, from which :meth:`export` finds the ranges of layers in few bits.
    """

    summary: dict[str, Any]
    folder: Path
    product: Mapping[str, Path]
    given: Callable[[], nn.Module] | None = field(default=None)
    images: Tensor | Batch | None = field(default=None)

    @classmethod
    def of_run(
        cls, folder: str | Path, summary: dict[str, Any], given: Callable[[], nn.Module] | None = None,
        images: Tensor | Batch | None = None,
    ) -> Result:  # fmt: skip
        """The result of a run that is finished."""
        folder, files = Path(folder).absolute(), summary.get("files") or {}
        return cls(
            summary,
            folder,
            {what: folder / files[name] for what, name in FILES.items() if name in files},
            given,
            images,
        )

    @cached_property
    def model(self) -> nn.Module:
        """The network as the product computes it, for inference.

        It takes batches of any size, unless the network as given is built for one size.
        Layers in integers or few bits are computed as ``model.onnx`` has them, with rounding in floating point.

        Raises:
            InputError: a file of the product cannot be read.
        """
        if "pt2" not in self.product:
            return self._trained()
        from netsmith.export.pt2 import load_pt2

        return load_pt2(self.product["pt2"])

    @cached_property
    def float_model(self) -> nn.Module:
        """The network as a plain module of the user's own class, smaller, with its trained weights, in eval mode.

        It has gradients and no rounding: it can be trained on in any loop (call ``.train()`` first).

        Raises:
            InputError: the network that the job was given cannot be built again, or a file of the product does not fit
                it.
        """
        return self._trained()

    def export(self, out: str | Path, model: nn.Module, images: Tensor | Batch | None = None) -> Product:
        """Write a network that was trained on as a product of its own, in the bits that this one has.

        Args:
            out: folder for its files, the same as those of this product.
            model: :attr:`float_model`, or a copy of it, with the weights that it has now.
            images: for the ranges of layers in few bits, uint8 pixels or normalised floats, ``(N, *input_shape)``,
                of another task a :class:`netsmith.data.batch.Batch` of its examples; by default those of the search
                split on which the job found them, which a loaded run has no more.

        Returns:
            The new product: its ``files``, its ``parity`` and ``size_bytes``. Nothing of it is measured yet.

        Raises:
            InputError: ``model`` is another network, images are missing, or ``out`` has something else in it.
        """
        from netsmith.jobs.tuned import export_tuned

        images = self.images if images is None else images
        return export_tuned(model, self.product, to_path(out, "out"), images, self.summary.get("exported_with") or {})

    def report(self) -> Path:
        """Write the HTML page of the run and return where it is.

        Raises:
            InputError: it was no run, or files of it are missing or damaged.
        """
        if not (self.folder / SUMMARY).exists():
            raise InputError(f"a report is written of runs, and {self.folder} is none: compress or specialize has them")
        from netsmith.report.page import write_report

        return write_report(self.folder)

    def __getstate__(self) -> dict[str, Any]:
        """For a pickle: figures and places of files. Networks are loaded again; code of the user's cannot be kept."""
        return {f.name: getattr(self, f.name) for f in fields(self)} | {"given": None}

    def __copy__(self) -> Result:
        return replace(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> Result:
        return replace(self, summary=deepcopy(self.summary, memo))

    def _trained(self) -> nn.Module:
        from netsmith.network.weights import load_weights

        model = self._built()
        load_weights(model, self.product["safetensors"])
        return model.eval()

    def _built(self) -> nn.Module:
        """The structure of the product, with any weights."""
        if "network" in self.product:
            from netsmith.network.zoo.blueprint import read_blueprint

            return read_blueprint(self.product["network"]).build()
        if self.given is None:
            file = self.product["safetensors"]
            raise InputError(
                f"what builds the network of {file} is not kept in a pickle; give it again: netsmith.load"
                f"({str(self.folder)!r}, factory=...)"
                if "recipe" in self.product
                else f"what builds the network of {file} is not kept in a pickle; build it, and load the file into it"
            )
        model = self.given()
        if "recipe" in self.product:
            from netsmith.compression.recipe import Recipe, apply_recipe

            apply_recipe(model, Recipe.read(self.product["recipe"]))
        return model

    def __repr__(self) -> str:
        from netsmith.report.scores import tight

        metric = metric_of(self.summary)
        budgets = [_budget(budget) for budget in self.summary.get("budgets") or []]
        return (
            f"Result: {', '.join(budgets) or 'no budgets'}\n"
            f"  {metric.name} {' -> '.join(tight(metric, score, 'unknown') for score in self._scores())}\n"
            f"  in {self.folder}"
        )

    def _scores(self) -> tuple[float | None, float | None]:
        """On the test split, before and after; None where nothing was measured."""
        key = metric_of(self.summary).key
        if "result" in self.summary:
            return self.summary["baseline"].get(key), self.summary["result"].get(key)
        before, after = (self.summary[key][when] for when in ("before", "after"))
        return before and before["test"], after["test"]


def _budget(budget: Mapping[str, Any]) -> str:
    limit, value = format_apart(budget["cost"], budget["limit"], budget["value"])
    return f"{COST_NAMES[budget['cost']]} {value} of {limit}{'' if budget['met'] else ' (not met)'}"
