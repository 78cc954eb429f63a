"""Timing: known durations are found, pairs are paired, profiles name fused operators."""

from __future__ import annotations

import gc
from functools import partial
from pathlib import Path
from time import sleep

import numpy as np
import pytest

from netsmith.errors import InputError
from netsmith.hardware.measured.calibrate import chain
from netsmith.hardware.measured.optimised import optimised_model
from netsmith.hardware.measured.timing import Timing, quiet, ratio, time_callables, time_models


class Clock:
    """A clock that only the timed functions move: what a busy machine does to the true one must not decide a test."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def run(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("netsmith.hardware.measured.timing.perf_counter", clock)
    return clock


def test_known_durations_are_measured(clock: Clock) -> None:
    runs = {"short": partial(clock.run, 0.01), "long": partial(clock.run, 0.02)}
    timings = time_callables(runs, seconds=0.1, min_rounds=12, warmup=3)
    assert timings["short"].median_s == timings["short"].quiet_s == pytest.approx(0.01)
    assert timings["long"].median_s == pytest.approx(0.02) and timings["long"].iqr_s == pytest.approx(0, abs=1e-9)
    assert timings["long"].ratio == pytest.approx(2.0) and timings["long"].ratio_ci == pytest.approx((2.0, 2.0))
    assert ratio(timings["short"], timings["long"]).value == pytest.approx(0.5)
    assert timings["short"].n == len(timings["short"].samples) == 12
    assert time_callables(runs, seconds=2, min_rounds=12, warmup=3)["long"].n == 34  # of 60 ms: each settles first


def test_the_clock_is_the_true_one() -> None:
    """A sleep takes at least its time on any machine, however busy."""
    timing = time_callables({"sleep": partial(sleep, 0.005)}, seconds=0, min_rounds=5, warmup=3)["sleep"]
    assert min(timing.samples) >= 0.005


def test_short_functions_are_averaged_over_inner_runs(clock: Clock) -> None:
    timing = time_callables({"tiny": partial(clock.run, 3e-5)}, seconds=0.05)["tiny"]
    assert timing.inner == 34  # a sample lasts a millisecond
    assert timing.quiet_s == pytest.approx(3e-5) and timing.n == 50


def test_order_is_random_but_rounds_are_complete_and_the_collector_comes_back(clock: Clock) -> None:
    calls: list[str] = []
    enabled = []

    def record(name: str) -> None:
        enabled.append(gc.isenabled())
        calls.append(name)
        clock.run(0.001)

    time_callables({n: partial(record, n) for n in "abc"}, seconds=0, min_rounds=30, warmup=3)
    runs = calls[9:]
    assert {runs.count(n) for n in "abc"} == {30 * 7}  # six runs of a millisecond settle a model, the seventh is timed
    turns = ["".join(runs[i : i + 21 : 7]) for i in range(0, len(runs), 21)]
    assert {turn[0] for turn in turns} == set("abc") and {"".join(sorted(turn)) for turn in turns} == {"abc"}
    assert not any(enabled[9:]) and gc.isenabled()


def test_a_model_settles_before_it_is_timed(clock: Clock) -> None:
    """The first runs behind another model are slow; what is timed is how it runs when it runs on."""
    runs: list[str] = []

    def run(name: str) -> None:
        behind = len(runs) >= 3 and set(runs[-3:]) == {name}
        runs.append(name)
        clock.run(0.002 if behind else 0.006)

    timings = time_callables({n: partial(run, n) for n in "ab"}, seconds=0, min_rounds=12, warmup=12)
    assert all(t.samples == pytest.approx([0.002] * 12) for t in timings.values())
    alone = len(runs)
    time_callables({"c": partial(run, "c")}, seconds=0, min_rounds=5, warmup=12)
    assert len(runs) - alone == 12 + 5  # nothing to settle after


def test_quiet_is_the_statistic_of_layers_and_networks(clock: Clock) -> None:
    rng = np.random.default_rng(0)
    noisy = time_callables(
        {"a": lambda: clock.run(0.001 * (1 + rng.exponential()))}, seconds=0, min_rounds=32, warmup=3
    )["a"]
    assert noisy.quiet_s == quiet(np.asarray(noisy.samples)) < noisy.median_s


def test_a_deeper_network_takes_longer(processor_time: None) -> None:
    timings = time_models({"one": chain(32, 1), "six": chain(32, 6)}, seconds=0.3, min_rounds=24)
    assert timings["one"].ratio == 1
    assert timings["six"].quiet_s > 2 * timings["one"].quiet_s  # about five times


def test_optimised_model_has_the_fusions() -> None:
    ops = [n.op_type for n in optimised_model(chain(32, 1)).graph.node]
    assert "Relu" not in ops and "Add" not in ops and ops.count("Conv") == 9


def test_free_batch_becomes_one(tmp_path: Path) -> None:
    import onnx

    model = onnx.load_from_string(chain(32, 1))
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    path = tmp_path / "free.onnx"
    onnx.save(model, path)
    assert time_models({"free": path}, seconds=0, min_rounds=2)["free"].n == 2


def test_errors_are_one_sentence(tmp_path: Path) -> None:
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(b"nonsense")
    with pytest.raises(InputError, match=r"bad\.onnx cannot be run by ONNX Runtime"):
        time_models({"bad": bad})
    with pytest.raises(InputError, match="no model to time"):
        time_models({})
    with pytest.raises(InputError, match="threads must be at least 1"):
        time_models({"a": chain(32, 1)}, threads=0)
    a = Timing(1, 0, (1, 1), 1, 1, (1, 1), 2, 1, (1.0, 1.0))
    b = Timing(1, 0, (1, 1), 1, 1, (1, 1), 3, 1, (1.0, 1.0, 1.0))
    with pytest.raises(InputError, match="cannot be paired"):
        ratio(a, b)


def test_pairing_by_round_removes_drift() -> None:
    drift = np.linspace(1, 3, 40)
    a = Timing(2, 0, (2, 2), 1, 1, (1, 1), 40, 1, tuple(drift))
    b = Timing(4, 0, (4, 4), 2, 1, (1, 1), 40, 1, tuple(2 * drift))
    r = ratio(b, a)
    assert (r.value, r.low, r.high) == pytest.approx((2, 2, 2))
