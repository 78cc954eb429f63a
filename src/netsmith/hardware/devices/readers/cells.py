"""Cells of a user's table: whole numbers, sizes, kinds of layers."""

from __future__ import annotations

import re

from netsmith.errors import InputError, did_you_mean, shown
from netsmith.hardware.devices.readers.raw import Line, Raw
from netsmith.hardware.table.numbers import MOST_BITS, whole
from netsmith.network.layers import ACTIVATION, ACTIVATIONS, KIND

#: Names of kinds, and what they say beside the kind.
_KINDS: dict[str, tuple[str, dict[str, int]]] = {
    **{name: (name, {}) for name in KIND},
    **dict.fromkeys(("conv2d", "convolution", "conv1d"), ("conv", {})),
    **dict.fromkeys(("dwconv", "depthwise", "depthwise_conv", "depthwiseconv2d", "conv_dw", "dw"),
                    ("conv", {"groups": 1})),
    **dict.fromkeys(("pointwise", "pwconv", "pointwise_conv", "conv1x1", "pw"),
                    ("conv", {"kernel_h": 1, "kernel_w": 1})),
    **dict.fromkeys(("fc", "dense", "gemm", "fully_connected", "fullyconnected"), ("linear", {})),
    **dict.fromkeys(("bmm", "batch_matmul"), ("matmul", {})),
    **dict.fromkeys(("maxpool2d", "max_pool", "max_pool2d"), ("maxpool", {})),
    **dict.fromkeys(("avgpool2d", "avg_pool", "averagepool"), ("avgpool", {})),
    **dict.fromkeys(("globalavgpool", "global_avg_pool", "globalaveragepool", "gap"),
                    ("avgpool", {"kernel_h": 1, "kernel_w": 1, "h_out": 1, "w_out": 1})),
    **dict.fromkeys(("elementwise_add", "eltwise"), ("add", {})),
    **{name: ("activation", {"activation": ACTIVATION[name]}) for name in ACTIVATIONS[1:-1]},
    **dict.fromkeys(("layernorm", "layer_norm", "batchnorm", "batch_norm"), ("norm", {})),
}  # fmt: skip


def kind_of(raw: Raw, line: Line, word: str) -> tuple[str, dict[str, int]]:
    """Kind of a layer by any of its names, and the columns that the name implies (``groups``: one a channel)."""
    plain = word.strip().lower().replace(" ", "_").replace("-", "_")
    if plain not in _KINDS:
        hint = did_you_mean(plain, list(_KINDS))
        raise InputError(f"{raw.path}, {line.where}: {shown(word)} is no kind of layer{hint}; known: {', '.join(KIND)}")
    return _KINDS[plain]


def count_of(raw: Raw, line: Line, column: str, *, square: bool = False, needed: bool = False) -> int | None:
    """A whole number above 0, None for an empty cell; ``square`` takes ``2x2`` too."""
    if column not in line.cells:
        if needed:
            raise InputError(f"{raw.path}, {line.where}: column {shown(column)} is empty; every layer needs it")
        return None
    values = _numbers(raw, line, column)
    if len(set(values)) != 1 or (len(values) > 1 and not square):
        raise InputError(
            f"{raw.path}, {line.where}, column {shown(column)}: {shown(line.cells[column])} is not one number"
        )
    return values[0]


def size_of(raw: Raw, line: Line, column: str, axes: tuple[str, str]) -> dict[str, int]:
    """``3``, ``3x3`` or ``(3, 3)`` as height and width; nothing for an empty cell."""
    if column not in line.cells:
        return {}
    values = _numbers(raw, line, column)
    if len(values) > 2:
        raise InputError(
            f"{raw.path}, {line.where}, column {shown(column)}: {shown(line.cells[column])} is no size; write 56 "
            "or 56x56"
        )
    return {axes[0]: values[0], axes[1]: values[-1]}


def _numbers(raw: Raw, line: Line, column: str) -> list[int]:
    text = str(line.cells[column]).strip()
    parts = [p for p in re.split(r"[xX×,\s]+", text.strip("()[]")) if p]
    where = f"{raw.path}, {line.where}, column {shown(column)}"
    return [whole(p, where) for p in parts or [text]]


def bits_of(raw: Raw, line: Line, column: str) -> int | None:
    """A width of 1 to 32 bits, None for an empty cell."""
    bits = count_of(raw, line, column)
    if bits is not None and bits > MOST_BITS:
        raise InputError(
            f"{raw.path}, {line.where}, column {shown(column)}: {bits} is no width of 1 to {MOST_BITS} bits"
        )
    return bits
