"""Write the network of a finished run in another place or format."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from netsmith.errors import InputError, did_you_mean
from netsmith.jobs.run import Run

FORMATS = {"onnx": "model.onnx", "pt2": "model.pt2", "safetensors": "model.safetensors", "nsw": "model.nsw"}


def export(run: str | Path, *, format: str = "onnx", out: str | Path | None = None) -> dict[str, Any]:
    """Copy the compressed network of ``run`` to ``out``.

    Args:
        run: folder of a finished run.
        format: ``onnx`` (what was measured), ``pt2`` (loads with torch alone), ``safetensors`` (weights, for
            ``recipe.json`` replayed on the user's own network) or ``nsw`` (weights in as many bits as they have).
        out: file to write; by default the run's own file is named.

    Raises:
        InputError: the run is not finished, the format is unknown, or the file cannot be written.
    """
    if format not in FORMATS:
        raise InputError(f"unknown format {format!r}{did_you_mean(format, list(FORMATS))}; known: {', '.join(FORMATS)}")
    opened = Run.open(run)
    opened.summary()
    source = opened.folder / FORMATS[format]
    if not source.exists():
        raise InputError(f"{source} is missing; repeat the run with --resume")
    target = Path(out) if out else source
    if target != source:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
        except OSError as error:
            raise InputError(f"{target} cannot be written ({error.strerror}); choose another --out") from error
    return {"run": str(opened.folder), "format": format, "file": str(target), "bytes": target.stat().st_size}
