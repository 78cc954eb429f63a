"""How single layers add up to a network on this machine: small networks, timed whole and in parts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from netsmith.hardware.measured.fragments import OPSET, Fragments
from netsmith.hardware.measured.microbench import measure
from netsmith.hardware.measured.timing import FloatArray, time_models
from netsmith.hardware.table.calibration import Calibration
from netsmith.hardware.table.keys import BLOCKED, ENTRY, PLAIN, Key
from netsmith.network.layers import ACTIVATION, KIND

#: (channels, size) of each stage: maps and weights from a few to hundreds of KB.
_STAGES = ((16, 32), (32, 16), (64, 8))
LENGTHS = (1, 6)
WIDTHS = (1.0, 0.5)


def calibrate(
    threads: int = 1, seconds: float = 2.0, seed: int = 0, repeats: int = 4,
    progress: Callable[[int, int], None] | None = None,
) -> Calibration:  # fmt: skip
    """Fit ``T = beta + gamma * sum_i t_i`` to eight residual networks.

    Two depths, two widths (operators that last long and operators that are over at once), two precisions.

    Args:
        threads: intra-operator threads.
        seconds: time for the whole networks; the layers take about as long.
        repeats: campaigns; the least disturbed time of each network and each layer counts.
        progress: called with (done, all) layers, each counted once a repeat.
    """
    cases = [(bits, n, width) for bits in (32, 8) for n in LENGTHS for width in WIDTHS]
    models = {str(case): chain(*case, seed=seed) for case in cases}
    distinct = list(dict.fromkeys(k for bits, _, width in cases for k in chain_keys(bits, 1, width)))
    whole = dict.fromkeys(cases, np.inf)
    layer = dict.fromkeys(distinct, np.inf)
    for repeat in range(repeats):
        timings = time_models(models, threads=threads, seconds=seconds / repeats, min_rounds=10, seed=seed + repeat)
        for case in cases:
            # a whole network is preempted more often than a layer: its lowest tenth is what compares with the layers
            whole[case] = min(whole[case], float(np.percentile(timings[str(case)].samples, 10)))
        campaign = measure(distinct, threads=threads, seconds_per_key=0.04 / repeats, seed=seed + repeat)
        for key, entry in campaign.entries.items():
            layer[key] = min(layer[key], entry.seconds)
        if progress is not None:
            progress((repeat + 1) * len(distinct), repeats * len(distinct))
    rows = []
    for case in cases:
        times = sum(layer[k] for k in chain_keys(*case))
        rows.append([times * (case[0] == 32), times * (case[0] == 8), 1.0])
    return fit(np.array(rows), np.array([whole[case] for case in cases]))


def fit(rows: FloatArray, whole: FloatArray, gammas: tuple[float, float] = (0.8, 1.25)) -> Calibration:
    """Least squares of relative errors, with gamma within bounds and no negative beta.

    Args:
        rows: ``(M, 3)`` of each network: seconds of its floating point layers, of its integer layers, 1.
        whole: ``(M,)`` its measured latency, seconds.
        gammas: bounds; a precision that no network has gets 1.
    """
    from scipy.optimize import lsq_linear
    from scipy.stats import kendalltau

    unit = np.array([1.0, 1.0, 1e-6])  # of like size, for the solver's sake
    bounds = ([gammas[0], gammas[0], 0.0], [gammas[1], gammas[1], np.inf])
    solution = lsq_linear(rows * unit / whole[:, None], np.ones(len(whole)), bounds=bounds, tol=1e-12).x * unit
    predicted = rows @ solution
    residual = float(np.abs(predicted / whole - 1).max())
    gamma = [float(g) if used else 1.0 for g, used in zip(solution[:2], rows[:, :2].sum(axis=0) > 0, strict=True)]
    tau = float(kendalltau(predicted, whole).statistic)
    return Calibration((gamma[0], gamma[1]), float(solution[2]), residual, tau if np.isfinite(tau) else None)


def chain_keys(bits: int, blocks: int, factor: float = 1.0) -> list[Key]:
    """The rows of :func:`chain`."""
    relu = ACTIVATION["relu"]
    context = BLOCKED if bits == 32 else PLAIN
    stages = [(int(width * factor), size) for width, size in _STAGES]
    c, s = stages[0]
    keys = [Key(KIND["conv"], 3, c, 3, 3, 1, 1, s, s, s, s, relu, bits, ENTRY)]
    for width, size in stages:
        if width != c:
            keys.append(Key(KIND["conv"], c, width, 3, 3, 2, 1, s, s, size, size, relu, bits, context))
        c, s = width, size
        conv = Key(KIND["conv"], c, c, 3, 3, 1, 1, s, s, s, s, relu, bits, context)
        add = Key(KIND["add"], c, c, 1, 1, 1, 1, s, s, s, s, relu, bits, context)
        keys += [conv, conv._replace(activation=0), add] * blocks
    return keys


def chain(bits: int, blocks: int, factor: float = 1.0, seed: int = 0) -> bytes:
    """A serialised residual network with ``blocks`` blocks of two convolutions on each of three map sizes."""
    from onnx import TensorProto, helper

    f = Fragments(seed)
    integer = bits == 8

    def quantized(x: str, zero: int) -> str:
        return f.dequantize(f.quantize(x, zero=zero), zero=zero) if integer else x

    def conv(x: str, c_in: int, c_out: int, rectified: bool = True, stride: int = 1) -> str:
        w = f.integer_weight(0, c_out, c_in, 3, 3) if integer else f.weight(c_out, c_in, 3, 3)
        b = f.integer_bias(c_out) if integer else f.weight(c_out)
        y = f.op("Conv", x, w, b, kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[stride, stride])
        return quantized(f.op("Relu", y), 0) if rectified else quantized(y, 128)

    widths = [int(width * factor) for width, _ in _STAGES]
    c, size = widths[0], _STAGES[0][1]
    x = conv(quantized("input", 128), 3, c)
    for width in widths:
        if width != c:
            x = conv(x, c, width, stride=2)
        c = width
        for _ in range(blocks):
            y = conv(conv(x, c, c), c, c, rectified=False)
            x = quantized(f.op("Relu", f.op("Add", x, y)), 0)
    zeros, ones = (f.constant(np.full(4, v, dtype=np.int64)) for v in (0, 1))
    out = f.op("Slice", x, zeros, ones)
    graph: Any = helper.make_graph(
        f.nodes, "chain", [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, size, size])],
        [helper.make_tensor_value_info(out, TensorProto.FLOAT, None)], f.weights,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    return bytes(model.SerializeToString())
