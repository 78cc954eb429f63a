"""What a model's run consists of: time of each executed operator, and the graph that ONNX Runtime made of it."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from netsmith.files import read_json
from netsmith.hardware.measured.timing import Model, make_session, random_feed

_MOST_TRACE = 2_000_000_000


@dataclass(frozen=True)
class NodeTime:
    """Time of one executed operator.

    Attributes:
        name: node name in the optimised graph.
        op_type: operator after fusion, for example ``QLinearConv``.
        seconds: mean of the middle half of its runs.
        iqr_s: interquartile range of its runs (the profiler's clock ticks in microseconds).
        share: of the sum over all operators.
        provider: execution provider.
        n: runs.
    """

    name: str
    op_type: str
    seconds: float
    iqr_s: float
    share: float
    provider: str
    n: int


@dataclass(frozen=True)
class Profile:
    """Executed operators in execution order, and how many there are of each type after fusion."""

    nodes: tuple[NodeTime, ...]
    op_counts: Mapping[str, int]

    @property
    def seconds(self) -> float:
        """Sum over the operators; a run takes longer by the overhead between them."""
        return sum(n.seconds for n in self.nodes)


def profile_nodes(model: Model, runs: int = 50, *, threads: int = 1, warmup: int = 10, seed: int = 0) -> Profile:
    """Time every operator of a model at batch 1 with ONNX Runtime's profiler.

    Raises:
        InputError: the model cannot be loaded.
    """
    with tempfile.TemporaryDirectory(prefix="netsmith-") as folder:
        session = make_session(model, threads=threads, profile=str(Path(folder) / "trace"))
        feed = random_feed(session, seed)
        for _ in range(warmup + runs):
            session.run(None, feed)
        trace = session.end_profiling()
        events = read_json(Path(trace), "profile again, with fewer runs", limit=_MOST_TRACE)
    times: dict[tuple[str, int], list[int]] = {}
    about: dict[tuple[str, int], tuple[str, str]] = {}
    for event in events:
        args = event.get("args", {})
        if event.get("cat") != "Node" or "op_name" not in args or not event["name"].endswith("_kernel_time"):
            continue
        key = (event["name"].removesuffix("_kernel_time"), int(args.get("node_index", 0)))
        times.setdefault(key, []).append(int(event["dur"]))
        about[key] = (args["op_name"], args.get("provider", ""))
    summed = {key: _middle(durations[warmup:]) for key, durations in times.items()}
    total = sum(s for s, _ in summed.values()) or 1.0
    nodes = tuple(
        NodeTime(key[0], about[key][0], seconds, iqr, seconds / total, about[key][1], len(times[key]) - warmup)
        for key, (seconds, iqr) in summed.items()
    )
    return Profile(nodes, dict(Counter(n.op_type for n in nodes)))


def _middle(durations: list[int]) -> tuple[float, float]:
    """Interquartile mean and range, in seconds, of durations cut off to whole microseconds.

    A median of whole microseconds is off by up to half a tick, 10 % of a small layer; the mean of the middle half
    averages the ticks out, and half a tick corrects the cut.
    """
    x = np.sort(np.asarray(durations, dtype=np.float64))
    quarter = len(x) // 4
    low, high = np.percentile(x, [25, 75])
    return float(x[quarter : len(x) - quarter].mean() + 0.5) * 1e-6, float(high - low) * 1e-6


def optimised_model(model: Model) -> Any:
    """The ``onnx.ModelProto`` that ONNX Runtime executes for ``model`` on this machine, every fusion applied."""
    import onnx

    with tempfile.TemporaryDirectory(prefix="netsmith-") as folder:
        path = str(Path(folder) / "optimised.onnx")
        make_session(model, save=path)
        return onnx.load(path)
