"""What a finished network says of its inputs: its ONNX file is fed as its own metadata says, by nothing else."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from netsmith.errors import InputError
from netsmith.export.feeding import read_feeding
from netsmith.files import to_path, write_atomic
from netsmith.jobs.asking import Example, rows_of, takes_of, wanted
from netsmith.progress import Progress, progress_of
from netsmith.runs.folder import Run
from netsmith.tasks.answers import Answer, Outputs, answer_of

if TYPE_CHECKING:
    from netsmith.data.feeding import Feeding, Port

BATCH = 64  #: inputs at a time


def predict(
    run: str | Path, inputs: Sequence[str | Path], *, top: int = 1, threads: int = 1, out: str | Path | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Ask the network of a run.

    Args:
        run: folder of a finished run, whose files are checked; or an ``.onnx`` file that netsmith wrote.
        inputs: of networks that read images, image files and ``.npy`` files of one image or of several along a first
            axis more; of those that read texts, texts and ``.txt`` files; of all others ``.npz`` files with an array
            for each input by its name, of one example or of several, or ``.npy`` files where there is one input.
            Folders of these are searched with their subfolders.
        top: classes to name for each input, the likeliest first.
        threads: threads that the network runs on.
        out: new folder for all outputs: a ``.npz`` file an input, and a picture of what is one.

    Returns:
        ``model``, the file, and ``predictions``, one an input. Of classes it is ``{"input", "class", "score", "top"}``,
        where ``top`` is of ``{"class", "index", "score"}`` and scores are shares of a softmax over all classes, or of
        the pixels of an image that is segmented. Of numbers it is ``{"input", "outputs"}``, with the ``shape`` of each
        output by its name, and its ``values`` where they are few. With ``out`` each says its ``files``.

    Raises:
        InputError: the run or an input cannot be used, or ``out`` has something in it; names it.
    """
    model = _model(Path(run))
    feeding = read_feeding(model)
    if top < 1:
        raise InputError(f"--top is {top}; give the number of classes to name, 1 or more")
    if not inputs:
        raise InputError(f"there is no input; give {wanted(feeding)}")
    network = _Network(model, feeding, threads)
    folder = None if out is None else _folder(out)
    rows = [row for given in inputs for row in rows_of(given, feeding)]
    progress, found, waiting = progress_of(progress), list[dict[str, Any]](), list[tuple[str, Example]]()
    for i, (name, read) in enumerate(rows):
        waiting.append((name, read()))
        if i + 1 < len(rows) and len(waiting) < (network.batch or BATCH) and _alike(waiting):
            continue
        # an example of other shapes than those before it begins a batch of its own
        ready = [waiting] if _alike(waiting) else [waiting[:-1], waiting[-1:]]
        waiting = [] if len(ready) == 1 or i + 1 == len(rows) else ready.pop()
        for part in ready:
            for (called, _), outputs in zip(part, network.run([example for _, example in part]), strict=True):
                answer = answer_of(feeding.task, feeding.labels, outputs, top)
                files = {} if folder is None else {"files": _write(folder, len(found), called, outputs, answer)}
                found.append({"input": called, **answer.said, **files})
        progress.update(len(found), len(rows))
    return {"model": str(model), "predictions": found}


class _Network:
    """An ONNX file with what it says of itself.

    Attributes:
        batch: the only number of examples that it takes at a time; None if any.
    """

    def __init__(self, path: Path, feeding: Feeding, threads: int) -> None:
        from netsmith.hardware.measured.timing import make_session

        self.path, self._session = path, make_session(path, threads=threads)
        shapes = {item.name: item.shape for item in self._session.get_inputs()}
        ports = {port.name: port for port in takes_of(feeding)}
        if set(shapes) != set(ports) or not all(_fits(shapes[n], port) for n, port in ports.items()):
            raise InputError(f"{path} takes other inputs than its metadata says; export the network again")
        self.batch = next((s[0] for s in shapes.values() if s and isinstance(s[0], int)), None)
        self._names = [item.name for item in self._session.get_outputs()]

    def run(self, examples: Sequence[Example]) -> list[Outputs]:
        """The outputs of each of some examples of the same shapes; no more than ``batch``."""
        n = len(examples)
        size = self.batch or n  # it may take no fewer: the first fills up, and its further answers are dropped
        feed = {name: np.stack([e[name] for e in (*examples, *[examples[0]] * (size - n))]) for name in examples[0]}
        try:
            values = [np.asarray(value) for value in self._session.run(None, feed)]
        except Exception as error:  # the runtime has errors of its own for shapes, types and numbers of tokens
            raise InputError(
                f"{self.path} does not run on these inputs, though it says that it takes such; give others, with "
                "numbers that its tables have, or export it again"
            ) from error
        if any(value.ndim == 0 or len(value) != size for value in values):
            raise InputError(f"{self.path} does not answer with one row an input; export it again")
        return [{name: value[i] for name, value in zip(self._names, values, strict=True)} for i in range(n)]


def _fits(shape: Sequence[int | str | None], port: Port) -> bool:
    """Whether what a file and its metadata say of each axis agrees, where both name a number."""
    if len(shape) != len(port.shape):
        return False
    return all(
        not (isinstance(a, int) and isinstance(b, int)) or a == b for a, b in zip(shape, port.shape, strict=True)
    )


def _alike(rows: Sequence[tuple[str, Example]]) -> bool:
    """Whether the last example has the shapes of the first."""
    first, last = ({name: value.shape for name, value in rows[i][1].items()} for i in (0, -1))
    return first == last


def _model(run: Path) -> Path:
    if run.suffix == ".onnx" and not run.is_dir():
        return run
    if not run.exists():
        raise InputError(f"there is no {run}; give the folder of a run or an .onnx file that netsmith wrote")
    return Run.open(run).network().folder / "model.onnx"  # checks the files of the run as well


def _folder(out: str | Path) -> Path:
    folder = to_path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        empty = not any(folder.iterdir())
    except OSError as error:
        raise InputError(f"{folder} cannot be written; name another folder for the outputs") from error
    if not empty:
        raise InputError(f"{folder} has something in it; name a new folder for the outputs")
    return folder


def _write(folder: Path, number: int, name: str, outputs: Outputs, answer: Answer) -> list[str]:
    """The files of one answer: all outputs, and the picture where there is one."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(name).stem)[:60].strip("-.") or "input"
    arrays = io.BytesIO()
    np.savez(arrays, allow_pickle=False, **dict(outputs))
    files = {f"{number:05d}-{stem}.npz": arrays.getvalue()}
    if answer.picture is not None:
        from PIL import Image

        picture = io.BytesIO()
        Image.fromarray(answer.picture).save(picture, "png")
        files[f"{number:05d}-{stem}.png"] = picture.getvalue()
    for file, content in files.items():
        write_atomic(folder / file, content)
    return [str(folder / file) for file in files]
