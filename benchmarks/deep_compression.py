"""Sparse and shared weights with Huffman codes (Deep Compression) against shared weights alone, to budgets of bytes.

Every cell is a job of compress, and a killed one goes on. Half an hour a cell of ResNet-56 on one core.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import common
import numpy as np
from common import NETWORKS, Store, percent, run_compress, table

from netsmith.export.packed import SparseTensor, read_packed, write_packed

METHODS = ("share", "sparsify,share")


def measured(folder: Path, options: dict[str, Any]) -> dict[str, Any]:
    """What a job came to: accuracies on the test split, and its file with each of the methods less."""
    outcome = run_compress(folder, **options)
    if "infeasible" in outcome:
        return outcome
    summary, tensors = outcome["summary"], read_packed(folder / "model.nsw")
    sparse = {name: t for name, t in tensors.items() if isinstance(t, SparseTensor)}
    kept, weights = sum(len(t.positions) for t in sparse.values()), sum(np.prod(t.shape) for t in sparse.values())
    floats = {n: t if isinstance(t, np.ndarray) else t.decode() for n, t in tensors.items()}
    pruned = floats | {n: SparseTensor(t.decode(), t.positions) for n, t in sparse.items()}
    return {
        "given": summary["baseline"]["accuracy"], "accuracy": summary["result"]["accuracy"],
        "search": [summary["search_accuracy_untuned"], summary["result"]["search_accuracy"]],
        "given_bytes": summary["baseline"]["size_bytes"], "bytes": summary["result"]["size_bytes"],
        "pruned_bytes": write_packed(None, pruned) if sparse else None, "shared_bytes": write_packed(None, tensors),
        "kept": int(kept), "of": int(weights), "dense": summary["result"]["params"] - int(weights),
        "densities": sorted(v for n, v in summary["design"].items() if n.endswith(".density")),
        "bits": summary["result"]["mean_bits"]["weights"], "seconds": outcome["seconds"],
    }  # fmt: skip


def row(name: str, methods: str, size: str, epochs: int, cell: dict[str, Any]) -> list[Any]:
    if "infeasible" in cell:
        return [name, methods, size, "cannot be met"]
    given = cell["given_bytes"]

    def smaller(count: int | None) -> str:
        return "" if count is None else f"{count / 1e3:.1f} ({given / count:.1f} ×)"

    density = f"{100 * cell['kept'] / cell['of']:.0f} %" if cell["of"] else ""
    return [
        name, methods, size, smaller(cell["pruned_bytes"]), smaller(cell["shared_bytes"]), smaller(cell["bytes"]),
        density, f"{cell['bits']:.1f}", epochs * (1 + (methods == "sparsify,share")), percent(cell["accuracy"]),
        f"{100 * (cell['given'] - cell['accuracy']):.2f}",
    ]  # fmt: skip


def main() -> None:
    options = common.parser(__doc__ or "")
    options.add_argument("--models", nargs="+", default=["cifar_resnet56"], choices=list(NETWORKS))
    options.add_argument("--weights", nargs="*", default=[], metavar="NETWORK=FILE", help="fine-tuned baselines")
    options.add_argument("--sizes", nargs="+", default=["0.1x", "0.06x"], help="budgets, before Huffman codes")
    options.add_argument("--methods", nargs="+", default=list(METHODS))
    options.add_argument("--epochs", type=int, default=3, help="of each training")
    options.add_argument("--train-limit", type=int, help="train on this many images only")
    options.add_argument("--search-size", type=int, help="images held out of train to decide on")
    options.add_argument("--evaluations", type=int, default=16, help="whole designs that are run, a job")
    options.add_argument(
        "--runs", type=Path, default=common.ROOT / "runs/deep_compression", help="folder of run folders"
    )
    args = options.parse_args()
    store, rows = Store(args.results, "deep_compression"), []
    for name in args.models:
        network = NETWORKS[name]
        weights = common.weights_of(name, common.named(args.weights).get(name), args.results, args.seed)
        for size in args.sizes:
            for methods in args.methods:
                job = {
                    "model": network.spec, "data": network.data, "weights": weights, "target": "roofline-gpu",
                    "methods": methods, "size": size, "huffman": True, "epochs": args.epochs, "seed": args.seed,
                    "train_limit": args.train_limit, "search_size": args.search_size,
                    "evaluations": args.evaluations,
                }  # fmt: skip
                folder = args.runs / f"{name}-{methods.replace(',', '-')}-{size}"
                settings = job | {"weights": common.digest(weights), "data": network.dataset}
                cell = store.cell(f"{name} {methods} {size}", settings, lambda f=folder, j=job: measured(f, j))
                rows.append(row(name, methods, size, args.epochs, cell))
    head = ["network", "methods", "budget", "kB pruned", "and shared", "and coded", "numbers kept", "bits of an index",
            "epochs", "top-1", "drop, points"]  # fmt: skip
    notes = [
        "kB: the packed file with norms, biases, names, positions and codebooks, and in brackets how many times "
        "smaller than in floats; pruned alone: the same numbers as floats. 1 kB is 1000 bytes. The search keeps the "
        "budget before coding.",
        f"Exact search, {args.evaluations} designs run on the search split. {args.epochs} epochs of training of what "
        "stays, where numbers go and values are shared, and as many of the shared values, distilled from the network "
        f"as given, on {args.train_limit or 'all'} images: a job that does both trains twice as long. The test split "
        "was looked at once a cell.",
        "Deep Compression (Han et al., ICLR 2016, figure 1) reports 9 to 13 times for pruning alone, 27 to 31 times "
        "with sharing and 35 to 49 times with Huffman codes, on LeNet, AlexNet and VGG-16, most of whose weights are "
        "in fully connected layers; a residual network has none to speak of.",
    ]
    store.fragment("Sparse and shared weights", table(head, rows), args.threads, notes)


if __name__ == "__main__":
    main()
