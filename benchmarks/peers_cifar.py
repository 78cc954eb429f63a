"""Today's tools on CIFAR-10 (JPEG copy) at equal measured latency and equal fine-tuning. An hour on two cores.

Torch-Pruning with one ratio, then int8 by ONNX Runtime; ONNX Runtime and NNCF int8 alone; and the runs of
``cifar_curve.py`` at the same budgets. Every network is fine-tuned by the same code for the same epochs.
"""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path
from typing import Any

import common
import peer_tools as tools
import torch
from cifar_curve import folder_of
from common import NETWORKS, Store, percent, table

IMAGES = 256
RATIOS = [0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 0.9375]


class Bench:
    def __init__(self, args: Any) -> None:
        from netsmith.data import load_data, normalisation_from_metadata
        from netsmith.network.load import load_model
        from netsmith.tasks.classification import Classification

        network = NETWORKS[args.model]
        self.args, self.store = args, Store(args.results, f"peers_cifar-{args.model}")
        self.weights = common.weights_of(args.model, args.weights, args.results, args.seed)
        data = load_data(network.data, seed=args.seed)
        loaded = load_model(
            network.spec, weights=self.weights, num_classes=len(data.classes), input_shape=data.input_shape
        )
        self.data = data.with_normalisation(normalisation_from_metadata(loaded.metadata))
        self.task = Classification(self.data)
        self.model, self.shape = loaded.model, tuple(data.input_shape)
        images = next(self.data.search.batches(IMAGES, normalise=self.data.normalisation, channels_last=False))[0]
        self.images = images.contiguous().numpy()
        self.files = args.results / self.store.name
        self.files.mkdir(parents=True, exist_ok=True)
        self.settings = {
            "weights": common.digest(self.weights),
            "epochs": args.epochs,
            "lr": args.lr,
            "seed": args.seed,
        }
        self.spare, self.why = False, ""
        if args.model.startswith("cifar"):  # does the README's way work as it is?
            try:
                tools.prune(self.model, self.shape, 0.5, 8, args.importance, args.whole, False)
            except Exception as error:
                self.spare, self.why = True, " ".join(str(error).split())[:120]

    def unpruned(self) -> dict[str, Any]:
        base = tools.export(self.model, self.shape, self.files / "baseline.onnx")
        files = {"baseline, fp32": base}
        files["ONNX Runtime int8"] = tools.ort_int8(base, self.images, self.files / "ort.onnx")
        files["ONNX Runtime int8, not pre-processed"] = tools.ort_int8(
            base, self.images, self.files / "ort-plain.onnx", preprocess=False
        )
        nncf = tools.nncf_int8(self.args.nncf_python, base, self.images, self.files / "nncf.onnx")
        if (self.files / "nncf.onnx").is_file():
            files["NNCF int8"] = self.files / "nncf.onnx"
        return {"files": files, "nncf": nncf}

    def small(self, ratio: float, round_to: int | None) -> torch.nn.Module:
        a = self.args
        return tools.prune(self.model, self.shape, ratio, round_to, a.importance, a.whole, self.spare)

    def speeds(self) -> list[dict[str, Any]]:
        """Measured latency of every ratio, in fp32 and int8; it does not depend on the weights."""
        whole = tuple(tools.widths(self.model))
        files = {"baseline": self.files / "baseline.onnx", "0-None-fp32": self.files / "baseline.onnx"}
        files["0-None-int8"] = self.files / "ort.onnx"
        found: dict[str, dict[str, Any]] = {"0-None": {"ratio": 0, "round_to": None, "channels": sum(whole)}}
        seen = {whole}
        for round_to in (8, None):
            for ratio in self.args.ratios:
                small = self.small(ratio, round_to)
                shape = tuple(tools.widths(small))
                if shape in seen:
                    continue
                seen.add(shape)
                name = f"{ratio}-{round_to}"
                files[f"{name}-fp32"] = tools.export(small, self.shape, self.files / f"try-{name}.onnx")
                files[f"{name}-int8"] = tools.ort_int8(
                    files[f"{name}-fp32"], self.images[:8], self.files / f"try-{name}-int8.onnx"
                )
                found[name] = {"ratio": ratio, "round_to": round_to, "channels": sum(shape)}
        timed = common.time_interleaved(files, self.args.threads, self.args.seconds)
        rows = [
            v | {"fp32": timed[f"{k}-fp32"]["ratio"], "int8": timed[f"{k}-int8"]["ratio"]} for k, v in found.items()
        ]
        return sorted(rows, key=lambda r: -r["channels"])  # the least pruned first

    def pick(self, speeds: list[dict[str, Any]], budget: float) -> dict[str, Any]:
        best = lambda r: min(r["fp32"], r["int8"])  # noqa: E731
        chosen = next((r for r in speeds if best(r) <= budget), None) or min(speeds, key=best)
        int8 = chosen["int8"] <= max(budget, chosen["fp32"])
        return chosen | {"reached": best(chosen) <= budget, "deploy": "int8" if int8 else "fp32"}

    def tuned(self, pick: dict[str, Any]) -> Path:
        """Prune, fine-tune as netsmith does, quantize; returns the file to deploy."""
        from netsmith.training import Checkpoints, Training, fit

        if pick["ratio"] == 0:
            return self.files / "ort.onnx"
        name = f"tp-{pick['ratio']}-{pick['round_to']}"
        small = self.small(pick["ratio"], pick["round_to"])
        if self.args.epochs:
            fit(
                small, self.task, Training(epochs=self.args.epochs, lr=self.args.lr, seed=self.args.seed),
                teacher=copy.deepcopy(self.model),
                progress=lambda e: print(f"  {name}: {e}", flush=True) if e.score is not None else None,
                checkpoints=Checkpoints(self.files / f"{name}.checkpoint.safetensors"),
            )  # fmt: skip
        fp32 = tools.export(small, self.shape, self.files / f"{name}.onnx")
        return fp32 if pick["deploy"] == "fp32" else tools.ort_int8(fp32, self.images, self.files / f"{name}-int8.onnx")

    def netsmith(self, budget: str) -> tuple[Path | None, str]:
        folder = folder_of(self.args.runs, self.args.model, budget, self.args.epochs, self.args.seed)
        summary = folder / "summary.json"
        if not summary.is_file():
            return None, "not met" if (folder / "outcome.json").is_file() else "not run"
        met = all(b["met"] for b in json.loads(summary.read_text())["budgets"])
        return folder / "model.onnx", "met" if met else "not met"


def main() -> None:
    options = common.parser(__doc__ or "")
    options.add_argument("--model", default="cifar_resnet56", choices=["cifar_resnet56", "cifar_resnet20", "digits"])
    options.add_argument("--weights", help="fine-tuned baseline; default is the pretrained network as it is")
    options.add_argument("--budgets", nargs="+", default=["0.4x", "0.25x", "0.15x"])
    options.add_argument("--ratios", nargs="+", type=float, default=RATIOS)
    options.add_argument("--epochs", type=int, default=3)
    options.add_argument("--lr", type=float, default=0.03)
    options.add_argument("--runs", type=Path, default=common.ROOT / "runs", help="--runs of cifar_curve.py")
    options.add_argument("--importance", choices=["magnitude", "bnscale"], default="magnitude")
    options.add_argument("--whole", action="store_true", help="rank all channels together, not layer by layer")
    options.add_argument("--nncf-python", default=sys.executable, help="interpreter of an environment with nncf")
    args = options.parse_args()
    bench = Bench(args)
    store, task = bench.store, bench.task
    who = {"weights": bench.settings["weights"], "nncf": Path(args.nncf_python).parent.parent.name}
    as_given = store.cell("unpruned", who, bench.unpruned)
    files, nncf = {k: Path(v) for k, v in as_given["files"].items()}, as_given["nncf"]
    how = dict.fromkeys(files, "")
    grid = {"ratios": args.ratios, "importance": args.importance, "whole": args.whole}
    speeds = store.cell("speeds", bench.settings | grid, bench.speeds)
    for budget in args.budgets:
        pick = bench.pick(speeds, float(budget.rstrip("x")))
        key = f"tuned {pick['ratio']} {pick['round_to']} {pick['deploy']}"
        settings = bench.settings | grid | {k: pick[k] for k in ("ratio", "round_to", "deploy")}
        path = store.cell(key, settings, lambda p=pick: bench.tuned(p))
        label = f"{budget}: Torch-Pruning {pick['ratio']:g}, {pick['deploy']}"
        files[label], how[label] = Path(path), "met" if pick["reached"] else "not reached, the fastest"
        ours, state = bench.netsmith(budget)
        label = f"{budget}: netsmith"
        how[label] = state
        if ours is not None:
            files[label] = ours
    digests = {k: common.digest(v) for k, v in files.items()}
    timed = store.cell("timing", digests, lambda: common.time_interleaved(files, args.threads, args.seconds))
    from netsmith.accuracy.onnx_score import onnx_score

    rows = []
    for label, state in how.items():
        if label not in files:
            rows.append([label, state, "", "", "", ""])
            continue
        run = lambda p=files[label]: onnx_score(p, task, task.test)  # noqa: E731
        score = store.cell(f"accuracy {label}", digests[label], run)
        t = timed[label]
        rows.append([label, state, percent(score), common.ms_text(t), common.ratio_text(t), f"{t['bytes'] / 1e3:.0f}"])
    ranking = "one ranking of all channels" if args.whole else "one ratio for all layers"
    notes = [
        f"Baseline: {NETWORKS[args.model].spec}, {common.digest(bench.weights)}. Pruned networks of both sides: "
        f"fine-tuned by netsmith.training.fit for {args.epochs} epochs, learning rate {args.lr}, taught by the "
        f"baseline, seed {args.seed}.",
        f"Torch-Pruning: MagnitudePruner, {ranking}, importance {args.importance}; of the ratios 0 and {args.ratios}, "
        "rounded to 8 channels or not, the one that prunes least of those whose better form (fp32 or int8) meets the "
        "budget when measured. Ratio 0 is int8 alone, not fine-tuned; networks of netsmith in which nothing was pruned "
        "are not fine-tuned either.",
        f"ONNX Runtime int8: QDQ, u8 activations, s8 weights per channel, MinMax on {IMAGES} search images, after "
        f"quant_pre_process except where said. NNCF: {nncf}, ONNX backend, the same images.",
        "Accuracy: the ONNX file run on the test split. Budget: as met in the search, before the final session.",
        common.timing_note(timed),
    ]
    if bench.spare:
        notes[1] += (
            " With no layer ignored but the classifier the pruned network fails "
            f"({bench.why}), so all layers that write to shortcuts are ignored too."
        )
    head = ["network", "budget", "test accuracy", "time, ms", "time / baseline", "kB"]
    store.fragment(f"Against today's tools: {args.model}", table(head, rows), args.threads, notes)


if __name__ == "__main__":
    main()
