"""Regression and classes of texts: what is read, and scores against plain reckoning."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn

from netsmith import InputError
from netsmith.tasks import regression

X = torch.randn(60, 4, generator=torch.Generator().manual_seed(0))
Y = X @ torch.tensor([1.0, -2.0, 0.5, 0.0]) + 0.1


def rows_of(task, model, size, examples):
    with torch.no_grad():
        return np.concatenate([task.partial(batch(model), batch) for batch in examples.batches(size)])


def test_errors_of_numbers_and_what_is_explained_of_them():
    task = regression.load({"train": (X[:40], Y[:40]), "val": (X[40:50], Y[40:50]), "test": (X[50:], Y[50:])})
    model = nn.Linear(4, 1)
    rows = rows_of(task, model, 3, task.test)
    far = (model(X[50:])[:, 0] - Y[50:]).detach().double()
    spread = Y[50:].double() - Y[:40].double().mean()
    expected = {
        "mse": far.square().mean(),
        "mae": far.abs().mean(),
        "r2": 1 - far.square().sum() / spread.square().sum(),
    }
    assert task.score(rows) == pytest.approx({k: float(v) for k, v in expected.items()})
    batch = next(task.search.batches(4))
    assert task.loss(batch(model), batch)[0].shape == (4,)
    with pytest.raises(InputError, match="but one number is wanted of each"):
        task.read(torch.zeros(4, 3), batch)


def test_numbers_of_tables_and_of_several_inputs_are_read(tmp_path):
    lines = ["a,b,name,y"] + [
        f"{a:g},{b:g},n{i},{y:g}" for i, ((a, b, *_), y) in enumerate(zip(X.tolist(), Y.tolist()))
    ]
    (tmp_path / "table.csv").write_text("\n".join(lines))
    task = regression.load(str(tmp_path / "table.csv"))
    assert next(task.test.batches(3)).args[0].shape == (3, 2) and task.sentences[0].startswith("name: no numbers")
    two = regression.load(str(tmp_path / "table.csv"), label_column="y, b")
    assert next(two.test.batches(3)).target.shape == (3, 2)
    several = regression.load((X, X[:, :2].long(), torch.stack([Y, Y], 1)))
    batch = next(several.test.batches(3))
    assert [t.shape[1] for t in batch.args] == [4, 2] and batch.args[1].dtype == torch.int64
    (tmp_path / "table.csv").write_text("\n".join([*lines, "1,,x,3"]))
    with pytest.raises(InputError, match=r"row 60 of table.csv has no number in the column 'b'"):
        regression.load(str(tmp_path / "table.csv"))
    with pytest.raises(InputError, match=r"no column 'z' \(columns: a, b, name, y\)"):
        regression.load(str(tmp_path / "table.csv"), label_column="z")
    with pytest.raises(InputError, match="--mean is for pictures"):
        regression.load((X, Y), mean=(0.5,))


WORDS = ["a", "red", "blue", "dog", "cat", "runs", "sleeps", "and", "the"]
TEXTS = [" ".join(np.random.default_rng(i).choice(WORDS, 1 + i % 6)) for i in range(60)]
LABELS = [int("red" in text.split()) for text in TEXTS]


@pytest.fixture(scope="module")
def tokenizer():
    tokenizers = pytest.importorskip("tokenizers")
    made = tokenizers.Tokenizer(
        tokenizers.models.WordLevel(
            {w: i for i, w in enumerate(["[UNK]", "[PAD]", "[SEP]", *WORDS])}, unk_token="[UNK]"
        )
    )
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.post_processor = tokenizers.processors.TemplateProcessing(single="$A [SEP]", special_tokens=[("[SEP]", 2)])
    return made


class Mean(nn.Module):
    """The mean over tokens that are no padding."""

    def __init__(self):
        super().__init__()
        self.table, self.head = nn.Embedding(12, 4), nn.Linear(4, 2)

    def forward(self, input_ids, attention_mask=None):
        mask = attention_mask.unsqueeze(-1)
        return {"logits": self.head((self.table(input_ids) * mask).sum(1) / mask.sum(1))}


class Positional(Mean):
    def forward(self, ids, mask):
        return super().forward(ids, mask)["logits"]


class Alone(Mean):
    def forward(self, ids):
        return super().forward(ids, (ids != 1).long())["logits"]


def test_texts_of_every_form_become_the_same_batches_and_networks_take_them_as_they_do(tmp_path, tokenizer):
    import pyarrow as pa
    import pyarrow.parquet as pq

    from netsmith.tasks import text

    named = ["red" if label else "other" for label in LABELS]
    pq.write_table(pa.table({"sentence": TEXTS, "label": named}), tmp_path / "train.parquet")
    (tmp_path / "csv").mkdir()
    (tmp_path / "csv" / "train.csv").write_text("\n".join(["text,label"] + [f"{t},{n}" for t, n in zip(TEXTS, named)]))
    (tmp_path / "tokenizer.json").write_text(tokenizer.to_str())
    found = [
        text.load(str(tmp_path / "train.parquet"), tokenizer=str(tmp_path / "tokenizer.json")),
        text.load(str(tmp_path / "csv"), tokenizer=tokenizer),
        text.load(list(zip(TEXTS, named)), tokenizer=tokenizer.to_str()),
        text.load([{"text": t, "label": n} for t, n in zip(TEXTS, named)], tokenizer=tokenizer),
    ]
    torch.manual_seed(0)
    model = Mean()
    scores = []
    for task in found:
        assert task.names == ("other", "red") and task.tokens.length == 8 and task.tokens.padding == 1
        task = task.for_network(model)
        batch = next(task.test.batches(4))
        assert set(batch.kwargs) == {"input_ids", "attention_mask"} and batch.valid.dtype == torch.bool
        assert torch.equal(batch.valid, batch.kwargs["input_ids"] != 1)
        scores.append(task.score(rows_of(task, model, 5, task.test)))
    assert all(score == scores[0] for score in scores)
    for kind, count in ((Positional, 2), (Alone, 1)):
        other = kind()
        other.load_state_dict(model.state_dict())
        task = found[0].for_network(other)
        assert len(next(task.test.batches(4)).args) == count
        assert task.score(rows_of(task, other, 5, task.test)) == scores[0]


def test_texts_are_cut_with_their_end_and_weights_say_the_tokenizer(tokenizer):
    from netsmith.tasks import text

    task = text.load(list(zip(TEXTS, LABELS)), tokenizer=tokenizer, max_length=4)
    batch = task.encode(["a red dog and the cat", "dog"])
    assert batch.args[0].tolist() == [[3, 4, 6, 2], [6, 2, 1, 1]] and batch.valid.sum() == 6
    assert "longer ones are cut" in task.sentences[0]
    header = task.metadata
    again = text.load(list(zip(TEXTS, LABELS)), header)
    assert again.describe() == task.describe() and json.loads(header["task"])["kind"] == "text-classification"
    assert task.decode(torch.tensor([[0.0, 1.0], [1.0, 0.0]])) == ["1", "0"]


@pytest.mark.parametrize(
    ("data", "options", "said"),
    [
        ([("a", 0), ("", 1)], {}, "row 1 of the all part has no text"),
        (["a", "b"], {}, "give pairs of a text and its label"),
        ([("a", 0), ("b", 0)], {}, "has one class"),
        ([("a", 0), ("b", 1)], {"tokenizer": "nowhere.json"}, "is no file of tokenizers"),
        ([("a", 0), ("b", 1)], {"tokenizer": None}, "give its tokenizer.json by --tokenizer"),
        ([("a", 0), ("b", 2)], {"classes": ["x", "y"]}, "the label 2; number the classes from 0"),
    ],
)
def test_texts_that_cannot_be_used_are_refused(tokenizer, data, options, said):
    from netsmith.tasks import text

    with pytest.raises(InputError, match=said):
        text.load(data, **{"tokenizer": tokenizer, **options})
