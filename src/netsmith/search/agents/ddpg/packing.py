"""Arrays as JSON values that come back bit for bit."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]


def pack(array: Float32) -> dict[str, Any]:
    """A single-precision array as its shape and its bytes in base64."""
    return {"shape": list(array.shape), "data": base64.b64encode(array.astype("<f4").tobytes()).decode("ascii")}


def unpack(record: Mapping[str, Any]) -> Float32:
    """The array that :func:`pack` wrote."""
    flat = np.frombuffer(base64.b64decode(record["data"]), dtype="<f4")
    return flat.reshape(record["shape"]).astype(np.float32)
