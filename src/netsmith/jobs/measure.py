"""The latency table of a device: measured here, or on a device that cannot run Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from netsmith.compression.branches import find_branches
from netsmith.compression.channels import GroupReport
from netsmith.compression.choices import Choices
from netsmith.compression.demand import rows_possible
from netsmith.compression.groups import find_groups
from netsmith.compression.pricing import Pricing
from netsmith.errors import InputError
from netsmith.files import check_place
from netsmith.hardware.devices.exchange import measure_here, new_folder, read_timings, write_layers
from netsmith.hardware.measured.cpu import CpuTarget
from netsmith.hardware.table.file import is_table
from netsmith.network.graph import trace
from netsmith.network.layers import LayerTable
from netsmith.network.load import load_model
from netsmith.progress import Progress, Silent


def measure(
    model: Any = None, *, input_shape: tuple[int, ...] | None = None, space: bool = False,
    write: str | Path | None = None, read: str | Path | None = None, out: str | Path | None = None,
    weights: str | None = None, num_classes: int | None = None, threads: int = 1, progress: Progress | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Build a latency table for the layers of a network.

    Args:
        model: MODEL or a module; not needed with ``read``.
        input_shape: ``(C, H, W)``; needed where the network does not say it.
        space: price every width, branch and bit-width that ``compress`` may try, not just the network in fp32 and int8.
        write: new folder for the layers as ONNX files, to be timed on another device; nothing is measured.
        read: folder that ``write`` made, with its ``timings.csv`` filled in.
        out: table file to write; for this machine its cache by default.
        threads: threads that a layer runs on, on this machine.

    Returns:
        ``layers``, how many distinct ones; ``table``, a file, and ``target``, words for ``--target``; or ``folder``.

    Raises:
        InputError: options that contradict each other, or input that cannot be used.
    """
    progress = progress or Silent()
    if read is not None:
        if model is not None or write is not None:
            raise InputError("--read takes the times of a folder as they are; drop the network and --write")
        if out is None:
            raise InputError("say where the table is to go: --out device.json")
        check_place(Path(out), own=is_table, what="a latency table")
        progress.stage("reading times")
        table = read_timings(Path(read))
        table.save(Path(out))
        return {"layers": len(table.entries), "table": str(out), "target": f"table:{out}"}
    if model is None:
        raise InputError("name the network whose layers are to be measured, or --read a folder of times")
    if write is not None:
        if out is not None:
            raise InputError("--out is the table of --read; drop it here")
        new_folder(Path(write))
    elif out is not None:
        check_place(Path(out), own=is_table, what="a latency table")
    progress.stage("load")
    rows = _rows(model, input_shape, space, weights, num_classes, progress)
    if write is not None:
        progress.stage("writing layers")
        multiple = CpuTarget().capabilities.channel_multiple
        count = write_layers(rows, Path(write), channel_multiple=multiple, progress=progress.update)
        return {"layers": count, "folder": str(write), "next": f"time the files as {Path(write) / 'README.md'} says"}
    progress.stage("latency table")
    path = Path(out) if out is not None else None
    table = measure_here(rows, threads=threads, path=path, progress=progress.update)
    target = f"table:{out}" if out is not None else "cpu" if threads == 1 else f"cpu:threads={threads}"
    where = str(out) if out is not None else str(CpuTarget(threads).path)
    return {"layers": len(table.entries), "table": where, "target": target}


def _rows(
    model: Any, input_shape: tuple[int, ...] | None, space: bool, weights: str | None, num_classes: int | None,
    progress: Progress,
) -> LayerTable:  # fmt: skip
    """Every distinct row of a network in fp32 and in int8, or of all that a search may make of it."""
    loaded = load_model(model, weights=weights, num_classes=num_classes, input_shape=input_shape)
    for note in loaded.notes:
        progress.note(note)
    example = loaded.example_input()
    graph = trace(loaded.model, tuple(example.shape[1:]))
    target = CpuTarget()
    if space:
        report, branches = find_groups(loaded.model, example), find_branches(loaded.model, example)
        multiple = target.capabilities.channel_multiple
        choices = Choices.of(graph, report, branches, multiple=multiple)
    else:
        choices = Choices.of(graph, GroupReport([], {}, {}), [], prune=False)
    pricing = Pricing(choices, target)
    designs = (choices.original, np.zeros_like(choices.original))
    return LayerTable.distinct([*(pricing.rows(d) for d in designs), rows_possible(pricing)])
