"""The whole of netsmith on the embedded digits: train a small network, make it fit half its latency, report."""

from __future__ import annotations

from pathlib import Path

from netsmith.errors import InputError
from netsmith.files import check_place
from netsmith.jobs.compress import compress
from netsmith.jobs.plans import TRAIN, of_demonstration
from netsmith.jobs.result import Result
from netsmith.jobs.train import is_trained, train
from netsmith.progress import Progress, Within, progress_of
from netsmith.runs.place import emptied

MODEL = "zoo:digits?channels=64"
EPOCHS, TUNING = 12, 8  #: of training, and of fine-tuning


def demo(
    out: str | Path = "runs/demo", *, seed: int = 0, latency: str = "0.4x", progress: Progress | None = None
) -> Result:
    """Run the demonstration; a folder left by an earlier demonstration is replaced.

    Returns:
        What the compression came to.

    Raises:
        InputError: the folder holds something else, or the seed is no seed.
    """
    from netsmith.training.schedule import check_training

    check_training(seed=seed)  # before an earlier demonstration is removed
    progress = progress_of(progress)
    folder = Path(out)
    weights = folder.with_name(f"{folder.name}-baseline.safetensors")
    own = "the baseline of an earlier demonstration"
    check_place(weights, f"the baseline beside --out {folder},", own=lambda path: is_trained(path, "demo"), what=own)
    _clear(folder)
    progress.plan("demo", of_demonstration(EPOCHS, TUNING))
    progress.stage(TRAIN)
    train(MODEL, "digits", epochs=EPOCHS, out=weights, seed=seed, resume=False, job="demo",
          progress=Within(progress))  # fmt: skip
    return compress(
        MODEL, "digits", weights=str(weights), latency=latency, out=folder, epochs=TUNING, seed=seed, progress=progress,
        job="demo",
    )  # fmt: skip


def _clear(folder: Path) -> None:
    """Remove an earlier demonstration; nothing else that lies in its place."""
    with emptied(folder) as (options, others):
        if others or (options and options.get("job") != "demo"):
            has = f" (it has {others[0]})" if others else ""
            raise InputError(f"{folder} is not empty and not from an earlier demonstration{has}; choose another --out")
