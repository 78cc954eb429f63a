"""Users' latency tables: CSV, parquet, JSON and YAML files in the layouts that the field uses.

| layout | what it is | file |
| --- | --- | --- |
| own | netsmith's own format | ``file.py`` |
| rows | a row a layer, columns such as kind, c_in, c_out, kernel, latency_ms | ``rows.py`` |
| blocks | ``expanded_conv-input:112x112x16-output:56x56x24-expand:3-kernel:3-stride:2-idskip:0`` | ``blocks.py`` |
| named | ``{layer: [w_bits - 1][a_bits - 1]}`` or ``{layer: {c_out: {c_in: time}}}`` | ``named.py`` |
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from netsmith.errors import InputError, did_you_mean
from netsmith.hardware.table.latency import LatencyTable

__all__ = ["read_table"]

LAYOUTS = ("bits", "channels")


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
    from netsmith.hardware.devices.readers.raw import read_raw
    from netsmith.hardware.devices.readers.rows import read_rows

    if layout is not None and layout not in LAYOUTS:
        hint = did_you_mean(layout, list(LAYOUTS))
        raise InputError(f"layout is {' or '.join(LAYOUTS)}, not {layout!r}{hint}")
    if not path.is_file():
        raise InputError(f"latency table {path} does not exist; make one with target cpu on its device, or name yours")
    raw = read_raw(path)
    if str(raw.meta.get("format")).startswith("netsmith-"):
        return LatencyTable.load(path)
    raw = replace(raw, meta=raw.meta | {k: v for k, v in {"unit": unit, "layout": layout}.items() if v})
    if raw.rows is not None:
        return read_rows(raw)
    return read_blocks(raw) if is_blocks(raw.tree) else read_named(raw)
