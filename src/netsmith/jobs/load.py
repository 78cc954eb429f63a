"""A finished run, opened again: the same result that its job handed back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netsmith.errors import InputError
from netsmith.jobs.result import Result
from netsmith.runs.folder import Run

if TYPE_CHECKING:
    from torch import nn

_GIVE = "give the class or function that builds it: netsmith.load(RUN, factory=...)"


def load(run: str | Path, factory: str | nn.Module | Callable[[], nn.Module] | None = None) -> Result:
    """Open a finished run; of a front that is its chosen network, and ``RUN/points/2`` is another of its networks.

    Its files are checked, and nothing of the network is loaded before it is asked for. ``model`` needs nobody's code.
    ``float_model`` is built again by the run's MODEL (``zoo:NAME``, ``file.py:NAME``, ...); a run whose network was
    handed over as a module or function needs ``factory`` for that.

    Args:
        run: folder of the run.
        factory: what builds the network as it was given, before it was made smaller: a class or function without
            arguments, a module (which is copied), or a MODEL.

    Returns:
        The result, as the job handed it back.

    Raises:
        InputError: it is no run, it is not finished, a file of it is missing or damaged, or ``factory`` is nothing that
            builds a network.
    """
    opened = Run.open(run)
    summary = opened.summary()
    opened.network()  # whose files are checked as well
    if factory is not None and not (isinstance(factory, str) or callable(factory)):
        raise InputError(f"factory is {type(factory).__name__}, which builds no network; {_GIVE}")
    return Result.of_run(opened.folder, summary, builder_of(opened.folder, summary, factory))


def builder_of(
    folder: Path, summary: dict[str, Any], factory: str | nn.Module | Callable[[], nn.Module] | None = None
) -> Callable[[], nn.Module]:
    """What builds the network that a run was given, when it is called; arguments and errors are those of `load`."""
    asked, spec = summary.get("built_with") or {}, str(summary.get("model"))

    def build() -> nn.Module:
        from netsmith.jobs.contents import code_digest
        from netsmith.network.load import load_model

        if factory is None and ":" not in spec:  # no MODEL, but the name of a class or function
            raise InputError(f"{folder} was made from {spec}, which came from Python and lies in no file; {_GIVE}")
        try:
            loaded = load_model(
                spec if factory is None else factory,
                num_classes=asked.get("num_classes"), input_shape=asked.get("input_shape"),
            )  # fmt: skip
        except InputError as error:
            raise InputError(f"{error}; put back what {folder} was made from, or {_GIVE}") from error
        if factory is None and code_digest(spec) != asked.get("code", code_digest(spec)):
            raise InputError(
                f"the code of {spec} changed since {folder} was made from it; put back what was there, or {_GIVE}"
            )
        return loaded.model

    return build
