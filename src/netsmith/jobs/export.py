"""Write the network of a finished run in another place or format."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

from netsmith.errors import InputError, did_you_mean
from netsmith.export.onnx import PRODUCER
from netsmith.export.packed.file import MAGIC
from netsmith.export.pt2 import MARK
from netsmith.files import check_place, same_file, write_atomic
from netsmith.network.tensorfile import metadata_of
from netsmith.network.weights import MADE_HERE
from netsmith.runs.folder import Run
from netsmith.runs.names import CONFIG, FORMATS, SUMMARY


def export(run: str | Path, *, format: str = "onnx", out: str | Path | None = None) -> dict[str, Any]:
    """Copy the compressed network of ``run`` to ``out``.

    Args:
        run: folder of a finished run.
        format: ``onnx`` (what was measured), ``pt2`` (loads with torch alone), ``safetensors`` (weights, for
            ``recipe.json`` replayed on the user's own network) or ``nsw`` (weights in as many bits as they have).
        out: file to write; by default the run's own file is named.

    Raises:
        InputError: the run is not finished or a file of it is missing or damaged, the format is unknown, or the file
            cannot be written or is something else that would be replaced.
    """
    if format not in FORMATS:
        raise InputError(f"unknown format {format!r}{did_you_mean(format, list(FORMATS))}; known: {', '.join(FORMATS)}")
    opened = Run.open(run)
    source = (opened.network().folder if (opened.folder / SUMMARY).exists() else opened.folder) / FORMATS[format]
    target = Path(out) if out else source
    elsewhere = not same_file(target, source)
    if elsewhere:
        if (target.parent / CONFIG).exists() and target.name in FORMATS.values():
            raise InputError(f"--out {target} is the file of another run, which stays; choose another place")
        check_place(target, own=lambda path: is_export(path, format), what=f"a {format} file that netsmith exported")
    opened.summary()  # checks the files of the run as well
    if not source.exists():
        raise InputError(f"{source} is missing; repeat the run's command with --resume, which makes it again")
    if elsewhere:
        write_atomic(target, source.read_bytes())
    return {"run": str(opened.folder), "format": format, "file": str(target), "bytes": target.stat().st_size}


def is_export(path: Path, format: str) -> bool:
    """Whether a file is a network that netsmith wrote in that format, by the marks in it."""
    try:
        if format == "onnx":
            import onnx

            return bool(onnx.load(path, load_external_data=False).producer_name == PRODUCER)
        if format == "pt2":
            with zipfile.ZipFile(path) as archive:
                return any(name.endswith(f"/extra/{MARK}") for name in archive.namelist())
        if format == "nsw":
            with path.open("rb") as stream:
                return stream.read(len(MAGIC)) == MAGIC
    except Exception:  # a file of another kind: each reader has its own errors
        return False
    metadata = metadata_of(path)
    return metadata.items() >= MADE_HERE.items() and "made_by" not in metadata  # a training wrote those that have it
