"""Users' latency tables: CSV, parquet, JSON and YAML files in the layouts that the field uses.

| layout | what it is | file |
| --- | --- | --- |
| own | netsmith's own format | ``file.py`` |
| rows | a row a layer, columns such as kind, c_in, c_out, kernel, latency_ms | ``rows.py`` |
| blocks | ``expanded_conv-input:112x112x16-output:56x56x24-expand:3-kernel:3-stride:2-idskip:0`` | ``blocks.py`` |
| named | ``{layer: [w_bits - 1][a_bits - 1]}`` or ``{layer: {c_out: {c_in: time}}}`` | ``named.py`` |
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from netsmith.errors import InputError, did_you_mean
from netsmith.hardware.table.latency import LatencyTable

__all__ = ["read_table"]

LAYOUTS = ("bits", "channels")
EXCHANGE = "netsmith-layers/1"  #: what a folder of layers calls itself that was written for another device
_LAYERS = (
    "{} is of a folder of layers, not a table; make the table with `netsmith targets measure --read {} --out FILE`"
)


def read_table(path: Path, *, unit: str | None = None, layout: str | None = None) -> LatencyTable:
    """Read a latency table of any layout; what it is follows from its content.

    Args:
        path: ``.csv``, ``.tsv``, ``.parquet``, ``.json``, ``.yaml`` or ``.yml``.
        unit: of the times, where the file does not say: ``s``, ``ms``, ``us``, ``ns`` or ``cycles@200MHz``.
        layout: ``bits`` or ``channels``, for nested lists by layer name.

    Raises:
        InputError: the file cannot be read or understood; names the file, the line and the column.
    """
    from netsmith.hardware.devices.readers.blocks import is_blocks, read_blocks
    from netsmith.hardware.devices.readers.named import read_named
    from netsmith.hardware.devices.readers.raw import SUFFIXES, read_raw
    from netsmith.hardware.devices.readers.rows import read_rows

    if layout is not None and layout not in LAYOUTS:
        hint = did_you_mean(layout, list(LAYOUTS))
        raise InputError(f"layout is {' or '.join(LAYOUTS)}, not {layout!r}{hint}")
    if os.path.isfile(path / "manifest.json"):
        raise InputError(_LAYERS.format(path, path))
    if not os.path.exists(path) or os.path.isdir(path):
        what = "is a folder" if os.path.isdir(path) else "does not exist"
        beside = path.parent.glob("*") if os.path.isdir(path.parent) else ()
        siblings = [str(p) for p in beside if p.suffix in SUFFIXES]
        raise InputError(
            f"latency table {path} {what}{did_you_mean(str(path), siblings)}; name the file of a table, or make one: "
            "see docs/devices.md"
        )
    raw = read_raw(path)
    if raw.meta.get("format") == EXCHANGE or "file" in raw.head:
        raise InputError(_LAYERS.format(path, path.parent))
    if str(raw.meta.get("format")).startswith("netsmith-"):
        if unit or layout:
            raise InputError(f"{path} is a table of netsmith's own format, in seconds; drop unit= and layout=")
        own = LatencyTable.load(path)
        if not any(entry.seconds > 0 for entry in own.entries.values()):
            raise InputError(f"{path} has no layer that takes time; measure some with `netsmith targets measure`")
        return own
    raw = replace(raw, meta=raw.meta | {k: v for k, v in {"unit": unit, "layout": layout}.items() if v})
    if raw.rows is not None:
        return read_rows(raw)
    return read_blocks(raw) if is_blocks(raw.tree) else read_named(raw)
