"""What a file of a network says of how it is fed, written into it and read back from it."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from netsmith.data.feeding import LABELS, PREPROCESSING, TASK, TOKENIZER, Feeding
from netsmith.errors import InputError
from netsmith.files import check_regular
from netsmith.network.tensorfile import metadata_of

if TYPE_CHECKING:
    import onnx

MOST_ONNX = 2**31  #: bytes; no such file can be larger


def write_feeding(model: onnx.ModelProto, feeding: Feeding) -> None:
    """Say in an ONNX model how it is fed; what else its metadata says stays."""
    said = {p.key: p.value for p in model.metadata_props} | feeding.metadata
    del model.metadata_props[:]
    for key, value in said.items():
        model.metadata_props.add(key=key, value=value)


def read_feeding(path: str | Path) -> Feeding:
    """How the network in a file is fed.

    Args:
        path: an ``.onnx``, ``.pt2`` or ``.safetensors`` file that netsmith wrote.

    Raises:
        InputError: there is no such file, it is of another kind or damaged, or it does not say it.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"there is no file {path}; give an .onnx, .pt2 or .safetensors file of a run")
    return Feeding.from_metadata(_metadata(path), str(path))


def _metadata(path: Path) -> Mapping[str, str]:
    """Key -> text of a file's metadata, without its weights where the format allows that."""
    if path.suffix == ".onnx":
        import onnx

        check_regular(path, remedy="export the network again", limit=MOST_ONNX)
        try:
            model = onnx.load(path, load_external_data=False)
        except Exception as error:  # what protobuf and the reading of files raise, each of its own kind
            raise InputError(f"{path} is no ONNX file that can be read; export the network again") from error
        return {p.key: p.value for p in model.metadata_props}
    if path.suffix == ".pt2":
        try:
            with zipfile.ZipFile(path) as archive:
                extra = {n.rpartition("/")[2]: n for n in archive.namelist() if "/extra/" in n}
                return {
                    k: archive.read(extra[k]).decode() for k in (PREPROCESSING, LABELS, TASK, TOKENIZER) if k in extra
                }
        except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
            raise InputError(f"{path} is no .pt2 file that can be read; export the network again") from error
    return metadata_of(path)
