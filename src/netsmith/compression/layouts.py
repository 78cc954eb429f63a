"""What operators that move values do to labels: views, pieces, padding, other orders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from netsmith.compression.labels import FIXED, Cut, IntArray
from netsmith.compression.rules import Dims, Run, fixed, is_tensor, rule


@rule("view", "_unsafe_view", "reshape", "_reshape_alias", "_reshape_copy", "view_copy")
def _view(run: Run, args: Sequence[Any], out: torch.Tensor) -> Dims:
    if 0 in out.shape:
        return [np.full(s, FIXED) for s in out.shape]
    return run.labels.reshape(run.of(args[0]), list(out.shape), run.owner)


@rule("permute")
def _permute(run: Run, args: Sequence[Any], out: torch.Tensor) -> Dims:
    dims = run.of(args[0])
    return [dims[d] for d in args[1]]


@rule("transpose", "t", "numpy_T")
def _transpose(run: Run, args: Sequence[Any], out: torch.Tensor) -> Dims:
    dims = list(run.of(args[0]))
    if len(dims) < 2:
        return dims
    a, b = (args[1], args[2]) if len(args) > 2 else (0, 1)
    dims[a], dims[b] = dims[b], dims[a]
    return dims


@rule("unsqueeze")
def _unsqueeze(run: Run, args: Sequence[Any], out: torch.Tensor) -> Dims:
    dims = list(run.of(args[0]))
    dims.insert(args[1] % out.dim(), np.full(1, FIXED))
    return dims


@rule("squeeze")
def _squeeze(run: Run, args: Sequence[Any], out: torch.Tensor) -> Dims:
    dims = run.of(args[0])
    which = range(len(dims)) if len(args) < 2 else args[1] if isinstance(args[1], (list, tuple)) else [args[1]]
    gone = {d % len(dims) for d in which} if dims else set()
    return [d for i, d in enumerate(dims) if not (i in gone and len(d) == 1)]


@rule("expand", "broadcast_to")
def _expand(run: Run, args: Sequence[Any], out: torch.Tensor) -> Dims:
    dims = run.of(args[0])
    dims = [np.full(1, FIXED)] * (out.dim() - len(dims)) + dims
    # copies of one value: as many as the forward asks for
    return [d if len(d) == s else run.labels.fresh(s) for d, s in zip(dims, out.shape, strict=True)]


@rule("repeat", "tile")
def _repeat(run: Run, args: Sequence[Any], out: torch.Tensor) -> Dims:
    dims = run.of(args[0])
    dims = [np.full(1, FIXED)] * (out.dim() - len(dims)) + dims
    return [
        run.labels.fresh(s) if len(d) == 1 < s else np.tile(d, s // max(len(d), 1))
        for d, s in zip(dims, out.shape, strict=True)
    ]


@rule("slice")
def _slice(run: Run, args: Sequence[Any], out: torch.Tensor) -> Dims:
    dim, start, end, step = list(args[1:]) + [0, None, None, 1][len(args) - 1 :]
    dims = list(run.of(args[0]))
    dim %= len(dims)
    whole = dims[dim]
    index = np.arange(len(whole))[start:end:step]
    if len(index) == len(whole):
        return dims
    if not (whole >= 0).any() or run.is_made(np.delete(whole, index)) or run.is_made(whole[index]):
        dims[dim] = whole[index]
    elif step != 1 or not len(index):
        fixed(run, whole, "the forward takes every so manyth of its channels")
        dims[dim] = np.full(len(index), FIXED)
    else:
        dims[dim] = _piece(run, whole, int(index[0]), len(index))
    return dims


def _piece(run: Run, whole: IntArray, start: int, size: int) -> IntArray:
    out = run.labels.fresh(size)
    run.labels.open.append(Cut(whole, out, start))
    return out


def pieces(run: Run, x: torch.Tensor, outs: Sequence[torch.Tensor], dim: int) -> list[Dims]:
    """A tensor that falls into several along a dimension."""
    dims, start, result = run.of(x), 0, []
    dim %= len(dims)
    for out in outs:
        size = int(out.shape[dim])
        own = list(dims)
        if len(outs) > 1:
            own[dim] = (
                _piece(run, dims[dim], start, size) if (dims[dim] >= 0).any() else dims[dim][start : start + size]
            )
        result.append(own)
        start += size
    return result


@rule("select")
def _select(run: Run, args: Sequence[Any], out: torch.Tensor) -> Dims:
    dims = list(run.of(args[0]))
    fixed(run, dims.pop(args[1] % len(dims)), "the forward takes some of its channels by their number")
    return dims


@rule("cat", "concat", "concatenate")
def _cat(run: Run, args: Sequence[Any], out: torch.Tensor) -> Dims:
    parts = [run.of(x) for x in args[0] if x.dim() == out.dim()]
    at = (args[1] if len(args) > 1 else 0) % out.dim()
    return [
        np.concatenate([p[d] for p in parts]) if d == at else run.labels.join([p[d] for p in parts])
        for d in range(out.dim())
    ]


@rule("stack")
def _stack(run: Run, args: Sequence[Any], out: torch.Tensor) -> Dims:
    parts = [run.of(x) for x in args[0]]
    dims = [run.labels.join([p[d] for p in parts]) for d in range(out.dim() - 1)]
    dims.insert((args[1] if len(args) > 1 else 0) % out.dim(), np.full(len(parts), FIXED))
    return dims


@rule("constant_pad_nd")
def _pad(run: Run, args: Sequence[Any], out: torch.Tensor) -> Dims:
    dims = list(run.of(args[0]))
    for k in range(len(args[1]) // 2):
        low, high = args[1][2 * k : 2 * k + 2]
        d = dims[-1 - k]
        if (d >= 0).any() and min(low, high) < 0:
            d = fixed(run, d, "the forward cuts off some of its channels")
        if low or high:
            d = d[max(-low, 0) : len(d) - max(-high, 0)]
            channels = (d >= 0).any()
            ends = [run.made(n) if channels else np.full(n, FIXED) for n in (max(low, 0), max(high, 0))]
            dims[-1 - k] = np.concatenate([ends[0], d, ends[1]])
    return dims


@rule("pixel_shuffle")
def _pixel_shuffle(run: Run, args: Sequence[Any], out: torch.Tensor) -> Dims:
    dims = run.of(args[0])
    c = int(out.shape[-3])
    few = run.labels.split(dims[-3], [c, args[1] ** 2])[0]
    return [*dims[:-3], few, *(np.full(s, FIXED) for s in out.shape[-2:])]


@rule("pixel_unshuffle")
def _pixel_unshuffle(run: Run, args: Sequence[Any], out: torch.Tensor) -> Dims:
    dims = run.of(args[0])
    return [*dims[:-3], np.repeat(dims[-3], args[1] ** 2), *(np.full(s, FIXED) for s in out.shape[-2:])]


@rule("channel_shuffle", "native_channel_shuffle")
def _channel_shuffle(run: Run, args: Sequence[Any], out: torch.Tensor) -> Dims:
    dims = list(run.of(args[0]))
    a, b = run.labels.split(dims[1], [args[1], len(dims[1]) // args[1]])
    dims[1] = run.labels.product([b, a])
    return dims


@rule("im2col")
def _im2col(run: Run, args: Sequence[Any], out: torch.Tensor) -> Dims:
    dims = run.of(args[0])
    return [*dims[:-3], np.repeat(dims[-3], int(np.prod(args[1]))), np.full(out.shape[-1], FIXED)]


@rule("glu")
def _glu(run: Run, args: Sequence[Any], out: torch.Tensor) -> Dims:
    dims = list(run.of(args[0]))
    d = args[1] if len(args) > 1 else -1
    half = len(dims[d]) // 2
    run.labels.tie(dims[d][:half], dims[d][half:])
    dims[d] = dims[d][:half]
    return dims


@rule("flip", "roll")
def _reorder(run: Run, args: Sequence[Any], out: torch.Tensor) -> Dims:
    dims = list(run.of(args[0]))
    which = args[-1] if isinstance(args[-1], (list, tuple)) else [args[-1]]
    for d in which or range(len(dims)):
        dims[d] = fixed(run, dims[d], "the forward puts its channels into another order")
    return dims


@rule("index")
def _index(run: Run, args: Sequence[Any], out: torch.Tensor) -> Dims:
    dims, given = run.of(args[0]), list(args[1])
    at = [i for i, x in enumerate(given) if x is not None]
    for i in at:
        fixed(run, dims[i], "the forward takes some of its channels by their number")
    if any(given[i].dtype == torch.bool for i in at):
        return [np.full(s, FIXED) for s in out.shape]
    n = out.dim() - (len(dims) - len(at))
    first = at[0] if at == list(range(at[0], at[0] + len(at))) else 0
    rest = [d for i, d in enumerate(dims) if i not in at]
    return [*rest[:first], *(np.full(s, FIXED) for s in out.shape[first : first + n]), *rest[first:]]


@rule("index_select", "repeat_interleave")
def _index_select(run: Run, args: Sequence[Any], out: torch.Tensor) -> Dims:
    dims = list(run.of(args[0]))
    numbers = [a for a in args[1:] if isinstance(a, int)]
    d = (args[1] if is_tensor(args[-1]) else numbers[-1]) % len(dims)
    fixed(run, dims[d], "the forward takes some of its channels by their number")
    dims[d] = np.full(out.shape[d], FIXED)
    return dims
