"""Does the ONNX model compute what the network computes?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn


@dataclass(frozen=True)
class Parity:
    """Agreement of two sets of logits.

    Attributes:
        relative_error: root-mean-square difference over root-mean-square of the reference's deviation from its mean.
        agreement: share of samples with the same class.
        ok: within tolerance.
    """

    relative_error: float
    agreement: float
    ok: bool


def check_parity(
    reference: nn.Module, model: str | Path | bytes, images: torch.Tensor, *, tolerance: float, batch: int | None = None
) -> Parity:
    """Compare a torch network with an ONNX model on normalised images.

    Args:
        tolerance: largest ``relative_error``. Float networks agree to 1e-3 and better; fake-quantized and integer
            networks differ where a value lies on the edge of two levels, so 0.1 is what rounding alone can explain.
        batch: fixed batch size of a network that has one.
    """
    from netsmith.hardware.measured.timing import make_session

    session = make_session(model)
    name = session.get_inputs()[0].name
    size = batch or len(images)
    images = images[: len(images) // size * size]
    with torch.inference_mode():
        want = torch.cat([reference(x) for x in torch.split(images, size)]).float().numpy()
    got = np.concatenate([session.run(None, {name: x.contiguous().numpy()})[0] for x in torch.split(images, size)])
    error = float(np.sqrt(np.mean((got - want) ** 2)) / max(float(want.std()), 1e-9))
    agreement = float((got.argmax(1) == want.argmax(1)).mean())
    return Parity(error, agreement, bool(np.isfinite(error) and error <= tolerance))
