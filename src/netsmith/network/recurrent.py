"""Recurrent layers by formula: what they yield and what they multiply, without going through their steps one by one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

aten = torch.ops.aten

#: Recurrent layers over whole sequences.
SEQUENCES = (aten.lstm.input, aten.gru.input, aten.rnn_tanh.input, aten.rnn_relu.input)
#: All operators that keep their weights, since a step reads what the step before has made.
RECURRENT = (
    *SEQUENCES, aten.lstm.data, aten.gru.data, aten.rnn_tanh.data, aten.rnn_relu.data, aten.lstm_cell.default,
    aten.gru_cell.default, aten.rnn_tanh_cell.default, aten.rnn_relu_cell.default,
)  # fmt: skip


def outputs(args: tuple[Any, ...]) -> tuple[torch.Tensor, ...]:
    """What a layer of ``SEQUENCES`` yields for its arguments: the sequence, then its last states."""
    x, state, *_ = args
    states = list(state) if isinstance(state, (list, tuple)) else [state]
    both = 2 if args[7] else 1
    return (x.new_empty((*x.shape[:-1], both * states[0].shape[-1])), *(torch.empty_like(s) for s in states))


def products(args: tuple[Any, ...]) -> Iterator[tuple[torch.Tensor, int, int]]:
    """The weights of such a layer, each with the rows that it multiplies at once and how often it does.

    The input of every step is multiplied at once, ``(B * T, I) x (I, G * H)``; the state, and where it has one the
    projection behind it, step by step, ``(B, H) x (H, G * H)``.
    """
    x, _, parameters, biased, layers, _, _, bidirectional, batch_first = args
    batch, steps = (x.shape[0], x.shape[1]) if batch_first else (x.shape[1], x.shape[0])
    directions = layers * (2 if bidirectional else 1)
    each = len(parameters) // directions
    for i in range(0, len(parameters), each):
        yield parameters[i], batch * steps, 1
        yield parameters[i + 1], batch, steps
        if each > (4 if biased else 2):
            yield parameters[i + each - 1], batch, steps
