"""What every task must do."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils._pytree import tree_leaves, tree_map

from netsmith.accuracy.deployed import Deployed
from netsmith.compression.build import integerise
from netsmith.compression.placement import quantizable
from netsmith.data.batch import Batch
from netsmith.data.examples import Examples
from netsmith.export.onnx import to_onnx
from netsmith.metrics import FloatArray, Metric
from netsmith.network.copying import copy_network
from netsmith.network.graph import trace
from netsmith.network.outputs import tensors_of
from netsmith.tasks.task import Objective, Task
from netsmith.training.score import evaluate

_SEEN = 64  #: examples of each split


def check_task(task: Task, model: nn.Module, examples: int = _SEEN, tolerance: float = 1e-3) -> dict[str, float]:
    """Prove the contract of a task on a network, and print what was seen.

    Examples come again as they were; what is noted of them adds up over batches of any size and over parts; the loss
    reaches a weight; and the score can be told of the network, of its simulation in 8 bits and of its exported file.

    Args:
        task: with its examples.
        model: does the task; not changed.
        examples: of each split that are looked at.
        tolerance: of outputs of the exported file, as a share of the largest one.

    Returns:
        The score of each form of the network, by ``network``, ``8 bits`` and ``file``.

    Raises:
        AssertionError: one sentence on what is broken.
    """
    model = copy_network(model).eval()
    _check_words(task)
    search = task.search.take(slice(0, min(examples, len(task.search))))
    for name, part in (("search", search), ("test", task.test.take(slice(0, min(examples, len(task.test)))))):
        _check_examples(name, part)
    scores = _check_sums(task, model, search)
    _check_divergence(task, model, search)
    _check_gradient(task, model, search)
    _check_train(task)
    return _check_forms(task, model, search, scores, tolerance)


def _check_words(task: Task) -> None:
    """What it says of itself survives as JSON, and metrics have keys of their own."""
    said = task.describe()
    assert json.loads(json.dumps(said)) == said, "describe() is not made of JSON values"
    assert task.metrics, "there is no metric"
    assert len({m.key for m in task.metrics}) == len(task.metrics), "two metrics have one key"
    told = [Metric.from_dict(m) for m in said["metrics"]]
    assert [m.to_dict() for m in told] == [m.to_dict() for m in task.metrics], "describe() tells other metrics"
    words = ", ".join(f"{m.name} ({'more' if m.higher_is_better else 'less'} is better)" for m in task.metrics)
    print(f"task {task.kind}: {words}; {len(task.search)} {task.each} to search on, {len(task.test)} to test on")


def _check_examples(name: str, part: Examples) -> None:
    """A pass has every example once, and comes again as it was."""
    one, two = (list(part.batches(8)) for _ in range(2))
    count = sum(batch.size for batch in one)
    assert count == len(part), f"a pass over {name} has {count} examples, and it says it has {len(part)}"
    assert all(_same(a, b) for a, b in zip(one, two, strict=True)), f"{name} is another at every pass"
    for batch in one:
        rows = {len(t) for t in batch.inputs if t.dim()}
        assert rows == {batch.size}, f"inputs of {name} have {rows} rows in a batch of {batch.size}"
        if batch.valid is not None:
            assert batch.valid.dtype == torch.bool, f"valid of {name} is {batch.valid.dtype}, no mask"
            assert bool(batch.valid.any(dim=1).all()), f"an example of {name} is all padding"
    if len(part) > 1:
        half = len(part) // 2
        parts = [part.take(slice(0, half)), part.take(np.arange(half, len(part)))]
        assert [len(p) for p in parts] == [half, len(part) - half], (
            f"take() of {name} has other examples than asked for"
        )
    first, again = (list(part.contents()) for _ in range(2))
    assert first and [n for n, _ in first] == [n for n, _ in again], f"contents() of {name} has no names that last"


def _check_sums(task: Task, model: nn.Module, search: Examples) -> dict[str, float]:
    """What is noted of all examples is what is noted of them in small batches and in parts; the scores of it."""
    whole = evaluate(model, task, search)
    rows = whole.rows
    assert rows.ndim == 2 and len(rows) == len(search), f"partial() notes {rows.shape} of {len(search)} {task.each}"
    assert rows.dtype == np.float64 and np.isfinite(rows).all(), "partial() notes numbers that are not finite"
    assert np.array_equal(rows, evaluate(model, task, search).rows), "the same network is scored differently again"
    scores = task.score(rows)
    small = evaluate(model, task, search, batch_size=3)
    _near(task.score(small.rows), scores, "in batches of 3")
    assert abs(small.loss - whole.loss) <= 1e-3 * max(1e-6, abs(whole.loss)), (
        f"the loss is {whole.loss:g}, and {small.loss:g} in batches of 3: a mean needs the weight of what it is of"
    )
    found = [_of_parts(task, model, search, part) for part in ((0, 2), (1, 2))] if len(search) > 1 else [rows]
    _near(task.score(np.concatenate(found)), scores, "of two processes together")
    for metric in task.metrics:
        print(f"{metric.name} of the network: {metric.shown(scores[metric.key])}; loss {whole.loss:.4g}")
    return scores


def _of_parts(task: Task, model: nn.Module, examples: Examples, part: tuple[int, int]) -> FloatArray:
    with torch.inference_mode():
        found = [task.partial(batch(model), batch) for batch in examples.batches(8, part=part) if batch.size]
    return np.concatenate(found)


def _near(found: dict[str, float], scores: dict[str, float], how: str) -> None:
    """Scores that differ by no more than float arithmetic in another order makes of them."""
    for key, score in scores.items():
        far = abs(found[key] - score)
        assert far <= 1e-3 * max(1e-3, abs(score)) or (np.isnan(score) and np.isnan(found[key])), (
            f"{key} is {score:g}, and {found[key]:g} {how}: note of each example what the score is made of"
        )


def _check_divergence(task: Task, model: nn.Module, search: Examples) -> None:
    """It is 0 for the network as given, and above for one that was changed."""
    batch = next(search.batches(8))
    other = copy_network(model)
    with torch.inference_mode():
        for p in other.parameters():
            p.add_(0.1 * p.abs().mean() * torch.randn(p.shape, generator=torch.Generator().manual_seed(0)))
        given, changed = batch(model), batch(other)
        scales = task.scales([task.read(given, batch)])
        assert json.loads(json.dumps(scales)) == scales, "scales() are not made of JSON values"
        (none, _), (some, counts) = (task.divergence(o, given, batch, scales) for o in (given, changed))
    assert none.shape == counts.shape == (batch.size,), f"divergence() gives {tuple(none.shape)}, not one number each"
    assert float(none.abs().max()) <= 1e-5, f"the network as given diverges from itself by {float(none.abs().max()):g}"
    far = float((some * counts).sum() / counts.sum())
    assert far > float(none.abs().max()), "a changed network does not diverge from the one as given"
    print(f"divergence of the network with weights changed by a tenth: {far:.4g}")


def _check_gradient(task: Task, model: nn.Module, search: Examples) -> None:
    """One backward pass reaches weights, without a teacher and with one."""
    batch = next(search.batches(8))
    with torch.no_grad():
        given = batch(model)
    for teacher in (None, given):
        student = copy_network(model)
        loss = task.training_loss(batch(student), teacher, batch, Objective())
        assert loss.dim() == 0 and bool(torch.isfinite(loss)), "the training loss is no finite number"
        torch.autograd.backward(loss)
        reached = [n for n, p in student.named_parameters() if p.grad is not None and bool(p.grad.abs().sum() > 0)]
        assert reached, "the training loss reaches no weight"
    print(f"one backward pass reaches {len(reached)} of {len(list(model.parameters()))} parameters")


def _check_train(task: Task) -> None:
    if task.train is None:
        print("nothing to train on")
        return
    size = min(8, len(task.train))
    passes = [task.train.batches(size, rng=np.random.default_rng(0), drop_last=True) for _ in range(2)]
    one, two = (next(batches) for batches in passes)
    again = task.train.order != "position" or _same(one, two)
    assert again, "train says that it may start anywhere, and is another with the same generator"
    anew = "read anew in each epoch" if task.train.order == "stream" else "in memory"
    print(f"{len(task.train)} {task.each} to train on, {anew}")


def _check_forms(
    task: Task, model: nn.Module, search: Examples, scores: dict[str, float], tolerance: float
) -> dict[str, float]:
    """The score of the network, of its simulation in 8 bits, and of its exported file."""
    batch, metric = next(search.batches(8)), task.metric
    graph = trace(model, task.example(2), axes=task.axes())
    found = {"network": scores[metric.key]}
    layers = dict.fromkeys(quantizable(graph), (8, 8))
    if layers:
        simulated = integerise(model, task.example(2), layers, batch, "mse", axes=task.axes())[1]
        assert simulated is not None
        found["8 bits"] = metric.of(
            _rows(task, simulated.graph.module, search, graph.dynamic_batch, graph.example_batch)
        )
    deployed = Deployed(to_onnx(graph).SerializeToString(), graph)
    found["file"] = metric.of(_rows(task, deployed, search, graph.dynamic_batch, graph.example_batch))
    few = batch if graph.dynamic_batch else graph.example
    with torch.inference_mode():
        ours, theirs = (tensors_of(task.read(few(m), few)) for m in (model, deployed))
    far = max(_far(a, b) for a, b in zip(ours, theirs, strict=True))
    assert far <= tolerance, f"outputs of the exported file differ by {far:.2g} of the largest one"
    assert all(np.isfinite(score) for score in found.values()), f"a score is not finite: {found}"
    print("; ".join(f"{form}: {metric.shown(score)}" for form, score in found.items()) + f"; file {far:.1g} apart")
    return found


def _rows(task: Task, model: nn.Module, examples: Examples, dynamic: bool, size: int) -> FloatArray:
    with torch.inference_mode():
        batches: Iterable[Batch] = examples.batches(8 if dynamic else size)
        return np.concatenate([task.partial(b(model), b) for b in batches if dynamic or b.size == size])


def _far(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return float((ours.double() - theirs.double()).abs().max() / ours.double().abs().max().clamp(min=1e-12))


def _same(one: Batch, other: Batch) -> bool:
    """Whether two batches are the same; NaN is NaN."""
    trees: list[Any] = [tree_leaves((b.args, dict(b.kwargs), b.target, b.valid)) for b in (one, other)]
    alike = tree_map(
        lambda a, b: torch.equal(a, b) or bool(((a == b) | ((a != a) & (b != b))).all())
        if isinstance(a, torch.Tensor) else a == b, *trees,
    )  # fmt: skip
    return len(trees[0]) == len(trees[1]) and all(alike)
