"""What operators that compute do to labels: products, norms, reductions, windows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from netsmith.compression.labels import FIXED, Alike, IntArray, Labels, Product
from netsmith.compression.rules import Dims, Run, fixed, is_tensor, rule

# --- products -------------------------------------------------------------------------------------------------------


def _contract(run: Run, a: IntArray, b: IntArray, x: torch.Tensor, y: torch.Tensor) -> None:
    run.labels.tie(a, b)
    if id(x) not in run.weights and id(y) not in run.weights:  # no layer whose inputs could be masked
        run.labels.meet += [a[a >= 0], b[b >= 0]]


@rule("linear")
def _linear(run: Run, args: Sequence[Any], out: torch.Tensor) -> Dims:
    x, w = run.of(args[0]), run.of(args[1])
    _contract(run, x[-1], w[-1], args[0], args[1])
    outs = w[:-1]
    if len(args) > 2 and args[2] is not None and outs:
        run.labels.tie(outs[0], run.of(args[2])[0])
    return [*x[:-1], *outs]


@rule("mm", "bmm", "mv", "dot", "vdot")
def _product(run: Run, args: Sequence[Any], out: torch.Tensor) -> Dims:
    a, b = run.of(args[0]), run.of(args[1])
    k = max(len(b) - 2, 0)
    _contract(run, a[-1], b[k], args[0], args[1])
    batch = [run.labels.join([p, q]) for p, q in zip(a[:-2], b[:-2], strict=True)] if len(a) > 2 else []
    return [*batch, *a[max(len(a) - 2, 0) : -1], *b[k + 1 :]]


@rule("addmm", "baddbmm", "addbmm", "addmv")
def _added_product(run: Run, args: Sequence[Any], out: torch.Tensor) -> Dims:
    dims = _product(run, args[1:3], out)[-out.dim() :]
    bias = run.of(args[0])
    for d in range(1, min(len(bias), len(dims)) + 1):
        if len(bias[-d]) == len(dims[-d]):
            dims[-d] = run.labels.join([dims[-d], bias[-d]])
    return dims


@rule("convolution", "_convolution", "convolution_overrideable")
def _convolution(run: Run, args: Sequence[Any], out: torch.Tensor) -> Dims:
    x = run.of(args[0])
    transposed, groups = bool(args[6]), int(args[8])
    c_in, c_out = run.convolution(args[1], groups, transposed)
    at = out.dim() - (args[1].dim() - 1)
    _contract(run, x[at], c_in, args[0], args[1])
    if args[2] is not None:
        run.labels.tie(c_out, run.of(args[2])[0])
    for d in (*x[at + 1 :], *run.of(args[1])[2:]):
        fixed(run, d, "a convolution slides along its channels")
    return [*x[:at], c_out, *(np.full(s, FIXED) for s in out.shape[at + 1 :])]


@rule("scaled_dot_product_attention")
def _attention(run: Run, args: Sequence[Any], out: torch.Tensor) -> Dims:
    q, k, v = (run.of(a) for a in args[:3])
    run.labels.tie(q[-1], k[-1])
    run.labels.tie(k[-2], v[-2])
    fixed(run, k[-2], "a softmax is taken over its channels")
    run.labels.meet += [q[-1], k[-1]]
    batch = [
        run.labels.join([d for d in some if len(d) == out.shape[i]])
        for i, some in enumerate(zip(q[:-2], k[:-2], v[:-2], strict=True))
    ]
    if len(args) > 3 and args[3] is not None:
        mask = run.of(args[3])
        for d in range(3, min(len(mask), out.dim()) + 1):
            if len(mask[-d]) == out.shape[-d]:
                run.labels.tie(mask[-d], batch[-d + 2])
    return [*batch, q[-2], v[-1]]


@rule("embedding")
def _embedding(run: Run, args: Sequence[Any], out: torch.Tensor) -> Dims:
    return [*run.of(args[1]), run.of(args[0])[1]]


_RECURRENT = "a recurrent layer reads its channels, and the sizes of recurrent layers are left as they are"


@rule("lstm", "gru", "rnn_tanh", "rnn_relu", "lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell",
      "mkldnn_rnn_layer")  # fmt: skip
def _recurrent(run: Run, args: Sequence[Any], out: torch.Tensor) -> Dims:
    for a in args:
        for x in a if isinstance(a, (list, tuple)) else (a,):
            if is_tensor(x):
                for d in run.of(x):
                    fixed(run, d, _RECURRENT)
    return [np.full(s, FIXED) for s in out.shape]


# --- norms and reductions -------------------------------------------------------------------------------------------


def _per_channel(run: Run, dims: Dims, tensors: Sequence[Any], layer: type | tuple[type, ...], at: int) -> Dims:
    for t in tensors:
        if t is not None:
            run.labels.tie(dims[at], run.of(t)[0])
    run.side(layer, dims[at])
    return dims


@rule("batch_norm", "instance_norm", "native_batch_norm", "_native_batch_norm_legit_no_training")
def _batch_norm(run: Run, args: Sequence[Any], out: torch.Tensor) -> Dims:
    dims = list(run.of(args[0]))
    return _per_channel(run, dims, args[1:5], torch.nn.modules.batchnorm._NormBase, 1)


@rule("layer_norm", "rms_norm", "native_layer_norm", "_fused_rms_norm")
def _layer_norm(run: Run, args: Sequence[Any], out: torch.Tensor) -> Dims:
    dims = list(run.of(args[0]))
    shape = args[1]
    if len(shape) > 1:
        for d in dims[-len(shape) :]:
            fixed(run, d, "they are normed together with positions, over a fixed number of values")
        return [*dims[: -len(shape)], *(np.full(s, FIXED) for s in shape)]
    layers = (torch.nn.LayerNorm, torch.nn.RMSNorm)
    if not run.side(layers, dims[-1]):
        run.labels.pin(dims[-1], "a layer norm that is no module of its own is taken over its channels")
    return _per_channel(run, dims, [a for a in args[2:4] if is_tensor(a)], layers, -1)


@rule("group_norm", "native_group_norm")
def _group_norm(run: Run, args: Sequence[Any], out: torch.Tensor) -> Dims:
    dims = list(run.of(args[0]))
    native = len(args) > 6
    groups = int(args[6] if native else args[1])
    if groups > 1:  # whole groups go, so that the statistics of the others stay what they were
        number = run.labels.fresh(groups)
        per = np.full(len(dims[1]) // groups, FIXED)
        run.labels.tie(dims[1], run.labels.product([number, per]))
    return _per_channel(run, dims, args[1:3] if native else args[2:4], torch.nn.GroupNorm, 1)


@rule("prelu", "_prelu_kernel")
def _prelu(run: Run, args: Sequence[Any], out: torch.Tensor) -> Dims:
    dims = list(run.of(args[0]))
    weight = run.of(args[1])
    if weight and len(weight[0]) > 1:
        run.labels.tie(dims[1 if len(dims) > 1 else 0], weight[0])
    return dims


@rule(
    "softmax", "_softmax", "log_softmax", "_log_softmax", "_safe_softmax", "cumsum", "cumprod", "sort", "logcumsumexp"
)
def _over(run: Run, args: Sequence[Any], out: torch.Tensor) -> Dims:
    dims = list(run.of(args[0]))
    d = next((a for a in args[1:] if isinstance(a, int) and not isinstance(a, bool)), -1)
    run.labels.pin(dims[d], "a softmax, a running sum or a sorting is taken over its channels")
    return dims


@rule("sum", "linalg_vector_norm", "norm", "amax", "amin", "max", "min", "logsumexp", "any", "all")
def _reduce(run: Run, args: Sequence[Any], out: torch.Tensor) -> Dims:
    dims = list(run.of(args[0]))
    which = _reduced(args, out, len(dims))
    for d in which:
        run.labels.meet.append(dims[d][dims[d] >= 0])
    keep = out.dim() == len(dims)
    return [np.full(out.shape[i] if keep else 1, FIXED) if i in which else d for i, d in enumerate(dims)
            if keep or i not in which]  # fmt: skip


def _reduced(args: Sequence[Any], out: torch.Tensor, n: int) -> set[int]:
    lists = [a for a in args[1:] if isinstance(a, (list, tuple))]
    if lists:
        return {d % n for d in lists[0]} or set(range(n))
    numbers = [a for a in args[1:] if isinstance(a, int) and not isinstance(a, bool)]
    return {numbers[-1] % n} if numbers and out.dim() else set(range(n))


@rule("mean", "var", "std", "var_mean", "std_mean", "median", "prod", "argmax", "argmin", "topk", "kthvalue", "mode")
def _mean(run: Run, args: Sequence[Any], out: torch.Tensor) -> Dims:
    dims = run.of(args[0])
    for d in _reduced(args, out, len(dims)):
        run.labels.pin(dims[d], "a mean (or another figure that depends on their number) is taken over its channels")
    return _reduce(run, args, out)


@rule("max_pool1d", "max_pool2d", "max_pool2d_with_indices", "max_pool3d_with_indices", "avg_pool1d", "avg_pool2d",
      "avg_pool3d", "_adaptive_avg_pool2d", "_adaptive_avg_pool3d", "adaptive_avg_pool1d", "adaptive_max_pool2d",
      "adaptive_max_pool3d", "upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d", "upsample_bilinear2d",
      "upsample_bicubic2d", "_upsample_bilinear2d_aa", "_upsample_bicubic2d_aa", "upsample_linear1d",
      "upsample_trilinear3d", "_upsample_nearest_exact2d", "reflection_pad1d", "reflection_pad2d", "replication_pad2d",
      "replication_pad1d", "replication_pad3d", "reflection_pad3d", "grid_sampler_2d")  # fmt: skip
def _maps(run: Run, args: Sequence[Any], out: torch.Tensor) -> Dims:
    dims = list(run.of(args[0]))
    for d in range(min(2, len(dims) - 1), len(dims)):
        fixed(run, dims[d], "a window slides along its channels")
        dims[d] = np.full(out.shape[d], FIXED)
    return dims


@rule("new_zeros", "new_ones", "new_empty", "new_full")
def _new(run: Run, args: Sequence[Any], out: torch.Tensor) -> Dims:
    if args[0].shape != out.shape:
        return _filled(run, (), out)
    dims = list(run.of(args[0]))
    for i, others in enumerate(dims):
        if (others >= 0).any() and len(others) > 1:
            dims[i] = run.made(len(others))
            run.labels.open.append(Alike(dims[i], others))
    return dims


@rule("zeros_like", "ones_like", "empty_like", "full_like", "zeros", "ones", "empty", "full")
def _filled(run: Run, args: Sequence[Any], out: torch.Tensor) -> Dims:
    x = args[0] if args and is_tensor(args[0]) else None
    if x is not None and x.shape == out.shape:
        return list(run.of(x))
    return [run.made(s) if s > 1 else np.full(1, FIXED) for s in out.shape]


@rule("rand_like", "randn_like", "bernoulli")
def _alike(run: Run, args: Sequence[Any], out: torch.Tensor) -> Dims:
    return list(run.of(args[0]))


def grouped(labels: Labels, weight: Dims, groups: int, transposed: bool) -> tuple[IntArray, IntArray]:
    """Labels of the input and output channels of a convolution with ``weight``."""
    if groups == 1:
        return (weight[0], weight[1]) if transposed else (weight[1], weight[0])
    number = labels.fresh(groups)
    first, second = weight[0], weight[1]  # dimension 0 runs over all groups, dimension 1 within one
    inner = labels.fresh(len(first) // groups) if len(first) > groups else np.full(1, FIXED)
    if transposed:
        c_in, c_out = first, labels.fresh(groups * len(second))
        sides = (c_in, inner), (c_out, second)
    else:
        c_in, c_out = labels.fresh(groups * len(second)), first
        sides = (c_in, second), (c_out, inner)
    for whole, per in sides:
        if (per >= 0).any() and len(per) > 1:
            labels.open.append(Product(whole, (number, per)))
        else:
            labels.tie(whole, np.repeat(number, len(per)))
    return c_in, c_out
