"""Shared weights at equal bytes: k-means of one width for all layers (Deep Compression) against widths chosen by layer.

The budget is the packed file of the uniform network, to the byte. Hours with the defaults; every cell is kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import common
import numpy as np
from common import NETWORKS, Store, percent, table

from netsmith.accuracy.candidates import Candidates
from netsmith.accuracy.incremental import IncrementalEvaluator
from netsmith.accuracy.sensitivity import Sensitivity, measure_sensitivity
from netsmith.compression.mixed import quantize_mixed
from netsmith.compression.quantize import packed_tensors
from netsmith.compression.share import CodebookQuantizer
from netsmith.decisions.pricing import Pricing
from netsmith.decisions.tools import AtHand
from netsmith.export.packed import write_packed
from netsmith.hardware.target import get_target
from netsmith.jobs.config import FineTune, Images, Share
from netsmith.jobs.recover import train_quantized
from netsmith.jobs.subject import load_subject
from netsmith.network.graph import Graph
from netsmith.progress import Lines
from netsmith.search.registry import get_strategy
from netsmith.search.strategy import Problem
from netsmith.study.evaluator import Logged
from netsmith.study.measured import Measured
from netsmith.study.study import minimize
from netsmith.training.score import evaluate

DEFAULT = ["cifar_resnet56", "mobilenet_v2_tf"]
UNIFORM, OURS = "uniform", "by layer"


@dataclass
class Case:
    """One network, and what the cells of its rows are made with."""

    name: str
    weights: str | None
    args: Any

    @cached_property
    def subject(self) -> Any:
        network, args = NETWORKS[self.name], self.args
        # bytes are the same on every target; this one is not measured
        return load_subject(
            network.spec, network.data, get_target("roofline-gpu"), weights=self.weights, methods=(Share(),),
            images=Images(train_limit=args.train_limit), seed=args.seed,
        )  # fmt: skip

    @cached_property
    def pricing(self) -> Pricing:
        return Pricing(self.subject.space, get_target("roofline-gpu"))

    @cached_property
    def quantizer(self) -> CodebookQuantizer:
        return CodebookQuantizer(self.subject.graph)

    @cached_property
    def candidates(self) -> Candidates:
        return Candidates(self.subject.space, AtHand(quantizer=self.quantizer))

    @cached_property
    def evaluator(self) -> IncrementalEvaluator:
        return IncrementalEvaluator(self.subject.graph, self.subject.task, self.subject.searched(self.args.images))

    def accuracy(self, module: Any) -> float:
        """On the test split, or the first images of it."""
        task, n = self.subject.task, self.args.test_limit
        return evaluate(module, task, task.test.take(slice(0, n)) if n else task.test).score

    def given(self) -> dict[str, Any]:
        """The network as given."""
        size = float(self.pricing.row_cost("size")(self.subject.graph.layers).sum()) + self.pricing.fixed("size")
        weights = int(self.subject.graph.layers.weights.sum())
        return {"accuracy": self.accuracy(self.subject.graph.module), "bytes": int(size), "weights": weights}

    def sensitivity(self) -> dict[str, Any]:
        """The loss of each layer alone at each width."""
        return measure_sensitivity(self.candidates, self.evaluator).to_dict()

    def uniform(self, bits: int) -> list[int]:
        return [d.choices.index(bits) for d in self.subject.space.decisions.decisions]

    def chosen(self, bits: int, sensitivity: Sensitivity) -> list[int]:
        """The best design of no more bytes than the uniform one, of those that the exact strategy asks for."""
        original = self.subject.space.reference
        limit = float(self.pricing.predict(np.array(self.uniform(bits)), "size")[0])
        problem = Problem(sensitivity.loss, {"size": self.pricing.table("size", original)}, {"size": limit})
        space = self.subject.space
        strategy = get_strategy("exact", problem, space.decisions, self.args.seed)
        designs = Logged(Measured(self.candidates, self.evaluator), space.canonical)
        return [int(k) for k in minimize(problem, strategy, designs, self.args.evaluations).best]

    def figures(self, graph: Graph, design: list[int], quantizer: CodebookQuantizer) -> dict[str, Any]:
        """Accuracy on the test split, and bytes of the packed file."""
        quantized = quantize_mixed(graph, self.subject.space.bits(np.array(design)), quantizer)
        tensors = packed_tensors(quantized)
        return {
            "accuracy": self.accuracy(quantized.graph.module), "bytes": write_packed(None, tensors),
            "huffman": write_packed(None, tensors, huffman=True),
        }  # fmt: skip

    def tuned(self, design: list[int], checkpoint: Path) -> dict[str, Any]:
        """The same after its shared values were trained, distilling from the network as given."""
        s, args = self.subject, self.args
        graph, quantizer, _, history = train_quantized(
            s.model, s.graph, s.space.bits(np.array(design)), self.quantizer, teacher=s.model, task=s.task,
            tune=FineTune(epochs=args.epochs, lr=args.lr), seed=args.seed, checkpoint=checkpoint, progress=Lines(),
        )  # fmt: skip
        assert isinstance(quantizer, CodebookQuantizer)
        checkpoint.unlink(missing_ok=True)  # the cell is what stays
        return self.figures(graph, design, quantizer) | {"history": history}


def bench(name: str, store: Store, args: Any) -> list[list[Any]]:
    weights = common.weights_of(name, common.named(args.weights).get(name), args.results, args.seed)
    case = Case(name, weights, args)
    base = {
        "weights": common.digest(weights), "seed": args.seed, "test": args.test_limit, "train": args.train_limit,
    }  # fmt: skip
    given = store.cell(f"{name} as given", base, case.given)
    rows = [[name, "as given", percent(given["accuracy"]), "", "", f"{given['bytes'] / 1e3:.1f}", "", "", ""]]
    measured = base | {"images": args.images}
    single = store.cell(f"{name} sensitivity", measured, case.sensitivity)
    for bits in args.bits:
        search = measured | {"evaluations": args.evaluations}
        designs = {
            UNIFORM: case.uniform(bits),
            OURS: store.cell(
                f"{name} {bits} bits, design", search, lambda b=bits: case.chosen(b, Sensitivity.from_dict(single))
            ),
        }
        for kind, design in designs.items():
            key, settings = f"{name} {bits} bits, {kind}", base | {"design": design}
            before = store.cell(key, settings, lambda d=design: case.figures(case.subject.graph, d, case.quantizer))
            after: dict[str, Any] = {}
            if args.epochs and case.subject.task.train is not None:
                path = args.results / f"{store.name}-{name}-{bits}-{kind.replace(' ', '-')}.safetensors"
                training = settings | {"epochs": args.epochs, "lr": args.lr}
                after = store.cell(f"{key}, tuned", training, lambda d=design, p=path: case.tuned(d, p))
            last = after or before
            widths = [int(d.choices[k]) for d, k in zip(case.subject.space.decisions.decisions, design, strict=True)]
            rows.append([
                name, f"{bits} bits, {kind}", percent(before["accuracy"]), percent(after.get("accuracy")),
                drop(given, last), f"{last['bytes'] / 1e3:.1f}", f"{given['bytes'] / last['bytes']:.1f} ×",
                f"{last['huffman'] / 1e3:.1f}", f"{min(widths)} to {max(widths)}",
            ])  # fmt: skip
    return rows


def drop(given: dict[str, Any], last: dict[str, Any]) -> str:
    return f"{100 * (given['accuracy'] - last['accuracy']):.2f}"


def main() -> None:
    options = common.parser(__doc__ or "")
    options.add_argument("--models", nargs="+", default=DEFAULT, choices=list(NETWORKS))
    options.add_argument("--weights", nargs="*", default=[], metavar="NETWORK=FILE", help="fine-tuned baselines")
    options.add_argument("--bits", nargs="+", type=int, default=[2, 3, 4], help="widths of the uniform networks")
    options.add_argument("--epochs", type=int, default=3, help="of fine-tuning, where there is a train split")
    options.add_argument("--lr", type=float, default=0.03)
    options.add_argument("--images", type=int, default=512, help="of the search split, that losses are measured on")
    options.add_argument("--evaluations", type=int, default=16, help="whole designs that are run, a budget")
    options.add_argument("--train-limit", type=int, help="train on this many images only")
    options.add_argument("--test-limit", type=int, help="test on this many images only")
    args = options.parse_args()
    store, rows = Store(args.results, "size_kmeans"), []
    for name in args.models:
        rows += bench(name, store, args)
    head = ["network", "weights", "top-1", "fine-tuned", "drop, points", "kB", "smaller than fp32", "kB with Huffman",
            "bits"]  # fmt: skip
    notes = [
        "Uniform: one codebook a layer, all of the same width (Deep Compression without its pruning). By layer: widths "
        "of 1 to 8 bits by exact search over the losses of single layers, in no more bytes than the uniform network.",
        "kB: the packed file, to the byte, with codebooks, norms, biases and names; 1 kB is 1000 bytes. Drop: after "
        "fine-tuning where there was any.",
        f"Fine-tuning: {args.epochs} epochs at learning rate {args.lr}, shared values and norms, distilled from the "
        "network as given. Networks without a train split are compressed after training only, on images that are "
        "probably among those they were trained on: compare rows.",
    ]
    store.fragment("Shared weights at equal bytes", table(head, rows), args.threads, notes)


if __name__ == "__main__":
    main()
