"""Does the ONNX model compute what the network computes?"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from netsmith.errors import InputError

FloatArray = NDArray[np.float32]
#: largest error of an export. Float networks agree to 1e-3 and better; fake-quantized and integer networks differ where
#: a value lies on the edge of two levels, so the second is what rounding alone can explain.
EXACT, ROUNDED = 1e-2, 0.1


@dataclass(frozen=True)
class Parity:
    """Agreement of two sets of logits.

    Attributes:
        relative_error: root-mean-square difference over root-mean-square of the reference's deviation from its mean.
        agreement: share of samples with the same class.
        ok: within tolerance, or within twice ``jitter``.
        jitter: how far the reference itself moves when its weights do by a millionth, where that was needed to judge:
            in few bits a value on the edge of two levels moves by a whole step, and the next layer passes it on.
    """

    relative_error: float
    agreement: float
    ok: bool
    jitter: float = 0.0


def need_parity(parity: Parity) -> None:
    """Go on only with an export that computes what the network computes.

    Raises:
        InputError: it does not.
    """
    if not parity.ok:
        raise InputError(
            f"the ONNX export of the network differs from it (relative error {parity.relative_error:.3g}); "
            "an operator is exported wrongly by this torch version"
        )


def check_parity(
    reference: nn.Module, model: str | Path | bytes, images: torch.Tensor, *, tolerance: float, batch: int | None = None
) -> Parity:
    """Compare a torch network with an ONNX model on normalised images.

    Args:
        tolerance: largest ``relative_error``, :data:`EXACT` or :data:`ROUNDED`.
        batch: fixed batch size of a network that has one.

    Raises:
        InputError: ONNX Runtime does not run the model; the operator is named where it says so.
    """
    from netsmith.hardware.measured.timing import make_session

    session = make_session(model)
    name = session.get_inputs()[0].name
    size = batch or len(images)
    images = images[: len(images) // size * size]

    def run(state: dict[str, torch.Tensor]) -> FloatArray:
        with torch.inference_mode():
            parts = [torch.func.functional_call(reference, state, (x,)) for x in torch.split(images, size)]
            return np.asarray(torch.cat(parts).float().numpy())

    want = run({})
    try:
        got = np.concatenate([session.run(None, {name: x.contiguous().numpy()})[0] for x in torch.split(images, size)])
    except Exception as failure:
        found = re.search(r"while running (\w+) node", str(failure))
        operator = f"operator {found[1]}" if found else "an operator"
        raise InputError(
            f"ONNX Runtime does not run the ONNX export of the network: {operator} has no form there for the way in "
            "which it is used here; compute it in another way"
        ) from failure

    def distance(other: FloatArray) -> float:
        return float(np.sqrt(np.mean((other - want) ** 2)) / max(float(want.std()), 1e-9))

    error = distance(got)
    agreement = float((got.argmax(1) == want.argmax(1)).mean())
    jitter = distance(run(_nudged(reference))) if np.isfinite(error) and error > tolerance else 0.0
    return Parity(error, agreement, bool(np.isfinite(error) and error <= max(tolerance, 2 * jitter)), jitter)


def _nudged(model: nn.Module) -> dict[str, torch.Tensor]:
    """The weights of a network, each moved by about a millionth of itself, as another order of summation would."""
    generator = torch.Generator().manual_seed(0)
    return {
        name: value.detach() * (1 + 1e-6 * torch.randn(value.shape, generator=generator))
        for name, value in model.state_dict().items()
        if value.is_floating_point()
    }
