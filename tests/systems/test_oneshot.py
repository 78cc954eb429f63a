"""Single path one-shot: paths drawn alike, scored with shared weights, and evolution within the budgets."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from block_paths import graded_data, random_table, steep, tiny_space
from labelled import Labelled, pictures
from netsmith.errors import InfeasibleError
from netsmith.search.strategy import Designs, FloatArray
from netsmith.space import CostTable
from netsmith.supernets import SuperNet
from netsmith.systems.oneshot import UNIFORM_LR, evolve, path_losses, shuffled, train_uniform
from netsmith.training import Training


def test_training_draws_all_paths_alike_and_leaves_probabilities_alone() -> None:
    torch.set_num_threads(1)
    network = steep(SuperNet(tiny_space(), 10, 1), scale=5.0)
    logits, seen = network.logits.clone(), list[Designs]()
    original = network._next

    def spy() -> Designs:
        seen.append(original())
        return seen[-1]

    network._next = spy  # type: ignore[method-assign]
    before = {k: v.clone() for k, v in network.named_parameters()}
    train_uniform(network, Labelled(graded_data()), Training(epochs=8, lr=UNIFORM_LR, batch_size=16, bf16=False))
    drawn = np.array(seen)
    for d, size in enumerate(network.space.decisions.sizes):
        share = np.bincount(drawn[:, d], minlength=size) / len(drawn)
        assert np.abs(share - 1 / size).max() < 0.12  # 256 draws; the logits alone would take one of them always
    assert torch.equal(network.logits, logits)
    assert all(not torch.equal(v, before[k]) for k, v in network.named_parameters() if v.ndim > 1)


def test_losses_of_paths_are_those_of_their_networks_on_batch_statistics() -> None:
    network, data = steep(SuperNet(tiny_space(), 10, 1)), graded_data()
    state = {k: v.clone() for k, v in network.state_dict().items()}
    designs = network.space.decisions.sample(np.random.default_rng(0), 4)
    found = path_losses(network, Labelled(data), count=128, batch=64)(designs)
    for design, loss in zip(designs, found, strict=True):
        plain = network.extract(design).train()
        parts = shuffled(pictures(data.search, data.normalisation)).take(slice(0, 128)).batches(64)
        with torch.no_grad():
            wanted = np.mean([float(F.cross_entropy(batch(plain), batch.target)) for batch in parts])
        assert loss == pytest.approx(wanted, rel=1e-5)
    assert all(torch.equal(v, state[k]) for k, v in network.state_dict().items())
    assert network.path is None


@pytest.fixture
def problem() -> tuple[CostTable, FloatArray]:
    network = SuperNet(tiny_space(6), 10, 1)
    return random_table(network, 1), np.random.default_rng(2).random(tuple(network.logits.shape))


def all_losses(table: CostTable, quality: FloatArray, limit: float) -> FloatArray:
    """Of every path within the budget."""
    every = np.array(list(itertools.product(*(range(int(n)) for n in np.isfinite(table.unary).sum(axis=1)))))
    kept = every[table.price(every) <= limit]
    return np.asarray(-quality[np.arange(len(quality)), kept].sum(axis=1))


@pytest.mark.parametrize("started", [False, True])
def test_evolution_comes_near_the_best_path_within_the_budget(
    problem: tuple[CostTable, FloatArray], started: bool
) -> None:
    table, quality = problem
    limit = float(table.price(np.zeros((1, len(quality)), dtype=np.int64))[0]) + 2.0
    asked: list[tuple[int, ...]] = []

    def evaluate(designs: Designs) -> FloatArray:
        asked.extend(map(tuple, designs.tolist()))
        return np.asarray(-quality[np.arange(len(quality)), designs].sum(axis=1))

    start = np.zeros((3, len(quality)), dtype=np.int64) if started else None
    history = evolve(evaluate, {"latency": table}, {"latency": limit}, 200, population=16, start=start)
    assert len(asked) == len(set(asked)) <= 200
    assert history.feasible.all() and table.price(history.best) <= limit
    every = all_losses(table, quality, limit)
    assert len(every) > 2000 and np.mean(every < history.loss.min() - 1e-9) < 0.005  # 200 random ones: likely not


def test_a_start_below_its_budget_is_filled(problem: tuple[CostTable, FloatArray]) -> None:
    table, quality = problem
    cheapest = table.unary.argmin(axis=1)[None]
    limit = 1.5 * float(table.price(cheapest)[0])
    history = evolve(lambda d: np.zeros(len(d)), {"latency": table}, {"latency": limit}, 1, start=cheapest)
    used = float(table.price(history.designs[0])[0])
    single = (
        np.where(np.isfinite(table.unary), table.unary, -np.inf)
        - table.unary[np.arange(len(quality)), history.designs[0]][:, None]
    )
    assert used <= limit
    assert not ((single > 0) & (used + single <= limit)).any()  # no choice of one block is dearer and still fits


def test_an_infeasible_budget_says_what_can_be_reached(problem: tuple[CostTable, FloatArray]) -> None:
    table, _ = problem
    with pytest.raises(InfeasibleError) as stopped:
        evolve(lambda d: np.zeros(len(d)), {"latency": table}, {"latency": 0.1}, 8)
    assert stopped.value.reachable["latency"] == pytest.approx(float(table.price(table.unary.argmin(axis=1)[None])[0]))


def test_few_evaluations_go_to_the_first_of_the_start(problem: tuple[CostTable, FloatArray]) -> None:
    table, quality = problem
    limit = float(table.price(np.nanargmax(np.where(np.isfinite(table.unary), table.unary, np.nan), axis=1)[None])[0])
    start = np.stack([np.isfinite(table.unary).sum(axis=1) - 1, np.zeros(len(quality), dtype=np.int64)])
    history = evolve(lambda d: np.zeros(len(d)), {"latency": table}, {"latency": limit}, 1, start=start)
    filled = evolve(lambda d: np.zeros(len(d)), {"latency": table}, {"latency": limit}, 1, start=start[:1])
    assert np.array_equal(history.designs, filled.designs)


def test_a_split_sorted_by_class_is_mixed() -> None:
    data = graded_data()
    order = torch.argsort(data.search.labels)
    sorted_by_class = pictures(data.search.take(order), data.normalisation)
    once, again = (next(shuffled(sorted_by_class).batches(len(order))).target for _ in range(2))
    assert len(torch.unique(once[:64])) == 10 and torch.equal(once, again)
    assert torch.equal(torch.sort(once).values, data.search.labels[order])
