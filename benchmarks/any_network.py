"""Any network: one matrix over many architectures, from trace to a smaller int8 ONNX model that computes the same.

For each network, with random weights: trace and layer table, channel groups, pruning to 0.7 of its multiply-accumulates
(as counted by a trace of the pruned network), ONNX of the pruned network and its parity, int8 of every quantizable
layer, its ONNX, whether ONNX Runtime fused each integer layer, its parity with the fake-quantized network, and a replay
of the recipe on a fresh network. Nothing is trained: this is about whether it works, not about accuracy.

    python benchmarks/any_network.py --json any_network.json --out any_network.md

The JSON file is written after each network and networks that are in it are skipped, so a run that was killed goes on.
Needs timm, and torchvision for the networks that start with ``torchvision:``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

#: spec -> side of the square input; small sides keep the matrix short, 224 (or other) is what a network insists on
NETWORKS = {
    "timm:resnet18": 128, "timm:resnet26d": 128, "timm:seresnet18": 128, "timm:skresnet18": 128, "timm:vgg11_bn": 128,
    "torchvision:googlenet": 128, "timm:mobilenetv1_100": 128, "timm:mobilenetv2_100": 128,
    "timm:mobilenetv3_small_100": 128, "timm:mobilenetv3_large_100": 128, "timm:mobilenetv4_conv_small": 128,
    "timm:efficientnet_b0": 128, "timm:tf_efficientnetv2_b0": 128, "timm:mnasnet_100": 128, "timm:ghostnet_100": 128,
    "torchvision:shufflenet_v2_x1_0": 128, "torchvision:squeezenet1_1": 128, "timm:regnetx_002": 128,
    "timm:regnety_002": 128, "timm:convnext_atto": 128, "timm:convnextv2_atto": 128, "timm:vit_tiny_patch16_224": 224,
    "timm:deit_tiny_distilled_patch16_224": 224, "timm:mobilevit_xxs": 128, "timm:mobilevitv2_050": 128,
    "timm:poolformer_s12": 128, "timm:mixer_s32_224": 224, "timm:resmlp_12_224": 224, "timm:selecsls42b": 128,
    "timm:dla34": 128, "timm:dla46_c": 128, "timm:repvgg_a0": 128, "timm:fbnetc_100": 128, "timm:lcnet_050": 128,
    "timm:tinynet_e": 128, "timm:coat_lite_tiny": 224, "timm:levit_128s": 224, "timm:edgenext_xx_small": 128,
    "timm:efficientformer_l1": 224, "timm:fastvit_t8": 128, "timm:inception_next_atto": 128,
    "timm:ese_vovnet19b_dw": 128, "timm:rexnet_100": 128, "timm:efficientvit_b0": 128, "timm:repvit_m0_9": 128,
    "timm:starnet_s1": 128, "timm:hardcorenas_a": 128, "timm:pit_ti_224": 224, "timm:pvt_v2_b0": 224,
    "timm:resnext50_32x4d": 96, "timm:wide_resnet50_2": 96, "timm:resnetv2_50": 96, "timm:res2net50_26w_4s": 96,
    "timm:densenet121": 96, "timm:inception_v3": 160, "timm:swin_tiny_patch4_window7_224": 224, "timm:xception41": 96,
    "timm:hrnet_w18_small": 128, "timm:cspresnet50": 96, "timm:mixnet_s": 128,
}  # fmt: skip
BUDGET = 0.7  # of the multiply-accumulates
FLOAT_TOLERANCE, INT8_TOLERANCE = 1e-3, 0.1
STEPS = ("trace", "groups", "prune", "onnx", "int8", "replay")
BATCH = 4
HANGS = 20  # times its limit of processor time, in real time: then a network sleeps for ever


# --- the worker: one network ----------------------------------------------------------------------------------------


def build(spec: str, seed: int) -> Any:
    """A network with random weights; every constant of its initialisation is shaken, so that no branch is mute."""
    import torch

    source, _, name = spec.partition(":")
    torch.manual_seed(seed)
    if source == "timm":
        import timm

        model = timm.create_model(name, pretrained=False)
    else:
        import torchvision

        extra = {"aux_logits": False, "init_weights": True} if name == "googlenet" else {}
        model = torchvision.models.get_model(name, weights=None, **extra)
    with torch.no_grad():
        for key, p in model.named_parameters():
            if p.dim() >= 2 and float(p.std()) > 0.01:
                continue
            if p.dim() >= 2 and not key.endswith("weight"):
                p.normal_(0, 0.1)
            elif p.dim() >= 2:
                p.normal_(0, (1.0 / p[0].numel()) ** 0.5)
            else:
                p.copy_(
                    torch.randn_like(p) * 0.1 if key.endswith("bias") else 1 + 0.2 * torch.randn_like(p).clamp(-2, 2)
                )
    return model.eval()


def warm(model: Any, images: Any) -> None:
    """Batch-norm statistics of the images, so that the signal keeps its size on its way through the network."""
    import torch

    norms = [m for m in model.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    for m in norms:
        m.train()
        m.momentum = 0.9
    with torch.no_grad():
        model(images)
    model.eval()


class Worker:
    """The steps of one network; each adds to ``record`` and raises what netsmith raises."""

    def __init__(self, spec: str, side: int) -> None:
        import torch

        self.spec, self.shape = spec, (3, side, side)
        self.images = torch.randn(2 * BATCH, *self.shape, generator=torch.Generator().manual_seed(1))
        self.model = build(spec, 0)
        warm(self.model, self.images)
        self.record: dict[str, Any] = {"network": spec, "input": side}
        self.slimmed: Any = None

    def trace(self) -> None:
        from netsmith.network.graph import trace

        self.graph = trace(self.model, self.shape)
        table = self.graph.layers
        self.record |= {
            "layers": int(table.is_compute.sum()), "macs": int(table.macs.sum()),
            "params": sum(p.numel() for p in self.model.parameters()), "dynamic_batch": self.graph.dynamic_batch,
        }  # fmt: skip

    def groups(self) -> None:
        import torch

        from netsmith.compression.groups import find_groups

        self.report = find_groups(self.model, torch.zeros(2, *self.shape))
        self.record |= {
            "groups": len(self.report.groups), "frozen": len(self.report.frozen), "weighty": len(self.report.counts),
            "reasons": dict(list(self.report.frozen.items())[:40]),
        }  # fmt: skip

    def prune(self) -> None:
        """Uniform widths first, the widest that keep the budget; where they do not suffice, branches go too."""
        import torch

        from netsmith.compression.branches import find_branches
        from netsmith.compression.importance import channel_importance
        from netsmith.decisions.branches import Branches
        from netsmith.decisions.channels import Channels
        from netsmith.decisions.given import GivenSpace
        from netsmith.decisions.slim import slim
        from netsmith.decisions.tools import AtHand
        from netsmith.errors import InputError
        from netsmith.network.graph import trace

        scores = channel_importance(self.model, self.report, "l2")
        limit = BUDGET * self.record["macs"]
        best = self.record["macs"]
        for with_branches in (False, True):
            branches = find_branches(self.model, torch.zeros(2, *self.shape)) if with_branches else []
            kinds = (Channels(self.graph, self.report, multiple=4), Branches(self.graph, branches))
            space = GivenSpace(self.graph, kinds)
            for design in _designs(space):
                predicted = int(space.rows(design).macs.sum())
                if predicted > limit:
                    continue
                slimmed = slim(self.model, space, design, AtHand(scores))
                graph = trace(slimmed.model, self.shape)
                macs = int(graph.layers.macs.sum())
                best = min(best, macs)
                if macs > limit:
                    continue
                self.slimmed, self.graph = slimmed, graph
                self.record |= {
                    "macs_pruned": macs, "macs_predicted": predicted,
                    "dropped": int((design[space.of_stage("topology")] < 1).sum()),
                    "params_pruned": sum(p.numel() for p in slimmed.model.parameters()),
                }  # fmt: skip
                return
        raise InputError(
            f"no design reaches {BUDGET} of the MACs; the smallest tried has {best / self.record['macs']:.2f}"
        )

    def onnx(self) -> None:
        """The smaller network (the whole one if pruning failed) as ONNX: the same outputs. ``graph`` is its trace."""
        from netsmith.export.onnx import to_onnx
        from netsmith.export.parity import check_parity

        model = to_onnx(self.graph)
        batch = None if self.graph.dynamic_batch else self.graph.example_batch
        parity = check_parity(
            self.small, model.SerializeToString(), self.images, tolerance=FLOAT_TOLERANCE, batch=batch
        )
        self.record["float_error"] = parity.relative_error
        _require(parity.ok, f"ONNX differs from the network by {parity.relative_error:.2g}")

    def int8(self) -> None:
        """Every quantizable layer in int8: fused by the runtime, and the same outputs as the fake-quantized network."""
        import torch

        from netsmith.compression.build import integerise
        from netsmith.compression.placement import quantizable
        from netsmith.errors import InputError
        from netsmith.export.fusion import check_fusion
        from netsmith.export.onnx import to_onnx
        from netsmith.export.parity import check_parity

        layers = dict.fromkeys(quantizable(self.graph), (8, 8))
        graph, quantized = integerise(self.small, self.shape, layers, self.images, "minmax", batch=BATCH)
        assert quantized is not None
        model = to_onnx(quantized.graph, quantized.weight_scales)
        fusion = check_fusion(model, layers)
        batch = None if graph.dynamic_batch else graph.example_batch
        parity = check_parity(
            quantized.graph.module, model.SerializeToString(), self.images, tolerance=INT8_TOLERANCE, batch=batch
        )
        self.record |= {
            "int8": len(layers), "fused": fusion.fused, "operators": fusion.operators,
            "int8_error": parity.relative_error,
        }  # fmt: skip
        _require(fusion.complete, f"{fusion.fused} of {len(layers)} int8 layers run on integers")
        if not parity.ok:
            # random weights can make a network chaotic: then a rounding anywhere moves its output
            with torch.inference_mode():
                want, near = (quantized.graph.module(x) for x in (self.images[:2], self.images[:2] * (1 + 1e-6)))
            noise = float((near - want).square().mean().sqrt() / want.std())
            raise InputError(
                f"int8 ONNX differs from the fake-quantized network by {parity.relative_error:.2g}; "
                f"that network itself moves by {noise:.2g} for an input scaled by 1 + 1e-6"
            )

    def replay(self) -> None:
        """The recipe, from its JSON, makes the same network of a fresh one."""
        import torch

        from netsmith.compression.recipe import Recipe, apply_recipe

        _require(self.slimmed is not None, "there is no recipe: pruning failed")
        fresh = apply_recipe(build(self.spec, 5), Recipe.from_json(self.slimmed.recipe.to_json()))
        fresh.load_state_dict(self.slimmed.model.state_dict())
        with torch.inference_mode():
            equal = torch.equal(fresh(self.images[:2]), self.slimmed.model(self.images[:2]))
        _require(equal, "the replayed network computes something else")

    @property
    def small(self) -> Any:
        return self.slimmed.model if self.slimmed is not None else self.model


def _require(condition: bool, otherwise: str) -> None:
    from netsmith.errors import InputError

    if not condition:
        raise InputError(otherwise)


def _designs(space: Any) -> Iterator[Any]:
    """Designs from large to small: all groups at the same eighth, at each eighth the branches dropped one by one."""
    import numpy as np

    wide, deep = (np.flatnonzero(space.of_stage(stage)) for stage in ("structure", "topology"))
    full = space.values[wide, space.reference[wide]]
    for eighth in range(7, 0, -1):
        design = space.reference.copy()
        if len(wide):
            ratio = space.values[wide] / full[:, None]
            ratio = np.where(np.arange(ratio.shape[1]) < space.decisions.sizes[wide, None], ratio, np.inf)
            design[wide] = np.abs(ratio - eighth / 8).argmin(axis=1)
        if not len(deep):
            yield design
        order = [*deep[1::2], *deep[::2]]  # every second one first: what is left then still has depth in each stage
        for n in range(len(deep)):
            thinner = design.copy()
            thinner[order[: n + 1]] = 0
            yield thinner


def work(spec: str, limit_s: float) -> dict[str, Any]:
    """All steps of one network. An exception that is no InputError is noted as a traceback: there must be none."""
    from time import process_time

    from netsmith.errors import InputError

    failures: dict[str, str] = {}
    seconds: dict[str, float] = {}
    tracebacks = []
    _say({"network": spec, "step": "build"})
    # processor time, so that a busy machine fails nobody; the signal ends the process, which the parent notices
    signal.setitimer(signal.ITIMER_PROF, limit_s)
    worker = Worker(spec, NETWORKS[spec])
    for step in STEPS:
        _say({"network": spec, "step": step})
        start = process_time()
        try:
            getattr(worker, step)()
        except InputError as error:
            failures[step] = str(error)
        except Exception as error:
            import traceback

            failures[step] = f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0][:200]}"
            tracebacks.append("".join(traceback.format_exception(error)[-6:]))
        seconds[step] = round(process_time() - start, 2)
        if step in ("trace", "groups") and step in failures:
            break
    return worker.record | {"failures": failures, "seconds": seconds, "tracebacks": tracebacks, "done": True}


def _say(message: dict[str, Any]) -> None:
    sys.__stdout__.write(json.dumps(message) + "\n")  # type: ignore[union-attr]
    sys.__stdout__.flush()  # type: ignore[union-attr]


def serve(specs: Sequence[str], limit_s: float) -> None:
    """A worker process: one line of JSON a step and a network."""
    import torch

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    from torchvision_shim import torchvision_works

    torchvision_works()  # timm imports it too
    for spec in specs:
        _say(work(spec, limit_s))


# --- the parent: processes, time limits, results ----------------------------------------------------------------------


def run_batch(specs: list[str], limit_s: float) -> Iterator[dict[str, Any]]:
    """Yield the record of each network; one that hangs or kills its process becomes a failed record."""
    left = list(specs)
    while left:
        command = [sys.executable, str(Path(__file__).resolve()), "--timeout", str(limit_s), "--worker", *left]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        step, late = "start", threading.Event()

        def stop(process: subprocess.Popen[str] = process, late: threading.Event = late) -> None:
            late.set()
            process.kill()

        timer = threading.Timer(HANGS * limit_s, stop)
        timer.start()
        assert process.stdout is not None
        for line in process.stdout:
            if not line.startswith("{"):
                continue
            message = json.loads(line)
            step = message.get("step", step)
            if message.get("done"):
                timer.cancel()
                left.remove(message["network"])
                yield message
                timer = threading.Timer(HANGS * limit_s, stop)
                timer.start()
        timer.cancel()
        code = process.wait()
        if left and (late.is_set() or code != 0):
            slow = late.is_set() or code == -signal.SIGPROF
            reason = f"took longer than {limit_s:.0f} s" if slow else f"its process ended with code {code}"
            spec = left.pop(0)
            yield {
                "network": spec,
                "input": NETWORKS[spec],
                "failures": {step: reason},
                "seconds": {},
                "tracebacks": [],
            }


def environment() -> dict[str, str]:
    from importlib.metadata import version

    names = ("torch", "onnxruntime", "onnx", "torch-pruning", "timm", "torchvision")
    return {"python": platform.python_version()} | {n: version(n) for n in names}


def markdown(records: Sequence[dict[str, Any]], versions: dict[str, str]) -> str:
    """The matrix and its totals as a fragment for the benchmarks page."""
    lines = [
        "| network | input | layers | MMACs | pruned | groups | frozen | branches dropped | float ONNX error "
        "| int8 fused | int8 ONNX error | replay | seconds |",
        "| --- | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: | :-: | --: |",
    ]
    for r in records:
        f, macs = r["failures"], r.get("macs", 0)
        small = r.get("macs_pruned")

        def mark(step: str, text: str, f: dict[str, str] = f) -> str:
            return f"**{text}**" if step in f else text

        cells = [
            r["network"], str(r["input"]), str(r.get("layers", "")),
            f"{macs / 1e6:.0f}" if macs else mark("trace", "failed"),
            f"{small / macs:.2f}x" if small else "**failed**", str(r.get("groups", "")),
            f"{r['frozen']}/{r['weighty']}" if "frozen" in r else "", str(r.get("dropped", "")),
            mark("onnx", f"{r['float_error']:.0e}" if "float_error" in r else "failed"),
            mark("int8", f"{r['fused']}/{r['int8']}" if "fused" in r else "failed"),
            mark("int8", f"{r['int8_error']:.3f}" if "int8_error" in r else "failed"),
            "equal" if "replay" in r["seconds"] and "replay" not in f else "**failed**",
            f"{sum(r['seconds'].values()):.0f}",
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    n = len(records)
    passed = sum(not r["failures"] for r in records)
    per_step = ", ".join(f"{s} {sum(s in r['seconds'] and s not in r['failures'] for r in records)}/{n}" for s in STEPS)
    int8, fused = sum(r.get("int8", 0) for r in records), sum(min(r.get("fused", 0), r.get("int8", 0)) for r in records)
    lines += [
        "",
        f"{passed} of {n} networks pass every step ({per_step}); {fused} of {int8} int8 layers are fused; "
        f"{sum(len(r['tracebacks']) for r in records)} unexpected exceptions; "
        f"{sum(sum(r['seconds'].values()) for r in records):.0f} s of processor time on one thread. "
        f"Pruning: at most {BUDGET} of the MACs. "
        f"Float parity: {FLOAT_TOLERANCE:g}; int8 parity with the fake-quantized network: {INT8_TOLERANCE:g} "
        "(root mean square, relative). Random weights. " + ", ".join(f"{k} {v}" for k, v in versions.items()) + ".",
    ]
    failed = [(r["network"], s, reason) for r in records for s, reason in r["failures"].items()]
    if failed:
        lines += ["", "What fails:", ""]
        lines += [f"- {network}, {step}: {reason}" for network, step, reason in failed]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, help="results; networks that are in it are skipped")
    parser.add_argument("--out", type=Path, help="markdown fragment (default: standard output)")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="networks whose name contains NAME")
    parser.add_argument("--limit", type=int, help="the first N of the networks")
    parser.add_argument("--jobs", type=int, default=1, help="processes side by side")
    parser.add_argument("--timeout", type=float, default=600, help="processor seconds a network may take")
    parser.add_argument("--redo", action="store_true", help="run networks again that failed")
    parser.add_argument("--worker", nargs="+", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        serve(args.worker, args.timeout)
        return 0
    results: dict[str, Any] = {}
    if args.json and args.json.exists():
        results = json.loads(args.json.read_text(encoding="utf-8"))["networks"]
    names = [n for n in NETWORKS if not args.only or any(o in n for o in args.only)][: args.limit]
    if not names:
        parser.error("no network has that name; see NETWORKS in this file")
    todo = [n for n in names if n not in results or (args.redo and results[n]["failures"])]
    lock = threading.Lock()

    def run(batch: list[str]) -> None:
        for record in run_batch(batch, args.timeout):
            with lock:
                results[record["network"]] = record
                if args.json:
                    text = json.dumps({"environment": environment(), "networks": results}, indent=1)
                    temporary = args.json.with_suffix(f".{os.getpid()}.tmp")
                    temporary.write_text(text, encoding="utf-8")
                    os.replace(temporary, args.json)
                state = "; ".join(f"{k}: {v}" for k, v in record["failures"].items()) or "ok"
                print(f"{len(results)}/{len(names)} {record['network']} {sum(record['seconds'].values()):.0f}s {state}",
                      file=sys.stderr, flush=True)  # fmt: skip

    batches = [todo[i : i + 8] for i in range(0, len(todo), 8)]
    with ThreadPoolExecutor(args.jobs) as pool:
        list(pool.map(run, batches))
    records = [results[n] for n in names if n in results]
    text = markdown(records, environment())
    if args.out:
        args.out.write_text(text, encoding="utf-8")
    else:
        print(text)
    return 0 if all(not r["failures"] for r in records) else 1


if __name__ == "__main__":
    raise SystemExit(main())
