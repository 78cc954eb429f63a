"""Whole-network latency with ONNX Runtime: many models side by side, in random order, medians with their spread.

A shared machine drifts (turbo, neighbours), so models that are to be compared run round by round in one process: what
disturbs one round disturbs every model in it, and the ratio of two models is taken within rounds.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from netsmith.errors import InputError

if TYPE_CHECKING:
    import onnxruntime as ort

Model = str | Path | bytes
Run = Callable[[], object]
Feed = Mapping[str, NDArray[Any]]  #: name of an input -> what it is given
FloatArray = NDArray[np.float64]
_SAMPLE_S = 1e-3  # one sample lasts at least this long, so that the clock and the call overhead do not show
#: A model that runs after others is slower until caches and branch predictors know it again: an int8 MobileNetV2 by
#: 45, 30, 25 and 15 % in its first four runs, which is 6 ms. It is left to run for this long before each sample.
_RUN_UP_S = 6e-3
_BLOCKS = 4  # a campaign is cut into blocks; the least disturbed one counts

_DTYPES: dict[str, type[np.generic]] = {
    "tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(float16)": np.float16,
    "tensor(uint8)": np.uint8, "tensor(int8)": np.int8, "tensor(int32)": np.int32, "tensor(int64)": np.int64,
    "tensor(bool)": np.bool_,
}  # fmt: skip


@dataclass(frozen=True)
class Timing:
    """Latency of one model over the rounds of a campaign, in seconds.

    Attributes:
        median_s: median over rounds.
        iqr_s: interquartile range over rounds.
        ci_s: 95 % bootstrap interval of the median.
        quiet_s: the undisturbed time (see :func:`quiet`); layers are timed by the same, so that their sums predict it.
        ratio: this model's latency over the first model's, the median of the ratios within rounds; 1 for the first.
        ratio_ci: 95 % bootstrap interval of ``ratio``.
        n: rounds.
        inner: runs averaged in one sample.
        samples: seconds a run in each round, in order; samples of equal index are of the same round.
    """

    median_s: float
    iqr_s: float
    ci_s: tuple[float, float]
    quiet_s: float
    ratio: float
    ratio_ci: tuple[float, float]
    n: int
    inner: int
    samples: tuple[float, ...]


@dataclass(frozen=True)
class Ratio:
    """Ratio of two latencies with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


def ratio(a: Timing, b: Timing, seed: int = 0) -> Ratio:
    """Latency of ``a`` over ``b``, both from one call of :func:`time_models`, paired by round.

    Raises:
        InputError: the two timings are not of the same campaign.
    """
    if a.n != b.n:
        raise InputError(f"timings of {a.n} and {b.n} rounds cannot be paired; time both models in one call")
    pairs = np.asarray(a.samples) / np.asarray(b.samples)
    low, high = _bootstrap(pairs, np.random.default_rng(seed))
    return Ratio(float(np.median(pairs)), low, high)


def make_session(model: Model, *, threads: int = 1, save: str | None = None, optimise: bool = True) -> Any:
    """Return an ``onnxruntime.InferenceSession`` with every optimisation and exactly ``threads`` threads.

    Args:
        model: path or serialised model.
        threads: intra-operator threads; operators run one after the other.
        save: where to write the optimised model, None for nowhere.
        optimise: False for a model that is optimised already.

    Raises:
        InputError: the model cannot be loaded.
    """
    import onnxruntime as ort

    if threads < 1:
        raise InputError(f"threads must be at least 1, not {threads}; drop the option for one thread")
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    level = ort.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_ALL if optimise else level.ORT_DISABLE_ALL
    options.log_severity_level = 4
    # pool threads spin while their session runs and sleep while another session is on
    options.add_session_config_entry("session.intra_op.allow_spinning", "1")
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if save is not None:
        options.optimized_model_filepath = save
    source = str(model) if isinstance(model, Path) else model
    try:
        return ort.InferenceSession(source, options, providers=["CPUExecutionProvider"], enable_fallback=0)
    except Exception as error:
        name = "the model in memory" if isinstance(model, bytes) else f"{model}"
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise InputError(f"{name} cannot be run by ONNX Runtime: {reason}; check or re-export the file") from error


def random_feed(session: ort.InferenceSession, seed: int = 0) -> dict[str, NDArray[Any]]:
    """Random inputs for a session's signature; free dimensions (the batch) become 1.

    Raises:
        InputError: an input has a type that cannot be drawn.
    """
    rng = np.random.default_rng(seed)
    feed: dict[str, NDArray[Any]] = {}
    for item in session.get_inputs():
        if item.type not in _DTYPES:
            raise InputError(f"input {item.name!r} has type {item.type}; only tensors of numbers can be timed")
        shape = [d if isinstance(d, int) and d > 0 else 1 for d in item.shape]
        dtype = np.dtype(_DTYPES[item.type])
        if dtype.kind == "f":
            feed[item.name] = rng.standard_normal(shape).astype(dtype)
        else:  # small integers are valid as pixels, class indices, tokens and flags alike
            feed[item.name] = rng.integers(0, 2, shape).astype(dtype)
    return feed


def _own(session: ort.InferenceSession, feed: Feed) -> Feed:
    """What of a feed a session takes."""
    names = [item.name for item in session.get_inputs()]
    if missing := [name for name in names if name not in feed]:
        raise InputError(f"nothing is given for input {missing[0]!r} of a model; given are {', '.join(feed)}")
    return {name: feed[name] for name in names}


def time_models(
    models: Mapping[str, Model],
    *,
    threads: int = 1,
    seconds: float = 3.0,
    min_rounds: int = 20,
    warmup: int = 10,
    seed: int = 0,
    feed: Feed | None = None,
) -> dict[str, Timing]:
    """Time models against each other, on random inputs at batch 1 or on given ones.

    Args:
        models: name to path or serialised ONNX model; the first is the reference of ``Timing.ratio``.
        threads: intra-operator threads.
        seconds: time for the rounds of all models together; at least ``min_rounds`` rounds are run.
        warmup: untimed runs of each model.
        seed: of inputs, order and bootstrap.
        feed: what all models are run on, where random numbers cannot stand for it.

    Raises:
        InputError: a model cannot be loaded or run.
    """
    runs: dict[str, Any] = {}
    for name, model in models.items():
        session = make_session(model, threads=threads)
        given = random_feed(session, seed) if feed is None else _own(session, feed)
        runs[name] = lambda session=session, given=given: session.run(None, given)
    return time_callables(runs, seconds=seconds, min_rounds=min_rounds, warmup=warmup, seed=seed)


def time_callables(
    runs: Mapping[str, Run], *, seconds: float = 3.0, min_rounds: int = 20, warmup: int = 10, seed: int = 0
) -> dict[str, Timing]:
    """Time synchronous functions of no arguments against each other; see :func:`time_models`."""
    if not runs:
        raise InputError("no model to time; name at least one")
    rng = np.random.default_rng(seed)
    names = list(runs)
    took = {name: _warm_up(name, runs[name], warmup) for name in names}
    inner = {name: max(1, int(np.ceil(_SAMPLE_S / t))) for name, t in took.items()}
    run_up = {name: max(1, int(np.ceil(_RUN_UP_S / t))) for name, t in took.items()}
    samples: dict[str, list[float]] = {name: [] for name in names}
    collecting = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        start = perf_counter()
        while len(samples[names[-1]]) < min_rounds or perf_counter() - start < seconds:
            for i in rng.permutation(len(names)):
                run, count = runs[names[i]], inner[names[i]]
                for _ in range(run_up[names[i]] if len(names) > 1 else 0):
                    run()
                begin = perf_counter()
                for _ in range(count):
                    run()
                samples[names[i]].append((perf_counter() - begin) / count)
    finally:
        if collecting:
            gc.enable()
    reference = np.asarray(samples[names[0]])
    return {name: _summary(np.asarray(samples[name]), reference, inner[name], rng) for name in names}


def _warm_up(name: str, run: Run, warmup: int) -> float:
    """Run ``warmup`` times; return the median of their seconds."""
    times = []
    for _ in range(max(warmup, 3)):
        begin = perf_counter()
        try:
            run()
        except Exception as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
            raise InputError(f"model {name!r} fails on its input: {reason}; check its input signature") from error
        times.append(perf_counter() - begin)
    return max(float(np.median(times)), 1e-7)


def _summary(x: NDArray[Any], reference: NDArray[Any], inner: int, rng: np.random.Generator) -> Timing:
    pairs = x / reference
    low, high = np.percentile(x, [25, 75])
    return Timing(
        median_s=float(np.median(x)), iqr_s=float(high - low), ci_s=_bootstrap(x, rng),
        quiet_s=quiet(x), ratio=float(np.median(pairs)),
        ratio_ci=_bootstrap(pairs, rng),
        n=len(x), inner=inner, samples=tuple(x.tolist()),
    )  # fmt: skip


def quiet(x: FloatArray) -> float:
    """Lowest over blocks of the mean between the 10th and the 50th percentile.

    Neighbours on the machine only ever make a run slower, so the upper half is theirs; averaging rather than taking one
    percentile evens out chance.
    """
    return min(_lower(b) for b in np.array_split(x, min(_BLOCKS, max(1, len(x) // 8))))


def _lower(x: FloatArray) -> float:
    ordered = np.sort(x)
    low, high = len(ordered) // 10, max(len(ordered) // 10 + 1, len(ordered) // 2)
    return float(ordered[low:high].mean())


def _bootstrap(x: NDArray[Any], rng: np.random.Generator, draws: int = 1000) -> tuple[float, float]:
    """95 % percentile interval of the median."""
    n = min(draws, max(100, 2_000_000 // len(x)))  # bounds the memory of very long campaigns
    medians = np.median(x[rng.integers(0, len(x), (n, len(x)))], axis=1)
    low, high = np.percentile(medians, [2.5, 97.5])
    return float(low), float(high)
