"""Least-squares repair after channel selection: its speed against solving on the rows, and what it gives.

About 15 minutes on one core. Speed: the same random designs are repaired from Gram matrices, with one factorisation a
layer for all widths, and by numpy's least squares on the sampled rows, layer by layer and candidate by candidate, as
the released AMC does. Accuracy: one half-width network for each way to choose channels, before any fine-tuning, on the
search split, with masks alone and repaired.
"""

from __future__ import annotations

import time
from typing import Any

import common
import numpy as np
import torch
from common import NETWORKS, Store, percent, table

from netsmith.jobs.tools import groups_of

MARK = 10.0  #: times as fast as solving on the rows
TINY = 1e-13  #: a ridge that leaves the least-squares solution as it is


def subject_of(model: str, args: Any) -> Any:
    """The network, its data, and choices of every eighth of each group's channels."""
    from netsmith.decisions.channels import Channels
    from netsmith.decisions.given import GivenSpace
    from netsmith.hardware.target import get_target
    from netsmith.jobs.config import Prune
    from netsmith.jobs.subject import load_subject

    torch.set_num_threads(1)
    network = NETWORKS[model]
    weights = common.weights_of(model, None, args.results, args.seed)
    s = load_subject(network.spec, network.data, get_target("cpu"), weights=weights, methods=(Prune(),), seed=args.seed)
    return s, GivenSpace(s.graph, (Channels(s.graph, groups_of(s)),))


def speed(model: str, args: Any) -> dict[str, Any]:
    """Candidates a second of both ways, in processor time, and the greatest differences."""
    from netsmith.compression.importance import channel_importance
    from netsmith.compression.kept import keep_indices
    from netsmith.compression.reconstruct import Repair, gather
    from netsmith.compression.reconstruct.moments import sample_rows
    from netsmith.jobs.tools import repair_examples

    s, space = subject_of(model, args)
    scores = channel_importance(s.model, groups_of(s), "l1")
    examples = repair_examples(s.task, args.seed)
    start = time.process_time()
    moments = gather(s.graph, s.model, groups_of(s).groups, examples, args.seed)
    found: dict[str, Any] = {"gather_s": time.process_time() - start, "skipped": dict(moments.skipped)}
    rows: dict[str, list[np.ndarray]] = {n: [] for n in moments.consumers}
    batches, start = s.graph.batches(examples, 64), time.process_time()
    sample_rows(s.graph, moments.consumers, batches, lambda n, x: rows[n].append(x.double().numpy()), args.seed)
    found["sample_s"] = time.process_time() - start
    inputs = {n: np.concatenate(parts) for n, parts in rows.items()}
    outputs = {n: inputs[n] @ c.weight(s.graph).numpy().T for n, c in moments.consumers.items()}
    rng = np.random.default_rng(args.seed)
    keeps = []
    for _ in range(args.candidates):
        design = rng.integers(space.decisions.sizes)
        kept = space.kinds[0].kept(design)
        keeps.append({n: keep_indices(scores[n], k, groups_of(s)[n].unit) for n, k in kept.items()})
    repair = Repair(moments, scores)
    for key in ("first", "again"):
        start = time.process_time()
        ours = [repair.weights(keep) for keep in keeps]
        found[f"{key}_a_second"] = len(keeps) / max(time.process_time() - start, 1e-9)
    start = time.process_time()
    for keep in keeps:
        repair._known.clear()  # every layer of every design is solved
        repair.weights(keep)
    found["solved_a_second"] = len(keeps) / (time.process_time() - start)
    start, worst, excess = time.process_time(), 0.0, 0.0
    theirs = []
    for keep in keeps[: args.direct]:
        solved = {}
        for name, columns in kept_columns(moments, keep).items():
            x = inputs[name][:, columns]
            solved[name] = columns, np.linalg.lstsq(x, outputs[name], rcond=None)[0].T
        theirs.append(solved)
    found["direct_a_second"] = args.direct / (time.process_time() - start)
    bare, closest, dead = Repair(moments, scores, ridge=TINY), 0.0, 0
    for mine, keep, solved in zip(ours, keeps, theirs, strict=False):
        unridged = bare.weights(keep)
        for name, (columns, want) in solved.items():
            parameter = moments.consumers[name].parameter
            got, same = (w[parameter].double().flatten(1).numpy()[:, columns] for w in (mine, unridged))
            live = moments.grams[name].products.diagonal().numpy()[columns] > 0  # any weight fits where nothing comes
            size = float(np.abs(want).max())
            worst = max(worst, float(np.abs(got - want)[:, live].max()) / size)
            closest = max(closest, float(np.abs(same - want)[:, live].max()) / size)
            dead += int((~live).sum())
            x, y = inputs[name][:, columns], outputs[name]
            errors = [float(np.square(x @ w.T - y).sum() / np.square(y).sum()) for w in (got, want)]
            excess = max(excess, errors[0] - errors[1])
    widths = sorted(x.shape[1] for x in inputs.values())
    return found | {
        "layers": len(inputs), "columns": [widths[0], widths[-1]], "rows": [len(x) for x in inputs.values()],
        "weight_difference": worst, "unridged_difference": closest, "dead": dead, "error_difference": excess,
    }  # fmt: skip


def kept_columns(moments: Any, keep: dict[str, list[int]]) -> dict[str, np.ndarray]:
    """Columns that stay of every layer that reads a shrinking group, from the groups alone."""
    out = {}
    for name, consumer in moments.consumers.items():
        stays = None
        for group, channels in keep.items():
            member = consumer.sources.get(group)
            if member is not None:
                stays = np.ones(member.size, dtype=bool) if stays is None else stays
                stays[member.index[~np.isin(member.root, channels)]] = False
        if stays is not None:
            out[name] = np.flatnonzero(np.repeat(stays, consumer.cells))
    return out


def accuracy(model: str, criterion: str, args: Any) -> dict[str, Any]:
    """Accuracy of the network at half width, before fine-tuning, on images of the search split."""
    from netsmith.compression.importance import channel_importance
    from netsmith.compression.reconstruct import Repair, gather
    from netsmith.decisions.slim import slim
    from netsmith.decisions.tools import AtHand
    from netsmith.jobs.tools import repair_examples
    from netsmith.training import reestimate_batch_norm
    from netsmith.training.score import evaluate

    s, space = subject_of(model, args)
    some = s.searched(args.images)
    moments = gather(s.graph, s.model, groups_of(s).groups, repair_examples(s.task, args.seed), args.seed)
    batches = [(batch, batch.target) for batch in s.searched(256).batches(64)]
    start = time.process_time()
    scores = channel_importance(s.model, groups_of(s), criterion, batches, moments=moments)
    found: dict[str, Any] = {"seconds": time.process_time() - start}
    half = [int(np.argmin([abs(c - 0.5 * d.choices[-1]) for c in d.choices])) for d in space.decisions.decisions]
    ways = {"masked": None, "repaired": Repair(moments, scores), "intercept": Repair(moments, scores, True)}
    for way, repair in ways.items():
        network = slim(s.model, space, np.array(half), AtHand(scores, repair)).model
        found[way] = evaluate(network, s.task, some).score
        reestimate_batch_norm(network, some, args.images)
        found[f"{way}, norms"] = evaluate(network, s.task, some).score
    return found


def main() -> None:
    from netsmith.compression.importance import CRITERIA

    options = common.parser(__doc__ or "")
    options.add_argument("--models", nargs="+", default=["cifar_resnet56", "cifar_resnet20"], choices=list(NETWORKS))
    options.add_argument("--candidates", type=int, default=50, help="random designs")
    options.add_argument("--direct", type=int, default=3, help="of these, solved on the rows as well")
    options.add_argument("--accuracy-of", default="cifar_resnet56", choices=list(NETWORKS))
    options.add_argument("--images", type=int, default=2000, help="of the search split")
    args = options.parse_args()
    store = Store(args.results, "reconstruction")
    rows = []
    for model in args.models:
        settings = {"candidates": args.candidates, "direct": args.direct, "seed": args.seed, "tiny": TINY, "live": True}
        r = store.cell(f"speed {model}", settings, lambda m=model: speed(m, args))
        ratio = r["solved_a_second"] / r["direct_a_second"]
        rows.append([
            model, r["layers"], f"{r['columns'][0]} to {r['columns'][1]}", f"{min(r['rows'])} to {max(r['rows'])}",
            f"{r['gather_s']:.1f} / {r['sample_s']:.1f}",
            " / ".join(f"{r[f'{key}_a_second']:.3g}" for key in ("solved", "first", "again")),
            f"{r['direct_a_second']:.3g}", f"{ratio:.0f} ({'met' if ratio >= MARK else 'missed'})",
            f"{r['weight_difference']:.1e} / {r['unridged_difference']:.1e}", f"{r['error_difference']:.1e}",
        ])  # fmt: skip
    head = ["network", "layers", "columns", "rows", "gathering: moments / rows, s",
            "candidates/s: all solved / first time / again", "candidates/s on the rows", "speed-up (mark: 10)",
            "difference of a weight: as it is / without ridge", "excess error"]  # fmt: skip
    lines = [*table(head, rows), ""]
    marks = []
    for criterion in CRITERIA:
        settings = {"model": args.accuracy_of, "images": args.images, "seed": args.seed}
        r = store.cell(f"accuracy {criterion}", settings, lambda c=criterion: accuracy(args.accuracy_of, c, args))
        ways = [percent(r[f"{way}{norms}"]) for norms in ("", ", norms") for way in ("masked", "repaired", "intercept")]
        marks.append([criterion, *ways, f"{r['seconds']:.1f}"])
    head = ["criterion", "masked", "repaired", "with intercept", "masked, norms estimated again",
            "repaired, norms estimated again", "with intercept, norms estimated again", "scores, s"]  # fmt: skip
    lines += table(head, marks)
    notes = [
        f"Speed: {args.candidates} designs of random widths (eighths) for every group, channels ranked by l1, 512 "
        "images; processor time of one thread. All solved: every layer of every design, from one factorisation a "
        "layer (the speed-up is that of this figure); first time: nothing known but the moments, and each width of a "
        "layer solved once; again: the same designs, from the cache. On the rows: numpy.linalg.lstsq in double, "
        f"{args.direct} of the designs. Difference: of a weight, over the largest weight of its layer, with the ridge "
        f"and with one of {TINY:g}, but for inputs that are zero in every row (there, ours keeps the weight as given "
        "and lstsq gives zero); excess error: residual over the output's energy, ours less theirs, the greatest of all "
        "layers.",
        f"Accuracy: {args.accuracy_of} with half the channels of every group, {args.images} images of the search "
        "split, before any fine-tuning; repaired on 512 images of the train split; norms estimated again on "
        f"{args.images} images of the search split.",
    ]
    store.fragment("Repair after channel selection", lines, 1, notes)


if __name__ == "__main__":
    main()
