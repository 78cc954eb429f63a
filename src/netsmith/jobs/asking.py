"""What is asked of a network that takes anything: texts, images, or arrays by the names of its inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netsmith.data.arrays import read_array, read_arrays
from netsmith.data.classes import printable, shorten
from netsmith.data.feeding import Feeding, Port
from netsmith.data.folders import images_below
from netsmith.data.inputs import prepare
from netsmith.errors import InputError
from netsmith.files import read_text

Example = dict[str, NDArray[Any]]  #: name of an input -> what it takes, without the axis of the batch
Row = tuple[str, Callable[[], Example]]  #: what an example is called, and what reads it


def takes_of(feeding: Feeding) -> tuple[Port, ...]:
    """Every input of a network; where classes of images are told apart, the only one."""
    return feeding.takes or (Port(feeding.inputs[0], "float32", (None, *feeding.input_shape)),)


def rows_of(given: str | Path, feeding: Feeding) -> Iterator[Row]:
    """Each example that a path or a text names.

    Raises:
        InputError: there is none, or none that the network takes; names it. So does reading one.
    """
    name = shorten(printable(given), 200)
    try:
        path, there = Path(given), Path(given).exists()
    except (OSError, ValueError):  # no name that a file can have
        path, there = Path(), False
    if not there:
        if not (feeding.tokenizer and isinstance(given, str)):
            raise InputError(f"there is no input {name}; give {wanted(feeding)}")
        yield name, partial(_of_text, given, feeding, name)
        return
    for file in _below(path, feeding) if path.is_dir() else [path]:
        yield from _of_file(file, feeding)


def wanted(feeding: Feeding) -> str:
    """What may be given, in words."""
    if _is_image(feeding):
        return "images, .npy files or folders of them"
    arrays = f".npz files with {', '.join(port.name for port in feeding.takes)}, or folders of such files"
    if feeding.tokenizer:
        return f"texts, .txt files of a text each, {arrays}"
    return f".npy files, {arrays}" if len(feeding.takes) == 1 else arrays


def _is_image(feeding: Feeding) -> bool:
    """Whether inputs are made of images, or are arrays of one shape that classes are told of."""
    return feeding.scale is not None or not feeding.takes


def _below(folder: Path, feeding: Feeding) -> Sequence[Path]:
    if _is_image(feeding):
        if not (images := list(images_below(folder))):
            raise InputError(f"folder {folder} holds no images; give one with image or .npy files in it or below")
        return images
    endings = (".npz", ".npy", ".txt") if feeding.tokenizer else (".npz", ".npy")
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in endings and p.is_file())
    if not found:
        raise InputError(f"folder {folder} holds nothing that the network takes; give {wanted(feeding)}")
    return found


def _of_file(path: Path, feeding: Feeding) -> Iterator[Row]:
    name, ending, takes = printable(path), path.suffix.lower(), takes_of(feeding)
    if ending == ".npz" and feeding.takes:
        try:
            arrays = read_arrays(path)
        except ValueError as error:
            raise InputError(f"{name} holds no whole arrays of numbers; save it with numpy.savez") from error
        yield from _split(arrays, takes, name)
    elif _is_image(feeding):
        yield from _of_image(path, feeding, name)
    elif ending == ".txt" and feeding.tokenizer:
        yield name, lambda: _of_text(read_text(path, remedy="give a text in UTF-8"), feeding, name)
    elif ending == ".npy" and len(takes) == 1:
        yield from _split({takes[0].name: _array(path, name)}, takes, name)
    else:
        raise InputError(f"{name} is nothing that the network takes; give {wanted(feeding)}")


def _of_image(path: Path, feeding: Feeding, name: str) -> Iterator[Row]:
    """A file; each of the arrays in it where it has one axis more than an input."""

    def read(row: Path | NDArray[Any], called: str) -> Example:
        return {feeding.inputs[0]: prepare(feeding, [row], [called]).numpy()[0]}

    if path.suffix.lower() == ".npy" and path.is_file():
        whole = _array(path, name)
        if whole.ndim == len(feeding.input_shape) + 1:
            if not len(whole):
                raise InputError(f"{name} is an array of no inputs; give one with at least one")
            yield from ((f"{name}[{i}]", partial(read, row, f"{name}[{i}]")) for i, row in enumerate(whole))
            return
    yield name, partial(read, path, name)


def _array(path: Path, name: str) -> NDArray[Any]:
    try:
        return read_array(path)
    except ValueError as error:
        raise InputError(f"{name} is no whole array of numbers; save it with numpy.save") from error


def _of_text(text: str, feeding: Feeding, name: str) -> Example:
    """The numbers of a text's tokens, and which are no padding where the network takes that."""
    from netsmith.data.tokens import Tokens

    ids, mask = Tokens(feeding.tokenizer, int(feeding.task.get("tokens") or feeding.input_shape[0]))([text])
    ports = sorted(feeding.takes, key=lambda port: "mask" in port.name)  # others are in the order of the forward
    return {p.name: _fitted(value.numpy()[0], p, name) for p, value in zip(ports, (ids, mask), strict=False)}


def _split(arrays: Mapping[str, NDArray[Any]], takes: Sequence[Port], name: str) -> Iterator[Row]:
    """One example of arrays without an axis of the batch, else all of them."""
    ports = {port.name: port for port in takes}
    for what, wrong in (("has no", set(ports) - set(arrays)), ("has an unknown", set(arrays) - set(ports))):
        if wrong:
            raise InputError(f"{name} {what} array {min(wrong)!r}; the network takes {', '.join(ports)}")
    axes = {arrays[n].ndim - len(port.shape) for n, port in ports.items()}
    counts = {len(arrays[n]) for n in ports} if axes == {0} and all(p.shape for p in takes) else set()

    def read(index: tuple[int, ...], called: str) -> Example:
        return {n: _fitted(arrays[n][index], port, called) for n, port in ports.items()}

    if axes == {-1}:
        yield name, partial(read, (), name)
    elif len(counts) == 1 and counts != {0}:
        yield from ((f"{name}[{i}]", partial(read, (i,), f"{name}[{i}]")) for i in range(counts.pop()))
    else:
        shapes = ", ".join(f"{n} {_words(port.shape)}" for n, port in ports.items())
        raise InputError(
            f"{name} has arrays of other shapes than the network takes; give {shapes}, or without the first axis"
        )


def _fitted(value: NDArray[Any], port: Port, name: str) -> NDArray[Any]:
    """An array in the type of an input.

    Raises:
        InputError: it has another shape, or numbers that the type has not.
    """
    fits = value.ndim == len(port.shape) - 1 and all(
        not isinstance(own, int) or own == n for own, n in zip(port.shape[1:], value.shape, strict=True)
    )
    if not fits or value.dtype.kind not in "biuf":
        raise InputError(
            f"{name} has {_words(value.shape)} of {value.dtype} for {port.name}; it takes {port.dtype} of "
            f"{_words(port.shape[1:])}"
        )
    with np.errstate(over="ignore", invalid="ignore"):
        made = value.astype(port.dtype)
    if not (np.isfinite(made).all() if made.dtype.kind == "f" else np.array_equal(made, value)):
        raise InputError(f"{name} has numbers for {port.name} that are no {port.dtype}; give such")
    return np.ascontiguousarray(made)


def _words(shape: Sequence[int | str | None]) -> str:
    return "x".join("any" if n is None else str(n) for n in shape) or "one number"
