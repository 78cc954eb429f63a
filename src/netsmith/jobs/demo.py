"""The whole of netsmith on the embedded digits: train a small network, make it fit half its latency, report."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from netsmith.errors import InputError
from netsmith.jobs.compress import compress
from netsmith.jobs.train import train
from netsmith.progress import Progress, Silent, training_events

MODEL = "zoo:digits?channels=64"
EPOCHS = 12


def demo(
    out: str | Path = "runs/demo", *, seed: int = 0, latency: str = "0.4x", progress: Progress | None = None
) -> dict[str, Any]:
    """Run the demonstration; a folder left by an earlier demonstration is replaced.

    Returns:
        The summary of the compression.

    Raises:
        InputError: the folder holds something else.
    """
    progress = progress or Silent()
    folder = Path(out)
    _clear(folder)
    weights = folder.with_name(f"{folder.name}-baseline.safetensors")
    weights.unlink(missing_ok=True)
    progress.stage("train the network to be compressed")
    train(MODEL, "digits", epochs=EPOCHS, out=weights, seed=seed, resume=False, progress=training_events(progress))
    return compress(
        MODEL, "digits", weights=str(weights), latency=latency, out=folder, epochs=8, seed=seed, progress=progress
    )


def _clear(folder: Path) -> None:
    if not folder.exists() or not any(folder.iterdir()):
        return
    try:
        options = json.loads((folder / "config.json").read_text())["options"]
    except (OSError, ValueError, KeyError):
        options = {}
    if options.get("model") != MODEL:
        raise InputError(f"{folder} is not empty and not from an earlier demonstration; choose another --out")
    shutil.rmtree(folder)
