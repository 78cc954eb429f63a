"""The fastest network that surely loses no more than half a point: netsmith, and today's tools by hand. An hour.

By hand: Torch-Pruning at ratios from the least to the most, each fine-tuned by the same code for the same epochs, then
static int8 by ONNX Runtime, until one loses more than is allowed on the images that netsmith decides on too; then the
same certificate on the test split, from the least pruned on, to the first that fails. Int8 alone is the first of them.
All files of both sides are timed in one session, round by round.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import common
import numpy as np
import peer_tools as tools
from common import NETWORKS, Store, percent, table
from peers_cifar import Bench

RATIOS = [0.0, 0.125, 0.25, 0.375, 0.5]


class ByHand(Bench):
    """Candidates by hand, by ratio: a file, and which images of search and test it gets right."""

    def unpruned(self) -> dict[str, Any]:
        base = tools.export(self.model, self.shape, self.files / "baseline.onnx")
        return {"int8": tools.ort_int8(base, self.images, self.files / "ort.onnx")}

    def candidate(self, ratio: float) -> dict[str, Any]:
        pick = {"ratio": ratio, "round_to": 8, "deploy": "int8"}
        if ratio == 0:
            self.unpruned()
        path = self.tuned(pick)
        return {"file": str(path), "search": self.right(path, self.data.search)}

    def right(self, path: Path, split: Any) -> str:
        """Which images of a split a file gets right, hex of packed bits."""
        said = common.predictions(path, split, self.data.normalisation)
        return np.packbits(said == split.labels.numpy()).tobytes().hex()


def bits(text: str, n: int) -> np.ndarray[Any, Any]:
    return np.unpackbits(np.frombuffer(bytes.fromhex(text), np.uint8))[:n].astype(bool)


def main() -> None:
    options = common.parser(__doc__ or "")
    options.add_argument("--model", default="cifar_resnet56", choices=["cifar_resnet56", "cifar_resnet20"])
    options.add_argument("--weights", help="fine-tuned baseline; default is the pretrained network as it is")
    options.add_argument("--max-drop", type=float, default=0.5, help="points")
    options.add_argument("--confidence", type=float, default=0.95)
    options.add_argument("--epochs", type=int, default=2)
    options.add_argument("--lr", type=float, default=0.03)
    options.add_argument("--runs", type=Path, default=common.ROOT / "runs")
    args = options.parse_args()
    args.importance, args.whole, args.nncf_python = "magnitude", False, ""
    from front import run

    from netsmith.certificates import certificate

    bench, network = ByHand(args), NETWORKS[args.model]
    store = Store(args.results, f"max_drop-{args.model}")
    settings = bench.settings | {"drop": args.max_drop, "confidence": args.confidence}
    folder = args.runs / f"max-drop-{args.model}-e{args.epochs}-s{args.seed}"
    words = ["compress", network.spec, "--data", network.data, "--target", "cpu", "--seed", str(args.seed), "--epochs"]
    words += [str(args.epochs), "--lr", str(args.lr), "--weights", str(bench.weights)]
    words += ["--max-drop", str(args.max_drop), "--confidence", str(args.confidence)]
    ours = store.cell("netsmith", settings, lambda: run(folder, words))
    summary = json.loads((folder / "summary.json").read_text())

    bench.unpruned() if not (bench.files / "baseline.onnx").is_file() else None
    base = bench.files / "baseline.onnx"
    search, test = bench.data.search, bench.data.test
    given = store.cell("as given", settings, lambda: {"search": bench.right(base, search)})
    made: dict[float, dict[str, Any]] = {}
    allowed = args.max_drop / 100
    for ratio in RATIOS:
        key = f"by hand {ratio}"
        made[ratio] = store.cell(key, settings, lambda r=ratio: bench.candidate(r))
        lost = bits(given["search"], len(search)).mean() - bits(made[ratio]["search"], len(search)).mean()
        if lost > allowed:
            break
    before = bits(store.cell("test as given", settings, lambda: bench.right(base, test)), len(test))
    chosen: tuple[float, Any] | None = None
    tried = []
    for ratio, candidate in made.items():  # the order was fixed before the test split was looked at
        path = Path(candidate["file"])
        after = bits(store.cell(f"test {ratio}", settings, lambda p=path: bench.right(p, test)), len(test))
        found = certificate(before, after, args.confidence, max_drop=allowed)
        tried.append((ratio, float(after.mean()), found))
        if not found.met:
            break
        chosen = ratio, found
    files = {"as given": base}
    files |= {f"by hand, {r:g} pruned, int8": Path(made[r]["file"]) for r, _, _ in tried}
    points = (summary.get("front") or {}).get("points", [])
    files |= {f"netsmith, {p['folder']}": folder / p["folder"] / "model.onnx" for p in points}
    digests = {k: common.digest(v) for k, v in files.items()}
    timed = store.cell("timing", digests, lambda: common.time_interleaved(files, args.threads, args.seconds))
    rows = [["as given", common.ratio_text(timed["as given"]), percent(float(before.mean())), "", "", ""]]
    for ratio, score, found in tried:
        label = f"by hand, {ratio:g} pruned, int8"
        mark = "chosen" if chosen and chosen[0] == ratio else ""
        said = "yes" if found.met else "no"
        rows.append(
            [label, common.ratio_text(timed[label]), percent(score), f"{100 * found.loss_bound:.2f}", said, mark]
        )
    for p in points:
        label = f"netsmith, {p['folder']}"
        mark = "chosen" if summary["front"]["chosen"] == p["folder"] else ""
        said = {True: "yes", False: "no", None: "not tested"}[p["certified"]]
        bound = f"{100 * p['loss_bound']:.2f}"
        rows.append([label, common.ratio_text(timed[label]), percent(p["score"]), bound, said, mark])
    head = ["network", "time / as given", "test score", "bound on the loss, points", "certified", ""]
    notes = [
        f"Allowed: {args.max_drop:g} points at {100 * args.confidence:g} % confidence, exact paired bound on "
        f"{len(test)} test images; candidates are tested from the slowest to the fastest, to the first that fails.",
        f"Fine-tuning: {args.epochs} epochs for every network by hand; netsmith as it shares them among its networks. "
        f"netsmith took {ours['cpu_s']:.0f} processor seconds.",
        common.timing_note(timed),
    ]
    store.fragment(f"At most {args.max_drop:g} points, surely: {args.model}", table(head, rows), args.threads, notes)


if __name__ == "__main__":
    main()
