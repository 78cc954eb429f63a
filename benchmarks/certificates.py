"""How often a certificate is wrong: the paired bound on real networks, against what halves of a test set leave out.

Each network is made smaller in three ways without fine-tuning and run over its test split once, as is what was given.
Of these answers halves are drawn again and again, and each is asked for a bound on the loss. (a) Halves are drawn with
replacement and the truth is the loss on the whole test split, so that the examples are what a certificate takes them
for: draws from the population it speaks of. (b) Halves are drawn without, and the truth is taken to be the loss on the
other half, which is as uncertain as the bound: an exact bound at 95 % then fails in about 12 % of cases. Ten minutes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import common
import numpy as np
from common import NETWORKS, Store, percent, table

from netsmith.certificates import bootstrap_bound, paired_bound, score_interval
from netsmith.jobs.tested import BoolArray, right_of, tested

#: how networks with a train split are made: label -> options of compress
WAYS: Mapping[str, Mapping[str, str]] = {
    "int8": {"methods": "quantize", "target": "systolic-scale", "size": "0.3x"},
    "pruned": {"methods": "prune", "target": "roofline-edge", "macs": "0.95x"},
    "few bits": {"methods": "quantize", "target": "roofline-bitfusion", "size": "0.18x"},
}
#: those of the ImageNet sample, all layers at one width, without a search: label -> (weight, activation) bits
WIDTHS: Mapping[str, tuple[int, int]] = {"int8": (8, 8), "6 bits": (6, 6), "weights of 6 bits": (6, 8)}
DEFAULT = ["cifar_resnet20", "mobilenet_v2_tf", "squeezenet1_1"]
OTHERS = ("difference of limits", "bootstrap")


def answers(name: str, way: str, weights: str | None, args: Any) -> dict[str, Any]:
    """Which test examples a network gets right before and after, as the stage of the test stores it."""
    folder = args.runs / f"certificates-{name}-{way.replace(' ', '-')}-s{args.seed}"
    network = NETWORKS[name]
    options = {"model": network.spec, "data": network.data, "weights": weights, "epochs": 0, "seed": args.seed}
    outcome = common.run_compress(folder, **options, **WAYS[way])
    if "infeasible" in outcome:
        raise SystemExit(f"{name}, {way}: {outcome['infeasible']}")
    return dict(json.loads((folder / "stages/test.json").read_text())["value"]["tested"])


def rounded(name: str, bits: tuple[int, int], weights: str | None, args: Any) -> dict[str, Any]:
    """The same of a network with all layers at one width, ranges from the search split."""
    from netsmith.compression.build import integerise
    from netsmith.compression.placement import quantizable
    from netsmith.export.onnx import to_onnx
    from netsmith.hardware.target import get_target
    from netsmith.jobs.config import Quantize
    from netsmith.jobs.subject import load_subject

    network = NETWORKS[name]
    subject = load_subject(
        network.spec, network.data, get_target("roofline-bitfusion"), weights=weights, methods=(Quantize(),),
        seed=args.seed,
    )  # fmt: skip
    graph, task = subject.graph, subject.task
    widths = dict.fromkeys(quantizable(graph), bits)
    _, small = integerise(subject.model, graph.example, widths, subject.searched(256), "mse", axes=graph.axes)
    assert small is not None
    integer = bits == (8, 8)
    files = {"before": to_onnx(graph), "after": to_onnx(small.graph, small.weight_scales, integer_bias=integer)}
    found = {}
    for when, model in files.items():
        path = args.runs / f"certificates-{name}-{when}.onnx"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(model.SerializeToString())
        found[when] = tested(path, task, task.test, graph)
    return found


def resampled(before: BoolArray, after: BoolArray, args: Any) -> dict[str, Any]:
    """Bounds of halves against what they leave out, each way of drawing ``args.draws`` times."""
    n, rng = len(before), np.random.default_rng(args.seed)
    half = n // 2
    exact = cache(lambda worse, better: paired_bound(worse, better, half, args.confidence))
    found: dict[str, Any] = {"examples": n, "loss": float(before.mean() - after.mean())}
    found |= {"worse": int((before & ~after).sum()), "better": int((~before & after).sum())}
    for kind in ("with", "without"):
        wrong, widths = dict.fromkeys(("exact", *OTHERS), 0), {k: list[float]() for k in ("exact", *OTHERS)}
        for i in range(args.draws):
            drawn = rng.integers(0, n, half) if kind == "with" else rng.permutation(n)
            mine, rest = drawn[:half], np.arange(n) if kind == "with" else drawn[half:]
            truth = float(before[rest].mean() - after[rest].mean())
            b, a = before[mine], after[mine]
            seen = float(b.mean() - a.mean())
            bounds: dict[str, Callable[[], float]] = {
                "exact": lambda b=b, a=a: exact(int((b & ~a).sum()), int((~b & a).sum())),
                "difference of limits": lambda b=b, a=a: _naive(b, a, args.confidence),
                "bootstrap": lambda b=b, a=a, i=i: bootstrap_bound(b, a, args.confidence, seed=i),
            }
            for label, bound in bounds.items():
                if kind == "without" and label != "exact":
                    continue
                value = min(bound(), 1.0)  # no loss of score is larger, whatever a bootstrap of few differences says
                wrong[label] += truth > value
                widths[label].append(value - seen)
        found[kind] = {
            label: {"wrong": wrong[label] / args.draws, "width": float(np.mean(widths[label]))}
            for label in wrong if widths[label]
        }  # fmt: skip
    return found


def _naive(before: BoolArray, after: BoolArray, confidence: float) -> float:
    """What two intervals of one score each leave of the loss: the upper limit of one less the lower of the other."""
    n = len(before)
    high, low = (score_interval(int(right.sum()), n, confidence) for right in (before, after))
    return high[1] - low[0]


def main() -> None:
    options = common.parser(__doc__ or "")
    options.add_argument("--models", nargs="+", default=DEFAULT, choices=DEFAULT)
    options.add_argument("--weights", nargs="*", default=[], metavar="NETWORK=FILE")
    options.add_argument("--draws", type=int, default=200, help="halves, each way of drawing")
    options.add_argument("--confidence", type=float, default=0.95)
    options.add_argument("--runs", type=Path, default=common.ROOT / "runs")
    args = options.parse_args()
    store, rows, shares = Store(args.results, "certificates"), [], {"with": list[float](), "without": list[float]()}
    for name in args.models:
        weights = common.weights_of(name, common.named(args.weights).get(name), args.results, args.seed)
        searched = NETWORKS[name].dataset.startswith("cifar")
        for way in WAYS if searched else WIDTHS:
            made = dict(WAYS[way]) if searched else list(WIDTHS[way])
            settings = {"weights": common.digest(weights), "made": made, "seed": args.seed}

            def told(name: str = name, way: str = way, weights: str | None = weights) -> dict[str, Any]:
                known = NETWORKS[name].dataset.startswith("cifar")
                return answers(name, way, weights, args) if known else rounded(name, WIDTHS[way], weights, args)

            said = store.cell(f"{name}, {way}", settings, told)
            right = {when: right_of(said[when]) for when in ("before", "after")}
            asked = settings | {"draws": args.draws, "confidence": args.confidence}
            found = store.cell(
                f"{name}, {way}, halves", asked, lambda r=right: resampled(r["before"], r["after"], args)
            )
            for kind, list_of in shares.items():
                list_of.append(found[kind]["exact"]["wrong"])
            drawn = found["with"]
            rows.append([
                name, way, f"{found['examples']:,}", f"{100 * found['loss']:.2f}", found["worse"], found["better"],
                percent(drawn["exact"]["wrong"]), percent(found["without"]["exact"]["wrong"]),
                f"{100 * drawn['exact']['width']:.2f}",
                *(f"{100 * drawn[o]['width']:.2f} ({percent(drawn[o]['wrong'])})" for o in OTHERS),
            ])  # fmt: skip
    head = [
        "network", "made", "test images", "loss, points", "worse", "better", "(a) wrong", "(b) wrong",
        "width, points", "of a difference of limits (wrong)", "of the bootstrap (wrong)",
    ]  # fmt: skip
    mean = {kind: float(np.mean(found)) for kind, found in shares.items()}
    cases = args.draws * len(rows)
    notes = [
        f"(a): of {cases} halves drawn with replacement, the loss on the whole test split exceeds the exact bound at "
        f"{100 * args.confidence:g} % in {percent(mean['with'])}, in {percent(max(shares['with']))} for the worst row. "
        f"A row of {args.draws} draws resolves {percent(1.96 * (0.05 * 0.95 / args.draws) ** 0.5)}.",
        f"(b): of {cases} halves drawn without, the loss on the other half exceeds it in {percent(mean['without'])}. "
        "That truth is noisy itself: with a normal distribution an exact bound would be exceeded in 12.2 %.",
        "Width: what the bound adds to the loss that was seen, in the mean over (a). The difference of limits is the "
        "upper one of the score before less the lower one after, two-sided (Clopper and Pearson), which ignores that "
        "both are of the same images; the bootstrap is studentised, and of a handful of images that differ its bound "
        "is often anything up to 100 points, and still wrong too often.",
        "No fine-tuning. CIFAR-10 (JPEG copy): compress on simulated targets, whose budgets decide only how much a "
        "network loses: "
        + "; ".join(f"{way}: {' '.join(f'--{k} {v}' for k, v in made.items())}" for way, made in WAYS.items())
        + ". ImageNet sample: all layers at one width of weights and inputs, ranges of 256 images.",
    ]  # fmt: skip
    store.fragment("Certificates: how often they are wrong", table(head, rows), args.threads, notes)


if __name__ == "__main__":
    main()
