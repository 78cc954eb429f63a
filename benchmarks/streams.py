"""Residual streams behind shortcuts that pad: half of the MACs, with them among what may shrink and without. Minutes.

Both sides have the same given network, images, criterion, repair, strategy and training. Without, the channels stay
that a stage adds beside those that come through its shortcut, as the padding has them at fixed places. Seeds draw other
images of the search split, other random numbers and another order of training; the test split is read before and after
training, once each.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import contest
import numpy as np
from channel_pruning import EVALUATIONS, Widths, problem_of, train
from common import Store, percent, table
from contest import compete, spread

STRATEGY = "exact"


class Streams(Widths):
    """All channel groups."""

    side = "streams shrink"

    @property
    def label(self) -> str:
        return f"{self.network}, {self.side}"


class Whole(Streams):
    """Without the groups that padded channels are added to."""

    side = "streams as they are"

    def prunable(self, report: Any) -> Any:
        return dataclasses.replace(report, groups=[g for g in report.groups if not g.padded])


SIDES = (Whole, Streams)


def main() -> None:
    options = contest.parser(__doc__ or "", ["cifar_resnet20"], [STRATEGY], images=512, lr=0.03)
    options.add_argument("--budget", type=float, default=0.5)
    args = options.parse_args()
    args.settle = True
    store = Store(args.results, "streams")
    for network in args.networks if not args.only_table else ():
        for seed in args.seeds:
            for side in SIDES:
                fill(store, args, side(args, network, seed))
            write(store, args)
    write(store, args)


def fill(store: Store, args: Any, case: Streams) -> None:
    """The two cells of one side: a design with its accuracy, and that after training."""
    store.cell(f"given {case.network}", {}, lambda: case.test_accuracy(case.subject.graph.module))
    key = f"{case.label} {args.budget:g} s{case.seed}"
    settings = {"images": args.images, "evaluations": EVALUATIONS[STRATEGY], "test": args.test_images}

    def search() -> Any:
        problem = problem_of(case, "macs", args.budget, case.sensitivity(store).loss)
        return compete(case, problem, STRATEGY, EVALUATIONS[STRATEGY])

    found = store.cell(key, settings, search)
    training = {"epochs": args.tune, "images": args.tune_images, "lr": args.lr, "design": found["design"]}
    store.cell(f"{key} tuned", training, lambda: train(case, case.built(found["design"])))


def write(store: Store, args: Any) -> None:
    lines: list[str] = []
    notes: list[str] = []
    head = ["", "seeds", "MACs", "divergence", "test accuracy", "fine-tuned"]
    for network in args.networks:
        rows, tuned = [], {}
        for side in SIDES:
            keys = {s: f"{network}, {side.side} {args.budget:g} s{s}" for s in args.seeds}
            done = {s: k for s, k in keys.items() if f"{k} tuned" in store.cells}
            found = [store.cells[k]["value"] for k in done.values()]
            tuned[side] = {s: 100 * store.cells[f"{k} tuned"]["value"]["test_accuracy"] for s, k in done.items()}
            if found:
                rows.append([
                    side.side, len(found), spread([f["cost"] * args.budget for f in found], "{:.3f}x"),
                    spread([f["divergence"] for f in found], "{:.3f}"),
                    spread([100 * f["test_accuracy"] for f in found], "{:.2f} %"),
                    spread(list(tuned[side].values()), "{:.2f} %"),
                ])  # fmt: skip
        if not rows:
            continue
        given = percent(store.cells[f"given {network}"]["value"])
        lines += ["", f"### {network}, {args.budget:g}x MACs, as given {given}", "", *table(head, rows)]
        both = [tuned[Streams][s] - tuned[Whole][s] for s in args.seeds if s in tuned[Streams] and s in tuned[Whole]]
        if both:
            each = ", ".join(f"{d:+.2f}" for d in both)
            notes.append(
                f"{network}: where streams shrink, the trained network has {each} points for the seeds in order, "
                f"{np.mean(both):+.2f} on average."
            )
    notes.append(
        f"Fine-tuned: {args.tune} epochs on {args.tune_images or 'all'} images of the train split, learning rate "
        f"{args.lr:g}, taught by the given network; channels by l2, weights repaired, batch norms estimated again, "
        f"{STRATEGY} with {EVALUATIONS[STRATEGY]} evaluations on {args.images} images of the search split. Median over "
        "seeds, least to greatest in brackets."
    )
    store.fragment("Residual streams behind padded shortcuts", lines, args.threads, notes)


if __name__ == "__main__":
    main()
