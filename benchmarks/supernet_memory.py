"""Memory and time of a search among all paths: one path at a time against a plain network, and against all at once.

About ten minutes on one core. Every row is a fresh process that first makes the networks and the batch and runs one
small step of the same kind, so that what the libraries themselves take is there before anything is counted.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import common
import numpy as np
from common import Store, table

#: kernels and expansions of each block with 2 and 7 candidates (the seventh is the skipped block)
CANDIDATES = {2: ((3,), (3, 6)), 7: ((3, 5, 7), (3, 6))}
KINDS = {
    "plain": "a weight step of the plain network",
    "weights": "a weight step of one path",
    "recompute": "an architecture step, `recompute`",
    "two": "an architecture step, `two`",
    "full": "an architecture step, `full`: all paths at once, as in DARTS",
}


def step_of(kind: str, candidates: int, batch: int, seed: int) -> tuple[Callable[[int], None], float]:
    """A step on so many of the images, and MB of the weights that its network has."""
    import torch
    from torch.nn import functional as F

    from netsmith.supernets import SuperNet, load_space
    from netsmith.supernets.supernet import Gates
    from netsmith.systems.proxylessnas import draw_pairs
    from netsmith.training.modes import frozen_statistics

    torch.set_num_threads(1)
    space = load_space("mobile-small")
    kernels, expansions = CANDIDATES[candidates]
    stages = [replace(s, kernels=kernels, expansions=expansions, skip=s.skip and candidates == 7) for s in space.stages]
    space = replace(space, stages=(space.stages[0], *stages[1:]))
    network = SuperNet(space, 10, seed=seed).train()
    path = space.reference  # k3e6 everywhere: every row runs the same blocks
    model = network.extract(path) if kind == "plain" else network
    weights = sum(p.numel() for p in model.parameters()) * 4 / 1e6
    if kind == "plain":
        del network
    torch.manual_seed(seed)
    images, labels = torch.randn(batch, 3, 32, 32), torch.arange(batch) % 10
    images = images.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9, nesterov=True, foreach=True)
    rng = np.random.default_rng(seed)
    if kind == "weights":
        model.path = path  # type: ignore[assignment]

    def weight_step(n: int) -> None:
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(model(images[:n]), labels[:n]).backward()
        optimizer.step()

    def path_step(n: int) -> None:
        assert isinstance(model, SuperNet)
        pairs = None
        if kind == "two":
            pairs = draw_pairs(model.shares(), model.there.numpy(), rng)
            pairs[:, 1] = np.where(pairs[:, 0] == path, pairs[:, 1], pairs[:, 0])
            pairs[:, 0] = path
        gates = model.one_hot(path)
        model.gates = Gates(gates, "full" if kind == "full" else "two" if kind == "two" else "recompute", pairs)
        with frozen_statistics(model):
            torch.autograd.grad(F.cross_entropy(model(images[:n]), labels[:n]), [gates])
        model.gates = None

    return weight_step if kind in ("plain", "weights") else path_step, weights


def measure(kind: str, candidates: int, batch: int, steps: int, seed: int) -> dict[str, Any]:
    """Peak memory above what stood before the steps, MB, and seconds of every step but the first two."""
    step, weights = step_of(kind, candidates, batch, seed)
    step(2)
    before = resident()
    seconds = []
    for _ in range(steps + 2):
        start = time.perf_counter()
        step(batch)
        seconds.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    low, median, high = np.percentile(seconds[2:], [25, 50, 75])
    return {"peak_mb": peak - before, "weights_mb": weights, "seconds": median, "iqr": high - low, "steps": steps}


def resident() -> float:
    """MB that this process holds."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def apart(kind: str, candidates: int, args: Any) -> dict[str, Any]:
    """``measure`` in a process of its own."""
    words = ["--one", kind, str(candidates), "--batch", str(args.batch), "--steps", str(args.steps)]
    done = subprocess.run(
        [sys.executable, __file__, *words, "--seed", str(args.seed)], stdout=subprocess.PIPE, text=True, check=True
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    options = common.parser(__doc__ or "")
    options.add_argument("--batch", type=int, default=128)
    options.add_argument("--steps", type=int, default=12, help="timed steps of each row")
    options.add_argument("--one", nargs=2, metavar=("KIND", "K"), help="measure one row in this process, print JSON")
    args = options.parse_args()
    if args.one:
        print(json.dumps(measure(args.one[0], int(args.one[1]), args.batch, args.steps, args.seed)))
        return
    store, found = Store(args.results, "supernet_memory"), {}
    for k in CANDIDATES:
        for kind in KINDS:
            settings = {"batch": args.batch, "steps": args.steps, "seed": args.seed}
            found[kind, k] = store.cell(f"{kind} {k}", settings, lambda a=kind, b=k: apart(a, b, args))
    rows = []
    for (kind, k), r in found.items():
        plain = found["plain", k]
        rows.append([
            KINDS[kind], k, f"{r['weights_mb']:.1f}", f"{r['peak_mb']:.0f}", f"{r['peak_mb'] / plain['peak_mb']:.2f}",
            f"{1e3 * r['seconds']:.0f} ± {500 * r['iqr']:.0f}", f"{r['seconds'] / plain['seconds']:.2f}",
        ])  # fmt: skip
    head = ["step", "candidates", "weights, MB", "peak memory, MB", "to plain", "ms", "to plain"]
    grows = {m: found[m, 7]["peak_mb"] / found[m, 2]["peak_mb"] for m in ("recompute", "two", "full")}
    notes = [
        f"Space mobile-small, {args.batch} images of 32x32 a step, PyTorch in float32; in every row MobileNetV2's "
        "blocks (kernel 3, expansion 6) run. 7 candidates: kernels 3, 5 and 7, expansions 3 and 6, and none at all.",
        "Peak memory: peak resident memory of a fresh process (ru_maxrss) less what it held before the first step of "
        "this batch; networks, batch, momentum and libraries were there by then. Times: median of "
        f"{args.steps} steps ± half the interquartile range.",
        "From 2 to 7 candidates peak memory grows to " + ", ".join(f"{g:.2f} times ({m})" for m, g in grows.items())
        + ".",
    ]  # fmt: skip
    store.fragment("Memory of a search among all paths", table(head, rows), 1, notes)


if __name__ == "__main__":
    main()
