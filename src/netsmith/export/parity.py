"""Does the ONNX model compute what the network computes?"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from netsmith.data.batch import Batch, Some, some
from netsmith.errors import InputError
from netsmith.network.outputs import tensors_of
from netsmith.network.signature import feed_of

FloatArray = NDArray[np.float32]
#: largest error of an export. Float networks agree to 1e-3 and better; fake-quantized and integer networks differ where
#: a value lies on the edge of two levels, so the second is what rounding alone can explain.
EXACT, ROUNDED = 1e-2, 0.1
MOST = 64  #: examples at a time


@dataclass(frozen=True)
class Parity:
    """Agreement of two sets of outputs.

    Attributes:
        relative_error: root-mean-square difference over root-mean-square of the reference's deviation from its mean.
        agreement: share of samples whose first output is largest in the same place; 1 where it is no row of scores.
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
    reference: nn.Module, model: str | Path | bytes, examples: torch.Tensor | Some, *, tolerance: float,
    batch: int | None = None, graph: nn.Module | None = None,
) -> Parity:  # fmt: skip
    """Compare a torch network with an ONNX model on examples, by every output of floating point.

    Outputs of whole numbers alone are compared as they are.

    Args:
        tolerance: largest ``relative_error``, :data:`EXACT` or :data:`ROUNDED`.
        batch: fixed batch size of a network that has one.
        graph: the trace that knows the inputs of the model by name, where ``reference`` is none and there are several.

    Raises:
        InputError: ONNX Runtime does not run the model; the operator is named where it says so.
    """
    from netsmith.hardware.measured.timing import make_session

    session = make_session(model)
    batches = [b for b in some(examples).batches(batch or MOST) if batch is None or b.size == batch]

    def run(state: dict[str, torch.Tensor]) -> list[FloatArray]:
        with torch.inference_mode():
            parts = [_floats(torch.func.functional_call(reference, state, b.args, dict(b.kwargs))) for b in batches]
        return _together(parts)

    want = run({})
    try:
        got = _answers(session, batches, graph or reference)
    except Exception as failure:
        found = re.search(r"while running (\w+) node", str(failure))
        operator = f"operator {found[1]}" if found else "an operator"
        raise InputError(
            f"ONNX Runtime does not run the ONNX export of the network: {operator} has no form there for the way in "
            "which it is used here; compute it in another way"
        ) from failure

    def distance(other: list[FloatArray]) -> float:
        """Of the output that differs most."""
        each = zip(other, want, strict=True)
        return max(float(np.sqrt(np.mean((a - b) ** 2)) / max(float(b.std()), 1e-9)) for a, b in each)

    error = distance(got)
    agreement = float((got[0].argmax(1) == want[0].argmax(1)).mean()) if got[0].ndim == 2 else 1.0
    jitter = distance(run(_nudged(reference))) if np.isfinite(error) and error > tolerance else 0.0
    return Parity(error, agreement, bool(np.isfinite(error) and error <= max(tolerance, 2 * jitter)), jitter)


def _floats(outputs: object) -> list[FloatArray]:
    return _compared([np.asarray(t.float() if t.is_floating_point() else t) for t in tensors_of(outputs)])


def _compared(outputs: Sequence[NDArray[Any]]) -> list[FloatArray]:
    """Those of floating point, as it does not say how far off a class is by its number; all where there are no such."""
    floats = [value for value in outputs if value.dtype.kind == "f"]
    return floats or [value.astype(np.float32) for value in outputs]


def _answers(session: Any, batches: Sequence[Batch], module: nn.Module) -> list[FloatArray]:
    """The outputs of a session that are compared, of all batches together."""
    names = [item.name for item in session.get_inputs()]
    return _together([_compared(session.run(None, feed_of(b, names, module))) for b in batches])


def _together(parts: Sequence[list[FloatArray]]) -> list[FloatArray]:
    """Each output for all batches; as one row of numbers where examples of several shapes have outputs of several."""

    def of(column: tuple[FloatArray, ...]) -> FloatArray:
        alike = len({a.shape[1:] for a in column}) == 1
        return np.concatenate(column if alike else [a.reshape(-1) for a in column])

    return [of(column) for column in zip(*parts, strict=True)]


def _nudged(model: nn.Module) -> dict[str, torch.Tensor]:
    """The weights of a network, each moved by about a millionth of itself, as another order of summation would."""
    generator = torch.Generator().manual_seed(0)
    return {
        name: value.detach() * (1 + 1e-6 * torch.randn(value.shape, generator=generator))
        for name, value in model.state_dict().items()
        if value.is_floating_point()
    }
