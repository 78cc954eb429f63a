"""What a finished network says of images: its ONNX file is fed as its own metadata says, by nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from netsmith.data import prepare
from netsmith.data.arrays import read_array
from netsmith.data.classes import printable, shorten
from netsmith.data.folders import images_below
from netsmith.errors import InputError
from netsmith.export.feeding import read_feeding
from netsmith.progress import Progress, progress_of
from netsmith.runs.folder import Run

if TYPE_CHECKING:
    from netsmith.data import Feeding

BATCH = 64  #: inputs at a time
Row = Path | np.ndarray


def predict(
    run: str | Path, inputs: Sequence[str | Path], *, top: int = 1, threads: int = 1, progress: Progress | None = None
) -> dict[str, Any]:
    """Classify images with the network of a run.

    Args:
        run: folder of a finished run, whose files are checked; or an ``.onnx`` file that netsmith wrote.
        inputs: image files, ``.npy`` files of one image or of several along a first axis more, and folders of these,
            which are searched with their subfolders.
        top: classes to name for each input, the likeliest first.
        threads: threads that the network runs on.

    Returns:
        ``model``, the file, and ``predictions``, one an input: ``{"input", "class", "score", "top"}``, where ``top`` is
        of ``{"class", "index", "score"}`` and scores are shares of a softmax over all classes.

    Raises:
        InputError: the run or an input cannot be used; names it.
    """
    model = _model(Path(run))
    feeding = read_feeding(model)
    if top < 1:
        raise InputError(f"--top is {top}; give the number of classes to name, 1 or more")
    if not inputs:
        raise InputError("there is no input; give images, .npy files or folders of them")
    network = _Network(model, feeding, threads)
    rows = [row for given in inputs for row in _rows(Path(given), feeding)]
    progress, size = progress_of(progress), network.batch or BATCH
    found: list[dict[str, Any]] = []
    for start in range(0, len(rows), size):
        part = rows[start : start + size]
        names = [name for name, _ in part]
        scores = network.scores(prepare(feeding, [row for _, row in part], names).numpy())
        labels = feeding.for_outputs(scores.shape[1]).labels
        found += [_prediction(name, row, labels, top) for name, row in zip(names, scores, strict=True)]
        progress.update(len(found), len(rows))
    return {"model": str(model), "predictions": found}


class _Network:
    """An ONNX file that classifies.

    Attributes:
        batch: the only number of inputs that it takes at a time; None if any.
    """

    def __init__(self, path: Path, feeding: Feeding, threads: int) -> None:
        from netsmith.hardware.measured.timing import make_session

        self.path, self._session = path, make_session(path, threads=threads)
        items = self._session.get_inputs()
        names, shapes = [item.name for item in items], [item.shape for item in items]
        fits = len(items) == 1 and len(shapes[0]) == len(feeding.input_shape) + 1 and names == list(feeding.inputs)
        sizes = zip(shapes[0][1:], feeding.input_shape, strict=True) if fits else ()
        if not fits or any(isinstance(own, int) and own != said for own, said in sizes):
            raise InputError(f"{path} takes other inputs than its metadata says; export the network again")
        self._name, first = names[0], shapes[0][0]
        self.batch = first if isinstance(first, int) else None

    def scores(self, images: np.ndarray) -> np.ndarray:
        """Shares of each class, ``(N, classes)``, of inputs ``(N, ...)``; no more than ``batch``."""
        n = len(images)
        if self.batch is not None:  # it takes no fewer: the first input fills up, and its further answers are dropped
            images = np.concatenate([images, np.repeat(images[:1], self.batch - n, axis=0)])
        try:
            logits = np.asarray(self._session.run(None, {self._name: np.ascontiguousarray(images)})[0], np.float64)[:n]
        except Exception as error:  # the runtime has errors of its own for wrong shapes and types
            raise InputError(f"{self.path} cannot be run on inputs as its metadata says; export it again") from error
        if logits.ndim != 2 or len(logits) != n or not np.isfinite(logits).all():
            raise InputError(
                f"{self.path} does not answer with one row of finite numbers an input; it is no classifier"
            )
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _model(run: Path) -> Path:
    if run.suffix == ".onnx" and not run.is_dir():
        return run
    if not run.exists():
        raise InputError(f"there is no {run}; give the folder of a run or an .onnx file that netsmith wrote")
    return Run.open(run).network().folder / "model.onnx"  # checks the files of the run as well


def _rows(given: Path, feeding: Feeding) -> Iterator[tuple[str, Row]]:
    """Each input that a path names, and what it is called."""
    try:
        there, folder = given.exists(), given.is_dir()
    except (OSError, ValueError):  # no name that a file can have
        there, folder = False, False
    if not there:
        raise InputError(
            f"there is no input {shorten(printable(given), 200)}; give images, .npy files or folders of them"
        )
    if not folder:
        yield from _file(given, feeding)
        return
    files = images_below(given)
    if not files:
        raise InputError(f"folder {given} holds no images; give one with image or .npy files in it or below")
    for path in files:
        yield from _file(path, feeding)


def _file(path: Path, feeding: Feeding) -> Iterator[tuple[str, Row]]:
    """A file; each of the arrays in it where it has one axis more than an input."""
    name = printable(path)
    if path.suffix.lower() == ".npy" and path.is_file():
        try:
            whole = read_array(path)
        except ValueError as error:
            raise InputError(f"{name} is no whole array of numbers; save it with numpy.save") from error
        if whole.ndim == len(feeding.input_shape) + 1:
            if not len(whole):
                raise InputError(f"{name} is an array of no inputs; give one with at least one")
            yield from ((f"{name}[{i}]", row) for i, row in enumerate(whole))
            return
    yield name, path


def _prediction(name: str, scores: np.ndarray, labels: Sequence[str], top: int) -> dict[str, Any]:
    order = np.argsort(-scores, kind="stable")[:top]
    best = [{"class": labels[i], "index": int(i), "score": float(scores[i])} for i in order]
    return {"input": name, "class": best[0]["class"], "score": best[0]["score"], "top": best}
