"""Trying a change on a copy with random weights: what differs, and which of many changes is at fault."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from netsmith.network.behaviour import is_mask
from netsmith.network.copying import copy_network
from netsmith.network.outputs import tensors_of

Inputs = tuple[Any, ...]


class Limit:
    """Processor time of this thread that a search may take, from now on: other work on the machine takes none of it."""

    def __init__(self, seconds: float) -> None:
        self._end = time.thread_time() + seconds
        self.reason = f"whether it can lose channels was not decided within {seconds:g} s of processor time"

    @property
    def over(self) -> bool:
        return time.thread_time() >= self._end


def randomized(model: nn.Module, example_input: torch.Tensor | Inputs, seed: int = 0) -> tuple[nn.Module, Inputs]:
    """Return a copy in eval mode with random weights, in double precision, and random inputs for it.

    Trials run on such a copy: initial weights hide mistakes (a batch norm with gamma 0, a layer scale of 1e-6), and
    double precision separates rounding from a wrong channel.
    """
    rng = torch.Generator().manual_seed(seed)
    probe = copy_network(model).cpu().eval()
    inputs = example_input if isinstance(example_input, tuple) else (example_input,)
    alone = len(inputs) == 1  # beside other inputs, zeros and ones are a mask
    inputs = tuple(_random_like(x, rng, alone) if isinstance(x, torch.Tensor) else x for x in inputs)
    with torch.no_grad():
        for name, p in probe.named_parameters():
            p.requires_grad_(True)
            if not p.is_floating_point():
                continue
            noise = torch.randn(p.shape, generator=rng).to(p.dtype)
            if p.dim() >= 2:
                p.copy_(noise * (2.0 / max(1, p[0].numel())) ** 0.5)
            else:
                p.copy_(noise * 0.1 if name.endswith("bias") else 1.0 + 0.3 * noise.clamp(-2, 2))
    double = copy_network(probe).double()  # kept only if its forward works
    wide = tuple(x.double() if isinstance(x, torch.Tensor) and x.is_floating_point() else x for x in inputs)
    try:
        with torch.no_grad():
            double(*wide)
            probe, inputs = double, wide
    except Exception:  # a forward that insists on its own dtype stays in single precision
        pass
    _calibrate(probe, inputs)
    return probe, inputs


def shell(model: nn.Module) -> nn.Module:
    """Return a copy whose modules are new and whose tensors are shared: cheap, as long as none is written to."""
    tensors = [*model.parameters(), *model.buffers()]
    return copy_network(model, {id(t): t for t in tensors})


def _random_like(x: torch.Tensor, rng: torch.Generator, alone: bool) -> torch.Tensor:
    if not x.is_floating_point() or (not alone and is_mask(x)):
        return x.cpu()
    return torch.randn(x.shape, generator=rng).to(x.dtype)


def _calibrate(probe: nn.Module, inputs: Inputs) -> None:
    """Set batch-norm statistics from the inputs, so that activations neither vanish nor saturate."""
    norms = [m for m in probe.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats]
    momenta = [m.momentum for m in norms]
    for m in norms:
        m.train()
        m.momentum = 0.9  # a little of the old variance stays, for channels that are constant over this batch
    try:
        with torch.no_grad():
            probe(*inputs)
    except Exception:  # one value a channel: statistics stay as they are
        pass
    for m, momentum in zip(norms, momenta, strict=True):
        m.momentum = momentum
        m.eval()


def same(a: Any, b: Any) -> bool:
    """True if two outputs (tensors, or nested sequences and mappings of them) agree to rounding."""
    if isinstance(a, torch.Tensor):
        if not isinstance(b, torch.Tensor) or a.shape != b.shape:
            return False
        if a.dtype == torch.bool:
            return torch.equal(a, b)
        tolerance = 1e-8 if a.dtype == torch.float64 else 1e-4
        spread = (a - a.mean()).abs().max() if a.is_floating_point() and a.numel() > 1 else a.abs().max()
        return bool((a - b).abs().max() <= tolerance * spread)  # False for NaN
    if isinstance(a, Mapping):
        return isinstance(b, Mapping) and a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return isinstance(b, (list, tuple)) and len(a) == len(b) and all(map(same, a, b))
    parts = tensors_of(a)  # of a data class, for one
    return all(map(same, parts, tensors_of(b))) if parts else bool(a == b)


def faulty(
    items: Sequence[Any], trial: Callable[[list[Any]], str | None], limit: Limit | None = None
) -> dict[int, str]:
    """Find the items that fail a joint trial: all at once, then by bisection.

    Args:
        items: what is tried.
        trial: returns ``None`` if a list of items passes together, else a reason.
        limit: when it is over, what is not decided counts as faulty. All items together are tried in any case.

    Returns:
        Index of each faulty item -> its reason. The others pass together.
    """
    bad: dict[int, str] = {}
    if not items or trial(list(items)) is None:
        return bad

    def undecided(part: list[int]) -> bool:
        if limit is None or not limit.over:
            return False
        bad.update(dict.fromkeys(part, limit.reason))
        return True

    def search(part: list[int]) -> None:
        if undecided(part):
            return
        reason = trial([items[i] for i in part])
        if reason is None:
            return
        if len(part) == 1:
            bad[part[0]] = reason
            return
        split(part)

    def split(part: list[int]) -> None:
        search(part[: len(part) // 2])
        search(part[len(part) // 2 :])

    everything = list(range(len(items)))
    if len(items) == 1:
        search(everything)
    else:
        split(everything)
    good = [i for i in everything if i not in bad]
    if good and trial([items[i] for i in good]) is not None:  # fine apart, not together: add one by one
        kept: list[int] = []
        for i in good:
            if undecided([i]):
                continue
            reason = trial([items[j] for j in [*kept, i]])
            if reason is None:
                kept.append(i)
            else:
                bad[i] = reason
    return bad


def where(error: Exception) -> str:
    """The line of the network's own code that failed, as `` in FILE, line N: `CODE` ``; empty if it is not known."""
    inside = str(Path(torch.__file__).parent), str(Path(__file__).parent)
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith((*inside, "<"))]
    if not frames or not frames[-1].line:
        return ""
    frame = frames[-1]
    return f" in {Path(frame.filename).name}, line {frame.lineno}: `{frame.line}`"
