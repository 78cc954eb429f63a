"""A job about a network that takes token ids and a mask and returns a data class, from its task to every file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import netsmith
from netsmith.export.feeding import read_feeding
from netsmith.jobs.result import Result
from netsmith.report.page import write_report
from stranger import answer_by


@dataclass
class Answer:
    logits: torch.Tensor
    pooled: torch.Tensor


class Bag(nn.Module):
    """The mean of what two layers make of the tokens that are no padding."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding, self.first, self.second = nn.Embedding(20, 16), nn.Linear(16, 32), nn.Linear(32, 3)

    def forward(self, input_ids: Any, attention_mask: Any) -> Answer:
        x = F.relu(self.first(self.embedding(input_ids)))
        pooled = (x * attention_mask[..., None]).sum(1) / attention_mask.sum(1, keepdim=True)
        return Answer(self.second(pooled), pooled)


def _rows(count: int, seed: int) -> dict[str, torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    mask = torch.arange(8)[None] < torch.randint(2, 9, (count, 1), generator=rng)
    ids = torch.randint(0, 20, (count, 8), generator=rng)
    return {"input_ids": ids, "attention_mask": mask, "labels": ids[:, 0] % 3}


def _task() -> netsmith.Task:
    axes = {name: {1: "length"} for name in ("input_ids", "attention_mask")}
    return netsmith.Task(
        train=_rows(32, 0), search=_rows(48, 1), test=_rows(48, 2), metric="accuracy", axes=axes,
        loss=lambda outputs, batch: F.cross_entropy(outputs.logits, batch["labels"], reduction="none"),
        score=lambda outputs, batch: (outputs.logits.argmax(1) == batch["labels"]).float(),
    )  # fmt: skip


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    out = tmp_path_factory.mktemp("several") / "run"
    return netsmith.compress(
        Bag(), _task(), target="roofline-edge", macs="0.8x", out=out, widths=4, evaluations=2, epochs=0
    )


def test_every_claim_holds_with_the_examples_and_without(result: Result) -> None:
    for task in (_task(), None):
        found = netsmith.verify(result.folder, task, factory=Bag)
        wrong = [c for c in found["claims"] if c["verdict"] not in ("holds", "not checked")]
        assert found["ok"] and not wrong
        assert task is None or not found["counts"]["not checked"]
    names = [c["what"] for c in found["claims"]]
    assert "outputs of model.onnx and model.pt2" in names and "MACs as given" in names


def test_a_stranger_reaches_the_score_that_the_summary_says(result: Result) -> None:
    rows = _rows(48, 2)
    outputs = answer_by(result.product["onnx"])({name: value.numpy() for name, value in rows.items()})
    right = outputs["logits"].argmax(1) == rows["labels"].numpy()
    assert right.mean() == result.summary["result"]["accuracy"]
    assert outputs["pooled"].shape[0] == 48


def test_it_is_exported_again_after_training(result: Result, tmp_path: Path) -> None:
    model = result.float_model
    with torch.no_grad():
        model.second.bias.add_(1.0)
    product = result.export(tmp_path / "again", model)
    batch = {name: value for name, value in _rows(3, 5).items() if name != "labels"}
    outputs = answer_by(product.files["onnx"])({name: value.numpy() for name, value in batch.items()})
    torch.testing.assert_close(torch.from_numpy(outputs["logits"]), model(**batch).logits, atol=1e-4, rtol=1e-4)
    assert product.feeding.takes == read_feeding(result.product["onnx"]).takes


def test_its_program_and_its_page_say_what_goes_in_and_comes_out(result: Result) -> None:
    batch = _rows(3, 5)
    del batch["labels"]
    got = result.model(**batch)
    assert torch.equal(got.logits, got["logits"]) and got.pooled.shape[0] == 3
    text = write_report(result.folder).read_text()
    for part in ("input_ids: int64, batch x length", "attention_mask: bool", "logits: float32, batch x 3"):
        assert part in text
