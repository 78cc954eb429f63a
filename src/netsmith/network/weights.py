"""Weights of a network: read from safetensors or PyTorch files, written atomically as safetensors."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netsmith.errors import InputError
from netsmith.files import write_atomic

if TYPE_CHECKING:
    import torch
    from torch import nn

_TORCH_SUFFIXES = (".pth", ".th", ".pt", ".tar", ".bin")
#: where checkpoints keep the state dict, in order of preference
_WRAPPERS = (
    "state_dict", "model", "model_state", "model_state_dict", "net", "network", "ema", "model_ema", "state_dict_ema",
)  # fmt: skip
_PREFIXES = ("module.", "_orig_mod.")  # of DataParallel and torch.compile
_BOOKKEEPING = "num_batches_tracked"  # a counter that no inference reads and many files leave out


def read_weights(path: str | Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Read a file of weights.

    Args:
        path: ``.safetensors``, or a PyTorch file (``.pth``, ``.pt``, ``.th``): a state dict or a checkpoint around one.

    Returns:
        Tensors by name on the CPU, half precision widened to float32, and the file's metadata (none in PyTorch files).

    Raises:
        InputError: no such file, another format, or damaged.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"there is no weights file {path}")
    if path.is_dir():
        raise InputError(f"{path} is a folder, not a weights file: give a .safetensors or .pth file")
    if path.suffix == ".safetensors":
        state, metadata = _read_safetensors(path)
    elif path.suffix in _TORCH_SUFFIXES:
        state, metadata = _read_torch(path), {}
    else:
        raise InputError(f"{path} is no weights file that can be read: give a .safetensors or .pth file")
    if not state:
        raise InputError(f"{path} holds no weights")
    return {name: _widen(tensor) for name, tensor in _strip(state).items()}, metadata


def load_weights(model: nn.Module, path: str | Path) -> dict[str, str]:
    """Load the weights of ``path`` into ``model``, strictly: every tensor has its place and its shape.

    Only counters of batch norm (``num_batches_tracked``) may be missing.

    Returns:
        The file's metadata.

    Raises:
        InputError: the file cannot be read, or holds the weights of another network; names the first differences.
    """
    state, metadata = read_weights(path)
    own = model.state_dict()
    missing = [k for k in own if k not in state and not k.endswith(_BOOKKEEPING)]
    extra = [k for k in state if k not in own]
    shapes = [
        f"{k} {_shape(state[k])} instead of {_shape(own[k])}"
        for k in own
        if k in state and state[k].shape != own[k].shape
    ]
    if missing or extra or shapes:
        parts = [
            f"{len(found)} {what} ({', '.join(found[:3])}{', ...' if len(found) > 3 else ''})"
            for what, found in (("missing", missing), ("unexpected", extra), ("of another shape", shapes))
            if found
        ]
        raise InputError(f"{path} holds the weights of another network: of {len(own)} tensors {', '.join(parts)}")
    for name, tensor in state.items():
        if bool(tensor.isnan().any()):
            raise InputError(f"{path} is unusable: {name} contains values that are not a number")
    model.load_state_dict(state, strict=False)  # all but the counters was checked above
    return metadata


def save_weights(
    path: str | Path, state: Mapping[str, torch.Tensor], metadata: Mapping[str, Any] | None = None
) -> None:
    """Write a state dict as safetensors so that the file is either whole or not there.

    Args:
        path: target; its folder is made if needed.
        state: tensors by name; views and tied tensors are written out in full.
        metadata: kept in the file's header, values as strings.

    Raises:
        InputError: the place cannot be written (no permission, full disk, a file where a folder should be).
    """
    from safetensors.torch import save

    path = Path(path)
    tensors = {k: v.detach().cpu().contiguous().clone() for k, v in state.items()}
    data = save(tensors, metadata={k: str(v) for k, v in (metadata or {}).items()})
    write_atomic(path, data)


def _read_safetensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as file:
            return {k: file.get_tensor(k) for k in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except SafetensorError as error:
        raise InputError(f"{path} is damaged or is no safetensors file: {_first_line(error)}") from error
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error


def _read_torch(path: Path) -> dict[str, torch.Tensor]:
    import argparse

    import torch

    try:
        # training scripts like to keep their argparse.Namespace beside the weights; it is plain data
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "Unsupported global" in str(error) or "Unsupported class" in str(error):
            raise InputError(
                f"{path} holds Python objects besides weights, which are not loaded for safety: "
                "save model.state_dict() instead of the model"
            ) from error
        raise InputError(f"{path} is damaged or is no PyTorch file: {_first_line(error)}") from error
    except Exception as error:  # zip, end of file, unicode, ...: torch raises many kinds for damaged files
        raise InputError(f"{path} is damaged or is no PyTorch file: {_first_line(error)}") from error
    state = _unwrap(content)
    if state is None:
        raise InputError(f"{path} holds no state dict: save model.state_dict()")
    return state


def _unwrap(content: Any) -> dict[str, torch.Tensor] | None:
    import torch

    if not isinstance(content, Mapping):
        return None
    for key in _WRAPPERS:
        if isinstance(content.get(key), Mapping):
            inner = _unwrap(content[key])
            if inner:
                return inner
    tensors = {str(k): v for k, v in content.items() if isinstance(v, torch.Tensor)}
    return tensors if len(tensors) == len(content) else None


def _strip(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    for prefix in _PREFIXES * 2:  # compiled and wrapped, in either order
        if all(k.startswith(prefix) for k in state):
            state = {k.removeprefix(prefix): v for k, v in state.items()}
    return state


def _widen(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.float() if tensor.is_floating_point() and tensor.element_size() < 4 else tensor


def _shape(tensor: torch.Tensor) -> str:
    return "x".join(str(s) for s in tensor.shape) or "scalar"


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:160]
