"""How fast candidates are evaluated: recomputing only what a candidate changes, against running each from the start.

About 20 minutes on two cores for cifar_resnet56. Both ways score the same candidates on the same images in the same
process, and their losses are compared.
"""

from __future__ import annotations

import time
from typing import Any

import common
import numpy as np
import torch
from common import NETWORKS, Store, table
from torch import fx

from netsmith.accuracy.incremental import IncrementalEvaluator
from netsmith.network.edit import GraphEdit

SWEEPS = {"int8 of one layer": "quantize", "one group narrower or one branch gone": "prune"}


class FromTheStart(IncrementalEvaluator):
    """The same candidates, every node recomputed."""

    def _plan(self, candidate: GraphEdit) -> list[fx.Node]:
        return [n for n in self._nodes if n.op in ("call_function", "output", "placeholder")]


def sweep(model: str, method: str, threads: int, args: Any) -> dict[str, Any]:
    """Designs a second of one sensitivity sweep, both ways, and where the time goes."""
    from netsmith.accuracy.sensitivity import measure_sensitivity
    from netsmith.hardware.target import get_target
    from netsmith.jobs.config import METHODS
    from netsmith.jobs.subject import load_subject

    torch.set_num_threads(threads)
    network = NETWORKS[model]
    weights = common.weights_of(model, None, args.results, args.seed)
    methods = (METHODS[method](),)
    s = load_subject(network.spec, network.data, get_target("cpu"), weights=weights, methods=methods, seed=args.seed)
    candidates = candidates_of(s, prune=method == "prune")
    found: dict[str, Any] = {}
    for kind in (IncrementalEvaluator, FromTheStart):
        evaluator = kind(s.graph, s.task, s.searched(args.images))
        evaluator.evaluate([GraphEdit()])  # warm
        start = time.perf_counter()
        measured = measure_sensitivity(candidates, evaluator)
        seconds = time.perf_counter() - start
        found[kind.__name__] = {"seconds": seconds, "rate": measured.candidates / seconds, "loss": measured.loss}
        found |= {"candidates": measured.candidates, "batch": evaluator.batch_size}
        if kind is IncrementalEvaluator:
            found["recomputed"] = measured.recomputed
            found["profile"] = profile(lambda e=evaluator: measure_sensitivity(candidates, e))
    a, b = (np.array(found[k.__name__].pop("loss"), dtype=float) for k in (IncrementalEvaluator, FromTheStart))
    found["largest_difference"] = float(np.abs(a - b)[np.isfinite(a)].max())
    return found


def candidates_of(subject: Any, *, prune: bool) -> Any:
    """What the choices of a network do to its graph, with grids from 256 images of the search split."""
    from netsmith.accuracy.candidates import Candidates
    from netsmith.compression.build import histograms_of
    from netsmith.compression.importance import channel_importance
    from netsmith.compression.mixed import LayerQuantizer
    from netsmith.compression.placement import place
    from netsmith.compression.quantize import Calibration
    from netsmith.decisions.tools import AtHand
    from netsmith.jobs.tools import groups_of

    graph, names = subject.graph, set[str]()
    for layer in subject.space.quantized:
        names |= place(graph, [layer]).scaled
    histograms = histograms_of(graph, subject.searched(256), names)
    importance = channel_importance(subject.model, groups_of(subject), "l2", []) if prune else {}
    quantizer = LayerQuantizer(graph, histograms, "mse")
    return Candidates(subject.space, AtHand(importance, None, False, Calibration(histograms, "mse"), quantizer))


def profile(run: Any) -> dict[str, float]:
    """Share of the operators' own time by operator, the largest five."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], acc_events=True) as trace:
        run()
    own: dict[str, float] = {}
    for event in trace.key_averages():
        own[event.key] = own.get(event.key, 0.0) + event.self_cpu_time_total
    total = sum(own.values())
    conv = sum(v for k, v in own.items() if "conv" in k)
    rest = {k: v / total for k, v in own.items() if "conv" not in k}
    return {"convolutions": conv / total} | dict(sorted(rest.items(), key=lambda kv: -kv[1])[:4])


def main() -> None:
    options = common.parser(__doc__ or "")
    options.add_argument("--model", default="cifar_resnet56", choices=list(NETWORKS))
    options.add_argument("--images", type=int, default=512)
    options.add_argument("--torch-threads", nargs="+", type=int, default=[1, 2])
    args = options.parse_args()
    store, rows = Store(args.results, "evaluation_throughput"), []
    for name, method in SWEEPS.items():
        for threads in args.torch_threads:
            settings = {"model": args.model, "images": args.images}
            r = store.cell(f"{method} {threads}", settings, lambda m=method, t=threads: sweep(args.model, m, t, args))
            fast, slow = r["IncrementalEvaluator"], r["FromTheStart"]
            top = ", ".join(f"{k.removeprefix('aten::')} {100 * v:.0f} %" for k, v in r["profile"].items())
            rows.append([
                name, threads, r["candidates"], f"{fast['seconds']:.1f}", f"{fast['rate']:.2f}", f"{slow['rate']:.2f}",
                f"{fast['rate'] / slow['rate']:.2f}", f"{100 * r['recomputed']:.0f} %",
                f"{r['largest_difference']:.1e}", top,
            ])  # fmt: skip
    head = ["sweep", "threads", "designs", "seconds", "designs/s", "from the start", "speed-up", "recomputed",
            "largest difference of a loss", "where the time goes"]  # fmt: skip
    notes = [
        f"{NETWORKS[args.model].spec}, {args.images} images a design, batches of {r['batch']}; PyTorch in float32.",
        "Recomputed: mean share of the network's operators that a candidate needs. Where the time goes: operators' own "
        "time of the incremental sweep under PyTorch's profiler, which is not part of the timed sweep.",
    ]
    store.fragment("Evaluating candidates", table(head, rows), max(args.torch_threads), notes)


if __name__ == "__main__":
    main()
