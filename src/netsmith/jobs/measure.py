"""The latency table of a device: measured here, or on a device that cannot run Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from netsmith.decisions.demand import rows_possible
from netsmith.decisions.given import GivenSpace
from netsmith.decisions.pricing import Pricing
from netsmith.decisions.registry import Given, kinds_of
from netsmith.files import check_place
from netsmith.hardware.devices.exchange import measure_here, new_folder, read_timings, write_layers
from netsmith.hardware.measured.cpu import CpuTarget
from netsmith.hardware.table.file import is_table
from netsmith.jobs.assembly import assemble, takes
from netsmith.jobs.config import MeasureConfig, Prune, Quantize
from netsmith.network.graph import trace
from netsmith.network.layers import LayerTable
from netsmith.network.load import load_model
from netsmith.progress import Progress, progress_of


@takes(MeasureConfig)
def measure(model: Any = None, *, progress: Progress | None = None, **options: Any) -> dict[str, Any]:
    """Build a latency table for the layers of a network.

    Args:
        model: MODEL or a module; not needed with ``read``.
        options: of the command, by name (``write="folder"``, ``space=True``); see
            :class:`netsmith.jobs.config.MeasureConfig` and ``docs/options.md``.

    Returns:
        ``layers``, how many distinct ones; ``table``, a file, and ``target``, words for ``--target``; or ``folder``.

    Raises:
        InputError: options that contradict each other, or input that cannot be used.
    """
    config, progress = assemble(MeasureConfig, {"model": model} | options), progress_of(progress)
    out = Path(config.out) if config.out is not None else None
    if config.read is not None:
        assert out is not None  # the configuration asks for it
        check_place(out, own=is_table, what="a latency table")
        progress.stage("reading times")
        table = read_timings(Path(config.read))
        table.save(out)
        return {"layers": len(table.entries), "table": str(out), "target": f"table:{out}"}
    if config.write is not None:
        new_folder(Path(config.write))
    elif out is not None:
        check_place(out, own=is_table, what="a latency table")
    progress.stage("load")
    rows = _rows(config, progress)
    if config.write is not None:
        progress.stage("writing layers")
        multiple, folder = CpuTarget().capabilities.channel_multiple, Path(config.write)
        count = write_layers(rows, folder, channel_multiple=multiple, progress=progress.update)
        return {"layers": count, "folder": config.write, "next": f"time the files as {folder / 'README.md'} says"}
    progress.stage("latency table")
    table = measure_here(rows, threads=config.threads, path=out, progress=progress.update)
    plain = "cpu" if config.threads == 1 else f"cpu:threads={config.threads}"
    where = str(out) if out is not None else str(CpuTarget(config.threads).path)
    return {"layers": len(table.entries), "table": where, "target": plain if out is None else f"table:{out}"}


def _rows(config: MeasureConfig, progress: Progress) -> LayerTable:
    """Every distinct row of a network in fp32 and in int8, or of all that a search may make of it."""
    loaded = load_model(
        config.model, weights=config.weights, num_classes=config.num_classes, input_shape=config.input_shape
    )
    for note in loaded.notes:
        progress.note(note)
    example = loaded.example_input()
    graph = trace(loaded.model, tuple(example.shape[1:]))
    target = CpuTarget()
    given = Given(loaded.model, example, graph, target.capabilities)
    space = GivenSpace(graph, kinds_of(given, (Prune(), Quantize()) if config.space else (Quantize(),)))
    pricing = Pricing(space, target)
    designs = (space.reference, np.zeros_like(space.reference))
    return LayerTable.distinct([*(pricing.rows(d) for d in designs), rows_possible(pricing)])
