"""Batch sizes that a network runs on: one that is written into its forward is named, with the line where it fails."""

from __future__ import annotations

import sysconfig
import traceback
from pathlib import Path

import torch
from torch import nn

from netsmith.data.batch import Batch
from netsmith.network.copying import copy_network
from netsmith.network.outputs import tensors_of

_TRIED = (1, 3, 2, 4, 8, 16)


def written_batch(model: nn.Module, inputs: torch.Tensor | Batch) -> str | None:
    """The batch size that is written into a network, in one sentence; None if it takes any, or runs on none tried.

    Args:
        inputs: one sample or more that it takes; batches of other sizes are made of them.
    """
    inputs, probe = Batch.of(inputs), copy_network(model).eval()
    runs, place = [], ""
    for size in _TRIED:
        x = inputs.take(torch.arange(size) % inputs.size)
        try:
            with torch.no_grad(), torch.random.fork_rng(devices=[]):
                outputs = tensors_of(x(probe))
        except Exception as error:  # whatever a user's forward raises
            place = place or _place(error)
            continue
        if outputs and outputs[0].dim() and len(outputs[0]) == size:
            runs.append(size)
        if len(runs) > 1 and 1 in runs:  # the usual case, after four images
            return None
    if not runs or len(runs) > len(_TRIED) / 2:
        return None
    sizes = " and ".join(map(str, sorted(runs)))
    return (
        f"the network runs on a batch of {sizes} alone: that size is written into its forward{place}; "
        "take it from the input there, as x.shape[0]"
    )


def _place(error: BaseException) -> str:
    """The line of the user's code that failed, in brackets; nothing where all of it is a library's."""
    libraries = (sysconfig.get_path("purelib"), sysconfig.get_path("stdlib"), str(Path(__file__).parents[1]))
    own = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith((*libraries, "<"))]
    if not own:
        return ""
    last = own[-1]
    return f" ({Path(last.filename).name}, line {last.lineno}: {(last.line or '').strip()[:80]})"
