"""A task of the user's own functions, in every form that examples have."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, TensorDataset

import netsmith
from netsmith import InputError
from netsmith.data.batch import Batch
from netsmith.data.examples import Rows
from netsmith.metrics import Metric
from netsmith.tasks.task import Objective

X, Y = torch.randn(20, 3, generator=torch.Generator().manual_seed(0)), torch.arange(20) % 4


def right(outputs, batch):
    return outputs.argmax(1) == batch[1]


def loss(outputs, batch):
    return F.cross_entropy(outputs, batch[1])


def task(**changes):
    given = {"train": (X, Y), "search": (X, Y), "test": (X, Y), "loss": loss, "score": right, "metric": "accuracy"}
    return netsmith.Task(**{**given, **changes})


def rows_of(task, model, size=20, examples=None):
    examples = task.search if examples is None else examples
    return np.concatenate([task.partial(batch(model), batch) for batch in examples.batches(size)])


class Pairs(Dataset):
    """Pairs of a tensor and a number, with noise in each where wanted."""

    def __init__(self, noise=0.0):
        self.noise = noise

    def __len__(self):
        return 20

    def __getitem__(self, i):
        return X[i] + self.noise * torch.rand(3), int(Y[i])


FORMS = {
    "tensors": lambda: (X, Y),
    "arrays": lambda: (X.numpy(), Y.numpy()),
    "tensor data set": lambda: TensorDataset(X, Y),
    "loader": lambda: DataLoader(TensorDataset(X, Y), batch_size=6),
    "data set": lambda: Pairs(),
    "generator": lambda: ((X[i : i + 7], Y[i : i + 7]) for i in range(0, 20, 7)),
    "function": lambda: lambda: (X, Y),
    "list of examples": lambda: [(X[i], Y[i]) for i in range(20)],
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_examples_gives_the_same_rows(form):
    torch.manual_seed(0)
    model = nn.Linear(3, 4)
    found = task(search=FORMS[form]())
    expected = (model(X).argmax(1) == Y).double().numpy()
    assert (rows_of(found, model)[:, 0] == expected).all()
    assert (rows_of(found, model, size=3)[:, 0] == expected).all()
    assert found.metric.of(rows_of(found, model)) == expected.mean()
    first, again = (list(found.search.contents()) for _ in range(2))
    assert [n for n, _ in first] == [n for n, _ in again] and all(torch.equal(a[1], b[1]) for a, b in zip(first, again))


def test_a_mean_counts_as_often_as_it_has_examples_and_values_as_they_are():
    model = nn.Linear(3, 4)
    for one in (
        loss,
        lambda o, b: F.cross_entropy(o, b[1], reduction="none"),
        lambda o, b: (F.cross_entropy(o, b[1], reduction="none"), torch.ones(len(o))),
        lambda model, b: F.cross_entropy(model(b[0]), b[1]),
    ):
        found = task(loss=one)
        with torch.no_grad():
            totals = np.sum([found.total(b(model), b) for b in found.search.batches(6)], axis=0)
        assert totals == pytest.approx((20 * float(F.cross_entropy(model(X), Y).detach()), 20), rel=1e-5)
        batch = next(found.search.batches(20))
        found.training_loss(batch(model), None, batch, Objective()).backward()
        assert model.weight.grad.abs().sum() > 0


def test_functions_of_the_model_get_what_it_returned_and_are_said():
    found = task(loss=lambda model, batch: F.cross_entropy(model(batch[0]), batch[1]))
    assert any(s.startswith("loss= takes a network") for s in found.sentences) and not task().sentences
    other = task(score=lambda model, batch: model(batch[0] + 1).argmax(1) == batch[1])
    with pytest.raises(InputError, match="score= calls the network on something else"):
        rows_of(other, nn.Linear(3, 4))


def test_a_score_of_one_number_is_asked_for_one_example_at_a_time():
    model = nn.Linear(3, 4)
    found = task(score=lambda o, b: F.mse_loss(o[:, 0], b[0][:, 0]), metric="MSE", higher_is_better=False)
    expected = (model(X)[:, 0] - X[:, 0]).square().detach().numpy()
    assert rows_of(found, model)[:, 0] == pytest.approx(expected, rel=1e-5)
    assert found.metric == Metric("mse", "MSE", "", False)


def test_a_score_that_is_no_mean_is_finished_from_all_rows():
    def counts(outputs, batch):
        told, there = outputs.argmax(1) == 1, batch[1] == 1
        return told & there, told, there

    def f1(rows):
        found, told, there = rows.sum(axis=0)
        return 2 * found / (told + there)

    found = task(score=counts, finish=f1, metric="F1 of ones")
    model = nn.Linear(3, 4)
    rows = rows_of(found, model, size=6)
    told, there = (model(X).argmax(1) == 1).numpy(), (Y == 1).numpy()
    assert rows.shape == (20, 3) and found.metric.key == "f1_of_ones"
    assert found.metric.of(rows) == pytest.approx(2 * (told & there).sum() / (told.sum() + there.sum()))


class Reads(nn.Module):
    """Takes token ids and a mask by name."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(9, 4)

    def forward(self, input_ids, attention_mask=None):
        mask = attention_mask.unsqueeze(-1)
        return {"logits": (self.table(input_ids) * mask).sum(1) / mask.sum(1)}


def test_dicts_of_sentences_of_several_lengths_are_batched_by_length_and_masks_are_known():
    rng = np.random.default_rng(0)
    lengths = rng.integers(2, 5, 20)
    examples = [
        {"input_ids": rng.integers(1, 9, n).tolist(), "attention_mask": [1] * int(n), "label": int(y), "text": "a b"}
        for n, y in zip(lengths, Y)
    ]
    found = task(
        train=examples, search=examples, loss=lambda o, b: F.cross_entropy(o["logits"], b["label"]),
        score=lambda o, b: o["logits"].argmax(1) == b["label"],
    )  # fmt: skip
    assert any("text of search= is text" in s for s in found.sentences)
    batches = list(found.search.batches(4))
    assert sum(b.size for b in batches) == 20 and max(b.size for b in batches) == 4
    assert all(set(b.kwargs) == {"input_ids", "attention_mask"} and bool(b.valid.all()) for b in batches)
    taken = found.search.take(np.array([3, 7]))
    assert sorted(len(row) for b in taken.batches(8) for row in b.kwargs["input_ids"]) == sorted(lengths[[3, 7]])
    model = Reads()
    assert rows_of(found, model, 4).sum() == rows_of(found, model, 20).sum()
    passes = [list(found.train.batches(4, rng=np.random.default_rng(1), drop_last=True)) for _ in range(2)]
    assert len(passes[0]) == found.train.steps(4) == 5
    assert all(torch.equal(a.kwargs["input_ids"], b.kwargs["input_ids"]) for a, b in zip(*passes))


def test_loaders_to_train_on_are_read_anew_and_so_are_examples_that_differ():
    loader = DataLoader(Pairs(noise=1.0), batch_size=6, shuffle=True)
    for train, steps in ((loader, 4), (Pairs(noise=1.0), 3)):
        found = task(train=train)
        assert found.train.order == "stream" and len(found.train) == 20 and found.train.steps(6) == steps
        one, two = (list(found.train.batches(6, rng=np.random.default_rng(0), drop_last=True)) for _ in range(2))
        assert len(one) == steps and not torch.equal(one[0].args[0], two[0].args[0])
        assert len(found.train.take(slice(0, 5))) == 5
    assert [b.size for b in task(train=loader).train.batches(4)] == [4, 2, 4, 2, 4, 2, 2]
    assert task(train=Pairs()).train.order == "position"


def test_a_part_of_every_batch_goes_to_each_process_and_a_pass_can_be_taken_up():
    found = task()
    whole = list(found.train.batches(6, rng=np.random.default_rng(0), drop_last=True))
    later = list(found.train.batches(6, rng=np.random.default_rng(0), drop_last=True, start=2))
    assert len(whole) == 3 and len(later) == 1 and torch.equal(whole[2].args[0], later[0].args[0])
    parts = [
        next(found.train.batches(6, rng=np.random.default_rng(0), drop_last=True, part=(i, 2))).args[0] for i in (0, 1)
    ]
    assert torch.equal(torch.stack(parts, dim=1).flatten(0, 1), whole[0].args[0])


def test_rows_pass_as_they_are_and_augmentation_is_the_users():
    rows = Rows((X,), {}, Y)
    found = task(
        train=rows, search=rows, test=rows, loss=lambda o, b: F.cross_entropy(o, b.target),
        score=lambda o, b: o.argmax(1) == b.target,
    )  # fmt: skip
    assert found.search is rows and rows_of(found, nn.Linear(3, 4)).shape == (20, 1)
    turned = task(augment=lambda batch, rng: (batch[0] + 100 * rng.random(), batch[1]))
    batch = next(
        turned.train.batches(20, rng=np.random.default_rng(0), augment=turned.augmentation("auto"), drop_last=True)
    )
    assert batch.args[0].min() > 1 and turned.augmentation(None) is None


def test_divergence_and_axes_are_the_users_and_batches_can_be_said_whole():
    found = task(
        divergence=lambda o, g, batch: (o - g).abs().sum(1), axes={"x": {1: "length"}},
        inputs=lambda batch: Batch((batch[0],), valid=torch.ones(len(batch[0]), 3)),
    )  # fmt: skip
    batch = next(found.search.batches(5))
    far, weight = found.divergence(torch.zeros(5, 4), torch.ones(5, 4), batch)
    assert far.tolist() == [4.0] * 5 and weight.tolist() == [1.0] * 5
    assert found.axes() == {"x": {1: "length"}} and batch.valid.dtype == torch.bool
    said = found.describe()
    assert said["kind"] == "own" and said["metrics"][0]["key"] == "accuracy" and said["each"] == "examples"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"test": None}, "test= is None"),
        ({"search": (X, Y[:7])}, "every tensor of it needs a row for each example"),
        ({"search": 7}, "cannot be read as examples"),
        ({"search": iter(())}, "has no examples"),
        ({"loss": 3}, "loss= is 3, no function"),
        ({"metric": "%"}, "is no name"),
        ({"train": Rows((X,))}, "are Rows and others are not"),
        ({"search": [(X[0], object())]}, "which is no tensor, array or number"),
    ],
)
def test_what_cannot_be_used_is_refused_in_a_sentence(changes, said):
    with pytest.raises(InputError, match=said):
        task(**changes)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"score": lambda o, b: o}, "1 or 0 for each"),
        ({"score": lambda o, b: o.T}, "return one number for each"),
        ({"score": lambda o, b: b[7]}, "score= of the task raised IndexError"),
        ({"score": lambda o, b: "good"}, "no numbers"),
    ],
)
def test_scores_that_cannot_be_used_are_refused_in_a_sentence(changes, said):
    with pytest.raises(InputError, match=said):
        rows_of(task(**changes), nn.Linear(3, 4))


def test_parts_of_a_pass_have_every_example_once_however_few_have_one_shape():
    examples = [(torch.zeros(n, 3), 0) for n in (1, 2, 2, 3, 3, 3)]
    for split in (task(search=examples).search, task(train=DataLoader(Pairs(), batch_size=7)).train):
        found = [sum(b.size for b in split.batches(2, part=(i, 3))) for i in range(3)]
        assert sum(found) == len(split)


def test_an_example_has_as_many_rows_as_are_asked_for_whatever_the_shapes():
    lengths = (5, 4, 3, 3, 2)
    found = task(search=[(torch.full((n, 3), float(n)), 0) for n in lengths])
    for count in (1, 2, 4):
        assert found.example(count).size == len(found.example(count).args[0]) == count
    assert found.example(2).args[0].shape == (2, 3, 3)
