"""Train and eval mode for any module, and whether bfloat16 pays on this CPU."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def set_mode(model: nn.Module, training: bool) -> None:
    """``model.train(training)``; networks from torch.export are frozen in one mode and stay in it."""
    with contextlib.suppress(NotImplementedError):
        model.train(training)


@contextlib.contextmanager
def frozen_statistics(model: nn.Module) -> Iterator[None]:
    """Train mode, in which batch norm uses the statistics of its batch, without running statistics being changed."""
    was_training = model.training
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    momenta, counters = [m.momentum for m in norms], [m.num_batches_tracked for m in norms]
    counts = [None if c is None else c.clone() for c in counters]
    set_mode(model, True)
    try:
        for norm in norms:
            norm.momentum = 0.0
        yield
    finally:
        for norm, momentum, counter, count in zip(norms, momenta, counters, counts, strict=True):
            norm.momentum = momentum
            if counter is not None and count is not None:
                counter.copy_(count)
        set_mode(model, was_training)


def cpu_has_bf16() -> bool:
    """Whether the CPU multiplies bfloat16 natively (AVX512-BF16 or AMX); elsewhere it is emulated and slow."""
    try:
        flags = Path("/proc/cpuinfo").read_text().split()
    except OSError:
        return False
    return bool({"avx512_bf16", "amx_bf16"} & set(flags))


def choose_bf16(step: Callable[[bool], None], bf16: str | bool) -> bool:
    """Decide on bfloat16: as asked, or for ``"auto"`` wherever the CPU multiplies it natively and the network can.

    Nothing is timed: a choice that depends on how busy the machine is would give another network on another day.

    Args:
        step: does the work of a training step without changing anything; its argument switches bfloat16 on.
        bf16: True, False or ``"auto"``.
    """
    if isinstance(bf16, bool):
        return bf16
    if not cpu_has_bf16():
        return False
    try:
        step(True)
    except RuntimeError:
        return False  # an operator of this network has no bfloat16 kernel
    return True
