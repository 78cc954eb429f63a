"""Heads of packed attention in a whole job: searched, removed, written to every file and made again from the recipe."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from netsmith.compression.attention import PrunedAttention
from netsmith.jobs.compress import compress

FACTORY = """
from torch import nn


class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(1, 12, 4, 4)
        self.encoder = nn.TransformerEncoderLayer(12, 6, 8, dropout=0.0, batch_first=True)
        self.fc = nn.Linear(12, 10)

    def forward(self, x):
        return self.fc(self.encoder(self.patches(x).flatten(2).transpose(1, 2)).mean(1))
"""


def test_a_job_removes_heads_to_the_budget(tmp_path: Path) -> None:
    (tmp_path / "tokens.py").write_text(FACTORY)
    torch.manual_seed(0)
    result = compress(
        f"{tmp_path / 'tokens.py'}:Tokens", "digits", target="roofline-edge", methods=("prune",), macs="0.6x", epochs=0,
        strategy="greedy", out=tmp_path / "run",
    )  # fmt: skip
    summary = result.summary
    assert all(b["met"] for b in summary["budgets"])
    assert any(step["do"] == "heads" for step in json.loads((tmp_path / "run" / "recipe.json").read_text())["steps"])
    model, x = result.float_model.eval(), torch.randn(3, 1, 8, 8)
    attention = model.get_submodule("encoder.self_attn")
    assert isinstance(attention, PrunedAttention)
    assert summary["design"]["encoder.self_attn.heads"] == attention.num_heads < 6
    with torch.no_grad():
        torch.testing.assert_close(result.model(x), model(x), rtol=1e-4, atol=1e-5)
    assert summary["result"]["macs"] == _counted(model)


def _counted(model: nn.Module) -> int:
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        model(torch.zeros(1, 1, 8, 8))
    return int(counter.get_total_flops()) // 2
