"""Features of single layers: what their time depends on, mostly as logarithms, for most effects multiply."""

from __future__ import annotations

import numpy as np

from netsmith.hardware.predictor.metrics import FloatArray
from netsmith.hardware.table.keys import BLOCKED, ENTRY, MIXED, IntArray, Key
from netsmith.network.layers import ACTIVATION, COMPUTE_CODES, KIND, KINDS

_BLOCK = 16  #: channels that vector units work on together, or a small multiple of it
_SIZES = ("c_in", "c_out", "groups", "kernel area", "stride", "input pixels", "output pixels")
_WORK = ("macs", "padded macs", "bytes in", "bytes out", "bytes of weights", "macs a byte")
_FLAGS = ("8 bits", "depthwise", "first layer", "between convolutions", "mixed layout", "activation")

#: Names of the features, in order.
NAMES = (*(f"log2 {n}" for n in (*_SIZES, *_WORK)), *_FLAGS, *(f"is {k}" for k in KINDS))


def layer_features(keys: IntArray) -> FloatArray:
    """Keys ``(..., 14)`` in the order of :class:`~netsmith.hardware.table.keys.Key` to features ``(..., F)``."""
    k = {name: keys[..., i].astype(np.float64) for i, name in enumerate(Key._fields)}
    compute = np.isin(k["kind"], list(COMPUTE_CODES))
    transposed = k["kind"] == KIND["conv_transpose"]
    depthwise = (k["groups"] > 1) & (k["groups"] == k["c_in"]) & (transposed | (k["kind"] == KIND["conv"]))
    area, pixels_in, pixels_out = k["kernel_h"] * k["kernel_w"], k["h_in"] * k["w_in"], k["h_out"] * k["w_out"]
    positions = np.where(transposed, pixels_in, pixels_out)
    macs = np.where(compute, k["c_in"] * k["c_out"] / k["groups"] * area * positions, 0.0)
    padded = np.where(depthwise, _up(k["c_in"]), _up(k["c_in"]) * _up(k["c_out"]) / k["groups"]) * area * positions
    width = k["bits"] / 8
    has_weights = compute & (k["kind"] != KIND["matmul"])
    weights = np.where(has_weights, k["c_in"] * k["c_out"] / k["groups"] * area, 0.0) * width
    bytes_in, bytes_out = k["c_in"] * pixels_in * width, k["c_out"] * pixels_out * width
    logs = [
        k["c_in"], k["c_out"], k["groups"], area, k["stride"], pixels_in, pixels_out, 1 + macs,
        1 + np.where(compute, padded, 0.0), bytes_in, bytes_out, 1 + weights,
        1 + macs / (bytes_in + bytes_out + weights),
    ]  # fmt: skip
    flags = [
        k["bits"] == 8, depthwise, k["context"] == ENTRY, k["context"] == BLOCKED, k["context"] == MIXED,
        k["activation"] != ACTIVATION["none"], *(k["kind"] == code for code in range(len(KINDS))),
    ]  # fmt: skip
    return np.stack([*(np.log2(v) for v in logs), *(f.astype(np.float64) for f in flags)], axis=-1)


def _up(channels: FloatArray) -> FloatArray:
    return np.ceil(channels / _BLOCK) * _BLOCK
