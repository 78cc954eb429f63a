"""Files of weights as tools write them, read into tensors by name without running any code that they name."""

from __future__ import annotations

import os
import pickle
import sys
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netsmith.errors import InputError
from netsmith.files import check_regular

if TYPE_CHECKING:
    import torch

_TORCH_SUFFIXES = (".pth", ".th", ".pt", ".tar", ".bin", ".ckpt")
_REFUSALS = ("Unsupported global", "Unsupported class", "unsupported GLOBAL", "Can only ")  #: how torch says so
_LFS, _ZIP, _PICKLE = b"version https://git-lfs", b"PK\x03\x04", b"\x80"  #: how such files begin
_DEPTH = 6  #: of mappings within mappings that are looked through
_MOST_BYTES, _MOST_NAMES = 2**40, 200_000  #: of a file
#: plain dictionaries by other names, of which hyper-parameters are kept
_DICTIONARIES = (
    "lightning.fabric.utilities.data.AttributeDict", "lightning_fabric.utilities.data.AttributeDict",
    "pytorch_lightning.utilities.parsing.AttributeDict", "pytorch_lightning.utilities.data.AttributeDict",
)  # fmt: skip


@dataclass(frozen=True)
class Content:
    """What a file of weights holds.

    Attributes:
        tensors: by name, on the CPU; what lies in mappings has their keys before its own, with dots between.
        others: names of values that are no tensors, written likewise.
        metadata: header of a safetensors file.
    """

    tensors: dict[str, torch.Tensor]
    others: tuple[str, ...]
    metadata: dict[str, str]


def split_key(path: str | Path) -> tuple[Path, str]:
    """``FILE.pth#KEY`` as the file and the key of the weights that are wanted of it; the key is empty if none is named.

    A file whose own name has a ``#`` is that file.
    """
    text = os.path.expanduser(path)
    whole, (name, mark, key) = Path(text), text.rpartition("#")
    return (whole, "") if os.path.exists(whole) or not mark or not name else (Path(name), key)


def check_file(path: Path) -> None:
    """Refuse at once what is no file of weights by its name and kind; a pipe or a device is never opened.

    Raises:
        InputError: no such file, a folder or a device, or another format.
    """
    if not os.path.exists(path):
        raise InputError(f"there is no weights file {path}")
    if path.is_dir():
        raise InputError(f"{path} is a folder, not a weights file: give a .safetensors or .pth file")
    if path.suffix.lower() not in (".safetensors", *_TORCH_SUFFIXES):
        raise InputError(f"{path} is no weights file that can be read: give a .safetensors or .pth file")
    check_regular(path, remedy="give a .safetensors or .pth file", limit=_MOST_BYTES)


def read_content(path: Path) -> Content:
    """Read a ``.safetensors`` file, or a PyTorch file: a state dict, or a checkpoint around one or several.

    Raises:
        InputError: no such file, another format, damaged, or without any weights.
    """
    check_file(path)
    if path.suffix.lower() == ".safetensors":
        tensors, metadata = _read_safetensors(path)
        content = Content(tensors, (), metadata)
    else:
        content = _read_torch(path)
    if not content.tensors:
        raise InputError(f"{path} holds no weights")
    return content


def _read_safetensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as file:
            return {k: file.get_tensor(k) for k in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except SafetensorError as error:
        raise _damaged(path, "safetensors") from error
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error


def _read_torch(path: Path) -> Content:
    import torch

    foreign: list[str] = []
    if _unpacked(path) > max(2 * path.stat().st_size, 1_000_000_000):  # no tool compresses them
        raise InputError(f"{path} is no file of weights: it is many times as large unpacked; download it again")
    try:
        with torch.serialization.safe_globals([*_plain_types()]):
            with suppress(Exception):  # of damaged files, and of those from before torch 1.6: loading them says more
                foreign = _foreign(torch.serialization.get_unsafe_globals_in_checkpoint(path))
            inert = torch.serialization.safe_globals([(_Inert, name) for name in foreign])
            with inert, warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of programs, which are refused below
                content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if any(word in str(error) for word in _REFUSALS):
            raise _has_objects(path) from error
        raise _damaged(path, "PyTorch") from error
    except Exception as error:  # zip, end of file, unicode, ...: torch raises many kinds for damaged files
        if "TorchScript" in str(error):
            raise InputError(f"{path} is a TorchScript program, not weights: save model.state_dict()") from error
        raise _damaged(path, "PyTorch") from error
    tensors: dict[str, torch.Tensor] = {}
    others: list[str] = []
    if isinstance(content, Mapping):
        for name, value in _flat(content):
            if len(tensors) + len(others) >= _MOST_NAMES:  # mappings that share their parts multiply
                raise InputError(f"{path} has more than {_MOST_NAMES} names; save model.state_dict() alone")
            if isinstance(value, torch.Tensor):
                tensors[name] = value
            else:
                others.append(name)
    if not tensors and (foreign or isinstance(content, _Inert)):
        raise _has_objects(path)
    if not isinstance(content, Mapping) or (content and not tensors):
        raise InputError(f"{path} holds no state dict: save model.state_dict()")
    return Content(tensors, tuple(others), {})


def _unpacked(path: Path) -> int:
    """Bytes that a zip file says to hold; 0 for what is none."""
    try:
        with zipfile.ZipFile(path) as packed:
            return sum(part.file_size for part in packed.infolist())
    except Exception:  # of damaged ones: loading them says more
        return 0


def _has_objects(path: Path) -> InputError:
    return InputError(
        f"{path} holds Python objects besides weights, which are not loaded for safety: "
        "save model.state_dict() instead of the model"
    )


class _Inert:
    """Stands where a file names a class of another program, whose code is never imported or run."""

    def __new__(cls, *args: Any, **kwargs: Any) -> _Inert:
        return super().__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None: ...

    def __setstate__(self, state: Any) -> None: ...


def _foreign(names: Sequence[str]) -> list[str]:
    """Of the classes that a file names, those of other programs; what Python itself and torch have is refused."""
    refused = {*sys.stdlib_module_names, "__builtin__", "torch"}
    return [n for n in names if n.partition(".")[0] not in refused or n.startswith("torch.optim.")]


def _plain_types() -> Iterator[Any]:
    """What training scripts keep beside weights and is plain data: their options, paths, numbers of NumPy."""
    import argparse
    import pathlib
    import types
    from collections import defaultdict

    import numpy as np
    from torch.torch_version import TorchVersion

    yield (str, f"{TorchVersion.__module__}.{TorchVersion.__qualname__}")
    yield from (argparse.Namespace, types.SimpleNamespace, defaultdict)
    yield from ((pathlib.PurePosixPath, f"pathlib.{name}") for name in ("PosixPath", "PurePosixPath", "WindowsPath"))
    yield from ((dict, name) for name in _DICTIONARIES)
    yield from (np.ndarray, np.dtype, *{type(np.dtype(code)) for code in "?bBhHiIlLqQefdgFDSU"})
    reconstruct = np.empty(0).__reduce__()[0]
    scalar = np.float64(0).__reduce__()[0]
    for package in ("numpy.core", "numpy._core"):  # before and since NumPy 2
        yield from ((scalar, f"{package}.multiarray.scalar"), (reconstruct, f"{package}.multiarray._reconstruct"))


def _flat(content: Any, prefix: str = "", depth: int = _DEPTH) -> Iterator[tuple[str, Any]]:
    """Names and values of mappings within mappings; of arrays, tensors."""
    import numpy as np
    import torch

    for key, value in content.items():
        name = f"{prefix}{key}"
        if isinstance(value, (list, tuple)) and any(isinstance(v, Mapping) for v in value):
            value = dict(enumerate(value))
        if isinstance(value, Mapping) and depth and value:
            yield from _flat(value, f"{name}.", depth - 1)
        elif isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
            yield name, torch.from_numpy(np.ascontiguousarray(value))
        else:
            yield name, value


def _damaged(path: Path, kind: str) -> InputError:
    """What a file that is not of its kind is instead, by its first bytes; the libraries have words of their own."""
    try:
        with path.open("rb") as stream:
            start = stream.read(len(_LFS))
    except OSError as error:
        return InputError(f"cannot read {path}: {error.strerror or error}")
    if not start:
        return InputError(f"{path} is empty; write or download it again")
    if start == _LFS:
        return InputError(f"{path} is only Git LFS's note of a file; fetch the file itself with `git lfs pull`")
    if start.lstrip()[:1] == b"<":
        return InputError(f"{path} is a web page, not weights; download the file itself")
    if kind == "PyTorch" and start[8:9] == b"{":
        return InputError(f"{path} is no PyTorch file but seems to be a safetensors file; rename it to .safetensors")
    if kind == "safetensors" and (start.startswith(_ZIP) or start[:1] == _PICKLE):
        return InputError(f"{path} is no safetensors file but seems to be a PyTorch file; rename it to .pth")
    return InputError(f"{path} is damaged or is no {kind} file; write or download it again")
