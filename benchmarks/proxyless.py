"""Networks found for several targets and budgets by ProxylessNAS, priced on all of them, and against MobileNetV2 with
width multipliers and random networks after equal training: CIFAR-10 (JPEG copy). Some twenty minutes a run, one core.

All runs of a seed share one warm-up, which depends on no target. What is found is measured on this machine and priced
on every other target. Every network, of every system and for every target, is trained alike and tested once.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import common
import numpy as np
from common import ROOT, Store, data_dir, table, time_interleaved
from contest import spread

SPACE = ROOT / "benchmarks/spaces/cifar.toml"
#: name -> target, the cost that has a budget, samples at a time
SPECIAL = {
    "cpu": ("cpu", "latency", 1), "bitfusion latency": ("bitfusion", "latency", 1),
    "bitfusion energy": ("bitfusion", "energy", 1), "GPU, batch 8": ("roofline-gpu", "latency", 8),
}  # fmt: skip
SYSTEMS = ("proxylessnas", "multiplier", "random")


def main() -> None:
    options = common.parser(__doc__ or "")
    options.add_argument("--budgets", nargs="+", type=float, default=[0.8, 0.6, 0.4], help="latencies on cpu")
    options.add_argument("--special", type=float, default=0.6, help="the budget of the networks for several targets")
    options.add_argument("--seeds", nargs="+", type=int, default=[0])
    options.add_argument("--warmup-epochs", type=int, default=6)
    options.add_argument("--search-epochs", type=int, default=8)
    options.add_argument("--epochs", type=int, default=8, help="of training what was found")
    options.add_argument("--batch-size", type=int, default=64)
    options.add_argument("--only-table", action="store_true", help="write the tables of the runs that there are")
    args = options.parse_args()
    store = Store(args.results, "proxyless")
    for seed in args.seeds:
        for budget in args.budgets:
            keep(store, args, f"cpu {budget:g} s{seed}", seed, "cpu", "latency", budget, 1, SYSTEMS)
    for name, (target, cost, batch) in SPECIAL.items():
        if target != "cpu":
            seed = args.seeds[0]
            keep(store, args, f"{name} {args.special:g} s{seed}", seed, target, cost, args.special, batch, SYSTEMS[:1])
    write(store, args)


def folder_of(args: Any, key: str) -> Path:
    return Path(args.results / "proxyless" / key.replace(" ", "-").replace(",", ""))


def keep(
    store: Store, args: Any, key: str, seed: int, target: str, cost: str, budget: float, batch: int,
    systems: tuple[str, ...],
) -> None:  # fmt: skip
    """One run, or what it said before."""
    from netsmith.jobs.specialize import specialize
    from netsmith.progress import Lines

    folder = folder_of(args, key)
    if not (folder / "summary.json").is_file():
        if args.only_table:
            return
        warm = args.results / "proxyless" / f"warm-s{seed}"
        data = str(data_dir() / "cifar10-jpeg")
        specialize(
            str(SPACE), data, target=target, **{cost: f"{budget:g}x"}, batch=batch, out=folder,
            search_epochs=args.search_epochs, warmup_epochs=args.warmup_epochs, epochs=args.epochs,
            warmup_from=str(warm) if warm.exists() else None, batch_size=args.batch_size, seed=seed, resume=True,
            compare=systems[1:], progress=Lines(),
        )  # fmt: skip
        if not warm.exists():
            warm.symlink_to(folder.name)
    summary = json.loads((folder / "summary.json").read_text())
    found, compared = summary["specialization"], rows_of(summary)
    for system in systems:  # one that was run by itself, in a folder of its own
        alone = folder.with_name(f"{folder.name}-{system}") / "summary.json"
        if alone.is_file() and system not in [row["system"] for row in compared]:
            others = rows_of(json.loads(alone.read_text()))
            compared += [row | {"alone": True} for row in others if row["system"] == system]
    kept = {k: found[k] for k in ("limits", "search_seconds", "train_seconds")} | {"compared": compared}
    kept |= {
        "blocks": [{k: b[k] for k in ("stage", "chosen")} for b in found["blocks"]],
        "baseline": summary["baseline"],
    }
    kept["expected"] = {n: found["history"][-1]["expected"][n] / v for n, v in found["limits"].items()}
    kept["entropy"] = found["history"][-1]["entropy"]
    store.put(key, {"epochs": [args.warmup_epochs, args.search_epochs, args.epochs], "budget": budget}, kept)


def rows_of(summary: dict[str, Any]) -> list[dict[str, Any]]:
    """The networks of a run; measured latency as shares of the run's own reference and limit."""
    found, reference = summary["specialization"], summary["baseline"]["latency_measured_s"]
    for row in found["compared"]:
        if measured := row["latency_measured_s"]:
            row |= {"of_reference": measured / reference, "of_limit": measured / found["limits"]["latency"]}
    return list(found["compared"])


def write(store: Store, args: Any) -> None:
    lines, notes = accuracies(store, args)
    more, others = specialised(store, args)
    cells = [c["value"] for k, c in store.cells.items() if k.startswith("cpu ")]
    notes += others
    if cells:
        search = np.median([c["search_seconds"] for c in cells]) / 60
        train = np.median([row["train_seconds"] for c in cells for row in c["compared"]]) / 60
        notes.append(
            f"Search cost: {search:.1f} minutes of one core for one target and budget, beside a warm-up that all share "
            f"({args.warmup_epochs} epochs); training the network once takes {train:.1f}."
        )
        notes.append(
            "Where the search ended, expected latency over its budget: "
            + ", ".join(f"{k} {c['value']['expected'].get('latency', float('nan')):.3f}" for k, c in store.cells.items()
                        if k.startswith("cpu ")) + "."
        )  # fmt: skip
    notes.append(
        f"Space `benchmarks/spaces/cifar.toml`; {args.warmup_epochs} epochs of warm-up, {args.search_epochs} of search "
        f"on the train split, probabilities on the search split (5000 images), batch {args.batch_size}; every network "
        f"of the first table trained alike, {args.epochs} epochs from fresh weights; the test split was looked at "
        "once. Budgets are shares of the space's reference network, every block of which is MobileNetV2's."
    )
    store.fragment("Networks from a design space: ProxylessNAS", lines + more, args.threads, notes)


def accuracies(store: Store, args: Any) -> tuple[list[str], list[str]]:
    """Accuracy at equal measured latency, and by how much the found network is above the others."""
    rows, gaps = [], {name: list[float]() for name in SYSTEMS[1:]}
    for budget in args.budgets:
        cells = [store.cells[k]["value"] for s in args.seeds if (k := f"cpu {budget:g} s{s}") in store.cells]
        for system in SYSTEMS:
            found = [row for c in cells for row in c["compared"] if row["system"] == system]
            if not found:
                continue
            if system in gaps:
                gaps[system] += [
                    100 * (c["compared"][0]["accuracy"] - r["accuracy"])
                    for c in cells for r in c["compared"] if r["system"] == system
                ]  # fmt: skip
            rows.append([
                f"{budget:g}x", system, len(found), spread([100 * r["accuracy"] for r in found], "{:.2f} %"),
                spread([r["of_reference"] for r in found], "{:.3f}"), spread([r["of_limit"] for r in found], "{:.3f}"),
                spread([r["macs"] / 1e6 for r in found], "{:.2f}"),
                spread([r["params"] / 1e3 for r in found], "{:.0f}"),
            ])  # fmt: skip
    head = (
        "latency", "system", "seeds", "test accuracy", "measured, of the reference", "of the budget", "MACs, M",
        "parameters, K",
    )  # fmt: skip
    notes = [
        f"The found network is {np.median(values):+.2f} points above {name} in the median of {len(values)} pairs "
        f"({min(values):+.2f} to {max(values):+.2f})."
        for name, values in gaps.items() if values
    ]  # fmt: skip
    alone = [
        f"{r['system']} at {b:g}x" for b in args.budgets for s in args.seeds
        if (k := f"cpu {b:g} s{s}") in store.cells for r in store.cells[k]["value"]["compared"] if r.get("alone")
    ]  # fmt: skip
    if alone:
        notes.append(f"In runs of their own, settings and seeds alike: {', '.join(alone)}.")
    return (["", "### Accuracy at equal measured latency, this machine", "", *table(head, rows)] if rows else []), notes


def specialised(store: Store, args: Any) -> tuple[list[str], list[str]]:
    """Networks found for several targets: each measured or priced on every one, and drawn."""
    from netsmith.decisions.pricing import Pricing
    from netsmith.hardware.target import get_target, prepare_target
    from netsmith.network.layers import LayerTable
    from netsmith.progress import Lines
    from netsmith.supernets import load_space
    from netsmith.supernets.family import BlockFamily

    space, seed = load_space(str(SPACE)), args.seeds[0]
    found = {n: c for n in SPECIAL if (c := f"{n} {args.special:g} s{seed}") in store.cells}
    if len(found) < 2:
        return [], []
    designs = {}
    for name, key in found.items():
        chosen = store.cells[key]["value"]["compared"][0]["blocks"]
        own = [space.decisions.decisions[d].choices.index(chosen[i]) for d, i in enumerate(space.searched)]
        designs[name] = np.array(own)
    designs["reference"] = space.reference
    on_cpu = {n: folder_of(args, key) / "model.onnx" for n, key in found.items()}
    reference = folder_of(args, next(iter(found.values()))) / "baseline.onnx"
    settings = {n: list(map(int, d)) for n, d in designs.items()}
    timed = store.cell(
        "measured", settings, lambda: time_interleaved({"reference": reference, **on_cpu}, args.threads, 2.0)
    )
    rows, priced = [], dict[str, dict[str, float]]()
    for column, (target, cost, batch) in SPECIAL.items():
        device = get_target(target)
        family = BlockFamily(space, 10)
        pricing = Pricing(family, device, batch)
        tables = {n: family.layers(d) for n, d in designs.items()}
        if target == "cpu":
            priced[column] = {n: timed[n]["ratio"] * timed["reference"]["quiet_ms"] for n in designs}
            continue
        prepare_target(device, LayerTable.distinct(list(tables.values())), Lines())
        priced[column] = {n: pricing.total(t, cost) * (1e3 if cost == "latency" else 1e6) for n, t in tables.items()}
    accuracy = {n: 100 * store.cells[key]["value"]["compared"][0]["accuracy"] for n, key in found.items()}
    for name in designs:
        cells = [f"{priced[c][name] / priced[c]['reference']:.3f}" for c in priced]
        if name in priced:
            at = list(priced).index(name)
            cells[at] = f"**{cells[at]}**"
        rows.append([name, *cells, f"{accuracy[name]:.2f} %" if name in accuracy else ""])
    head = ("found for", *priced, "test accuracy")
    given = ", ".join(
        f"{c} {priced[c]['reference']:.4g} {'ms' if SPECIAL[c][1] == 'latency' else 'uJ'}" for c in priced
    )
    within = {c: [n for n in found if priced[c][n] <= args.special * priced[c]["reference"]] for c in priced}
    best = [c for c in priced if c in within[c] and max(within[c], key=accuracy.__getitem__) == c]
    drawn = [[n, *_stages(space, d)] for n, d in designs.items()]
    stages = sorted({s.stage for s in space.slots})
    lines = [
        "", f"### One network for each target, each at {args.special:g}x of its own cost", "",
        "Rows are networks, columns what each costs there, of the reference network.", "", *table(head, rows), "",
        *table(("found for", *(f"stage {s}" for s in stages), "blocks", "mean kernel", "mean expansion"), drawn),
    ]  # fmt: skip
    notes = [
        f"Of the reference: {given}. cpu as measured, the others as modelled (simulated). Within a target's budget: "
        + "; ".join(f"{c}: {', '.join(names) or 'none'}" for c, names in within.items())
        + f". The network found for a target is the most accurate of those in {len(best)} of {len(priced)} columns."
    ]
    return lines, notes


def _stages(space: Any, design: Any) -> list[str]:
    """What each stage of a network is, how many blocks it has, and the means of what there was to choose."""
    from netsmith.supernets.space import SKIP, kernel_of

    chosen = space.chosen(design)
    stages: dict[int, list[str]] = {}
    for slot, choice in zip(space.slots, chosen, strict=True):
        stages.setdefault(slot.stage, []).append("–" if choice == SKIP else choice)
    own = [kernel_of(chosen[i]) for i in space.searched if chosen[i] != SKIP]
    kernels, expansions = np.array(own).T
    return [" ".join(s) for s in stages.values()] + [str(len(own)), f"{kernels.mean():.2f}", f"{expansions.mean():.2f}"]


if __name__ == "__main__":
    main()
