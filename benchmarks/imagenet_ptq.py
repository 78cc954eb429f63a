"""Post-training int8 of ImageNet networks on 500 sample images: all fp32, all int8, netsmith's mix. Half an hour.

The mix is the least lossy one within 5 % of the fastest that netsmith can find on this machine.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import common
import numpy as np
from common import NETWORKS, Network, Store, percent, table

SLACK = 1.05
DEFAULT = ["mobilenet_v2_tf", "squeezenet1_1", "mobilenetv3_small_100"]


def uniform_and_fastest(network: Network, weights: str | None, folder: Path, args: Any) -> dict[str, Any]:
    """Build fp32, all-int8 and the mix of least predicted latency; measure how fast the latter two are."""

    from netsmith.compression.build import integerise
    from netsmith.decisions.demand import rows_asked
    from netsmith.decisions.pricing import Pricing
    from netsmith.export.onnx import to_onnx
    from netsmith.hardware.measured.cpu import CpuTarget
    from netsmith.jobs.config import Quantize
    from netsmith.jobs.subject import load_subject
    from netsmith.study.approximation import SequentialApproximation
    from netsmith.study.study import Found

    target = CpuTarget(args.threads)
    s = load_subject(network.spec, network.data, target, weights=weights, methods=(Quantize(),), seed=args.seed)
    pricing = Pricing(s.space, target)
    target.prepare(rows_asked(pricing))
    loss = np.zeros((len(s.space.decisions), 2))
    solver = SequentialApproximation(pricing, loss, {"latency": 1.0}, lambda problem: Found(problem.reference))
    every = np.zeros_like(s.space.reference)  # the first choice of every layer is int8
    folder.mkdir(parents=True, exist_ok=True)
    files = {"fp32": folder / "fp32.onnx"}
    files["fp32"].write_bytes(to_onnx(s.graph).SerializeToString())
    examples = s.searched(256)
    for name, design in (("all int8", every), ("fastest", solver.least(every))):
        layers = s.space.bits(design)
        _, quantized = integerise(s.model, s.graph.example, layers, examples, "mse", axes=s.graph.axes)
        model = to_onnx(quantized.graph, quantized.weight_scales) if quantized else to_onnx(s.graph)
        files[name] = folder / f"{name.replace(' ', '-')}.onnx"
        files[name].write_bytes(model.SerializeToString())
    timed = common.time_interleaved(files, args.threads, args.seconds / 4)
    return {"files": {k: str(v) for k, v in files.items()}, "ratio": {k: t["ratio"] for k, t in timed.items()}}


def mix(network: Network, weights: str | None, runs: Path, fastest: float, args: Any) -> dict[str, Any]:
    """Compress to the smallest budget that can be reached, give or take; a miss says what can be."""
    budget = f"{SLACK * fastest:.3f}x"
    for attempt in range(4):
        outcome = common.run_compress(
            runs / f"ptq-{network.spec.split(':')[1].split('?')[0]}-{budget}", model=network.spec, data=network.data,
            latency=budget, methods="quantize", weights=weights, seed=args.seed, threads=args.threads,
        )  # fmt: skip
        if "summary" in outcome:
            break
        budget = f"{float(budget[:-1]) * 1.04:.3f}x"
        print(f"  attempt {attempt + 1}: {outcome['infeasible']}")
    return outcome | {"budget": budget}


def right_wrong(given: np.ndarray[Any, Any], other: np.ndarray[Any, Any], labels: np.ndarray[Any, Any]) -> str:
    lost = int(((given == labels) & (other != labels)).sum())
    return f"{lost} / {int(((given != labels) & (other == labels)).sum())}"


def bench(name: str, store: Store, args: Any) -> tuple[list[list[Any]], dict[str, Any]]:
    from netsmith.data import load_data, normalisation_from_metadata
    from netsmith.network.load import load_model

    network, weights = NETWORKS[name], common.weights_of(name, None, args.results, args.seed)
    settings = {"weights": common.digest(weights), "threads": args.threads, "seed": args.seed}
    folder = args.results / f"{store.name}-{name}"
    first = store.cell(f"{name} fastest", settings, lambda: uniform_and_fastest(network, weights, folder, args))
    fastest = min(first["ratio"][k] for k in ("all int8", "fastest"))
    outcome = mix(network, weights, args.runs, fastest, args)
    files = {k: Path(first["files"][k]) for k in ("fp32", "all int8")}
    if "summary" in outcome:
        files["netsmith"] = Path(outcome["summary"]["run"]) / "model.onnx"
    data = load_data(network.data, seed=args.seed)
    loaded = load_model(network.spec, weights=weights, num_classes=data.known_classes, input_shape=data.input_shape)
    norm = data.with_normalisation(normalisation_from_metadata(loaded.metadata)).normalisation
    digests = {k: common.digest(v) for k, v in files.items()}
    timed = store.cell(f"{name} timing", digests, lambda: common.time_interleaved(files, args.threads, args.seconds))
    run = lambda: {k: common.predictions(v, data.test, norm) for k, v in files.items()}  # noqa: E731
    classes = store.cell(f"{name} predictions", digests, run)
    guess = {k: np.array(v) for k, v in classes.items()}
    labels, rows = data.test.labels.numpy(), []
    for variant, predicted in guess.items():
        layers = outcome["summary"]["layers"] if variant == "netsmith" else []
        int8 = f"{sum(r['choice']['bits'] == 8 for r in layers)} of {len(layers)}" if layers else ""
        t, correct = timed[variant], float((predicted == labels).mean())
        rows.append([
            name, variant, percent(correct) if weights else "random weights",
            percent(float((predicted == guess["fp32"]).mean())),
            right_wrong(guess["fp32"], predicted, labels) if weights else "", int8,
            common.ms_text(t), common.ratio_text(t), f"{t['bytes'] / 1e6:.2f}",
        ])  # fmt: skip
    if "summary" not in outcome:
        rows.append([name, f"netsmith, {outcome['budget']} cannot be met"] + [""] * 7)
    return rows, {"images": len(labels), "timed": timed}


def main() -> None:
    options = common.parser(__doc__ or "")
    options.add_argument("--models", nargs="+", default=DEFAULT, choices=list(NETWORKS))
    options.add_argument("--runs", type=Path, default=common.ROOT / "runs")
    args = options.parse_args()
    if any(NETWORKS[name].spec.startswith("timm:") for name in args.models):
        common.allow_torchvision()
    store, rows = Store(args.results, "imagenet_ptq"), []
    for name in args.models:
        found, about = bench(name, store, args)
        rows += found
    head = ["network", "bits", "top-1", "agrees with fp32", "right → wrong / wrong → right", "int8 layers", "time, ms",
            "time / fp32", "MB"]  # fmt: skip
    notes = [
        f"{about['images']} test images that were not used for calibration or search. They are probably training "
        "images of the networks: compare rows, do not read them as ImageNet accuracy.",
        f"netsmith: the least lossy mix of fp32 and int8 layers within about {100 * (SLACK - 1):.0f} % of the fastest "
        "found; post-training only. A network with random weights says something about time only.",
        common.timing_note(about["timed"]) + " One session a network.",
    ]
    store.fragment("Post-training int8 of ImageNet networks", table(head, rows), args.threads, notes)


if __name__ == "__main__":
    main()
