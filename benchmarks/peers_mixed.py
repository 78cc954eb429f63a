"""Mixed precision beside ModelOpt's ``auto_quantize`` and Sony's MCT, at equal bytes of weights. Some minutes a budget.

Each peer runs in an interpreter of its own (``peers_mixed_tools.py`` says how to make one); netsmith then gets as many
bytes of weights as the peer used, 8-bit activations where nothing says otherwise, and no training either.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import common
from common import NETWORKS, Store, percent, table


def peer(args: Any, tool: str, python: str, bits: float) -> dict[str, Any]:
    """What a peer says of one budget of mean weight bits."""
    network = NETWORKS[args.network]
    request = {
        "tool": tool, "network": args.network, "weights": str(Path(args.weights or network.weights_file).resolve()),
        "data": network.data, "bits": bits, "check_float": False,
    }  # fmt: skip
    command = [python, "-W", "ignore", str(Path(__file__).with_name("peers_mixed_tools.py")), json.dumps(request)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode:
        sys.exit(f"{tool} failed: {ran.stderr.strip()[-500:]}")
    answer: dict[str, Any] = json.loads(ran.stdout.strip().splitlines()[-1])
    return answer


def ours(args: Any, weight_bytes: float, folder: Path) -> dict[str, Any]:
    """``compress`` with as many bytes of weights; what else a file stores comes on top for every tool."""
    from netsmith.decisions.given import GivenSpace
    from netsmith.hardware.target import get_target
    from netsmith.jobs.config import Quantize
    from netsmith.jobs.subject import load_subject

    network = NETWORKS[args.network]
    weights = args.weights or network.weights_file
    subject = load_subject(network.spec, network.data, get_target(args.target), weights=weights, methods=(Quantize(),))
    space: GivenSpace = subject.space
    from netsmith.decisions.pricing import Pricing

    most = float(Pricing(space, get_target(args.target)).predict(space.reference, "size")[0])
    frame = most - float(space.table.weights.sum())
    start = time.perf_counter()
    outcome = common.run_compress(
        folder, model=network.spec, data=network.data, weights=weights, target=args.target, methods="quantize",
        size=f"{(weight_bytes + frame) / 1e3:.4f}KB", epochs=0, seed=args.seed,
    )  # fmt: skip
    summary = outcome["summary"]
    bits = {row["name"]: row["choice"]["bits"] for row in summary["layers"]}
    rows = dict(zip(space.table.names, space.table.weights.tolist(), strict=True))
    return {
        "accuracy": summary["result"]["accuracy"], "seconds": time.perf_counter() - start,
        "weight_bytes": sum(rows[n] * b / 8 for n, b in bits.items()), "file": summary["result"]["size_bytes"],
        "baseline": summary["baseline"]["accuracy"],
    }  # fmt: skip


def main() -> None:
    options = common.parser(__doc__ or "")
    options.add_argument("--network", default="cifar_resnet20", choices=["cifar_resnet20", "cifar_resnet56"])
    options.add_argument("--weights", help="fine-tuned baseline")
    options.add_argument("--modelopt", metavar="PYTHON", help="interpreter with nvidia-modelopt")
    options.add_argument("--mct", metavar="PYTHON", help="interpreter with model-compression-toolkit")
    options.add_argument("--bits", nargs="+", type=float, default=[6.0, 4.0, 3.0], help="mean bits of a weight")
    options.add_argument("--target", default="bismo-edge", help="a target with widths of 2 to 8 bits")
    options.add_argument("--runs", type=Path, default=common.ROOT / "runs")
    args = options.parse_args()
    store = Store(args.results, f"peers_mixed-{args.network}")
    source = common.digest(args.weights or NETWORKS[args.network].weights_file)
    rows: list[list[Any]] = []
    given = None
    for tool, python in (("modelopt", args.modelopt), ("mct", args.mct)):
        for bits in args.bits:
            key = f"{tool} {bits:g}"
            settings = {"weights": source}
            if python is None and key not in store.cells:
                continue
            a = store.cell(key, settings, lambda t=tool, p=python, b=bits: peer(args, t, p, b))
            folder = args.runs / f"peers-{args.network}-{tool}-{bits:g}"
            b = store.cell(
                f"netsmith for {key}", settings | {"bytes": a["weight_bytes"]},
                lambda a=a, f=folder: ours(args, a["weight_bytes"], f),
            )  # fmt: skip
            given = b["baseline"]
            for name, side, lines in ((f"{a['tool']} {a['version']}", a, a["lines"]), ("netsmith", b, 1)):
                rows.append([
                    f"{bits:g}", name, f"{side['weight_bytes'] / 1e3:.1f}", percent(side["accuracy"]),
                    f"{100 * (side['accuracy'] - given):+.2f}", f"{side['seconds']:.0f}", lines,
                ])  # fmt: skip
    head = [
        "mean bits asked of the peer",
        "tool",
        "weights, kB",
        "test accuracy",
        "points",
        "seconds",
        "lines of user code",
    ]
    notes = [
        f"As given: {percent(given)}. No training on any side; 8-bit activations (a peer may leave layers in floats); "
        "the same calibration images. Bytes are those of the weights' bits, without scales, biases and names; in each "
        "pair netsmith may use no more than the peer did.",
        "Seconds of the whole job, of netsmith with export, checks and both looks at the test split; one thread, not "
        "alone on the machine. Lines: of the function that calls the peer; of netsmith the one command.",
    ]  # fmt: skip
    store.fragment(f"Mixed precision beside other tools: {args.network}", table(head, rows), args.threads, notes)


if __name__ == "__main__":
    main()
