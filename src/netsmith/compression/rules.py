"""What a rule of an operator is, by its ATen name, and what is done with operators that have none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import torch

from netsmith.compression.labels import CONSTANT, FIXED, IntArray, Labels

Dims = list[IntArray]  #: labels of each dimension of one tensor


class Run(Protocol):
    """What a rule may ask of the run that is being followed."""

    labels: Labels
    weights: set[int]  #: ids of the weights of convolutions and linear layers

    @property
    def owner(self) -> str: ...  # path of the module whose forward is running
    def of(self, x: torch.Tensor) -> Dims: ...
    def made(self, n: int) -> IntArray: ...  # labels of channels that the running module makes from nothing
    def is_made(self, labels: IntArray) -> bool: ...  # whether all of these are such
    def side(self, layer: type | tuple[type, ...], labels: IntArray) -> bool: ...
    def convolution(self, weight: torch.Tensor, groups: int, transposed: bool) -> tuple[IntArray, IntArray]: ...


Rule = Callable[[Run, Sequence[Any], torch.Tensor], Dims]
RULES: dict[str, Rule] = {}
_COMPOSITE = """
linear batch_norm layer_norm group_norm instance_norm rms_norm prelu scaled_dot_product_attention pixel_shuffle
pixel_unshuffle channel_shuffle lstm gru rnn_tanh rnn_relu lstm_cell gru_cell rnn_tanh_cell rnn_relu_cell softmax
log_softmax embedding chunk
"""
FOLLOWED = frozenset(_COMPOSITE.split())  #: composite operators that have a rule; the others are taken apart


def rule(*names: str) -> Callable[[Rule], Rule]:
    def add(f: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, f))
        return f

    return add


def is_tensor(x: Any) -> bool:
    return isinstance(x, torch.Tensor)


def fixed(run: Run, labels: IntArray, reason: str) -> IntArray:
    run.labels.pin(labels, reason)
    return np.full(len(labels), FIXED)


def elementwise(run: Run, args: Sequence[Any], out: torch.Tensor) -> Dims:
    """Dimensions of one size are tied, those of size one are spread."""
    tensors = [run.of(a) for a in args if is_tensor(a)]
    dims: Dims = []
    for d in range(-out.dim(), 0):
        some = [t[d] for t in tensors if -d <= len(t)]
        wide = [s for s in some if len(s) == out.shape[d]]
        dims.append(run.labels.join(wide or [np.full(out.shape[d], FIXED)]))
    return dims


def unknown(run: Run, args: Sequence[Any], out: torch.Tensor, name: str = "") -> Dims:
    """Nothing is known of an operator: what goes in stays."""
    for a in args:
        for x in a if isinstance(a, (list, tuple)) else (a,):
            if is_tensor(x):
                for labels in run.of(x):
                    run.labels.pin(labels, f"its channels go through the operator {name!r}, which is not followed")
    return [np.full(s, FIXED) for s in out.shape]


def constant(out: torch.Tensor) -> Dims:
    """A tensor that comes from nowhere."""
    return [np.full(s, CONSTANT if s > 1 else FIXED) for s in out.shape]
