"""Peak memory in jobs: what is missing on a microcontroller, and limits of a target as budgets that nobody gave."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from netsmith.jobs.compress import compress
from netsmith.jobs.profile import profile
from netsmith.report.memory import fit_lines, memory_plot

MODEL = "zoo:digits?channels=4&blocks=1"
FILE = """
family = "microcontroller"
sram_bytes = 3000
sram_reserve_bytes = 1000
flash_bytes = 8000
frequency_hz = 1e6
flash_bytes_per_cycle = 0.5

[cycles_per_mac]
"8x8" = 2.0
"32x32" = 8.0
"""


@pytest.fixture
def target(tmp_path: Path) -> str:
    path = tmp_path / "small.toml"
    path.write_text(FILE, encoding="utf-8")
    return str(path)


def test_a_profile_says_what_is_missing(target):
    floats, integers = (profile(MODEL, target=target, bits=bits) for bits in (32, 8))
    assert floats["memory"]["peak_bytes"] == 3 * 4 * 8 * 8 * 4  # the input of a block, and what two layers write
    assert integers["memory"]["peak_bytes"] == 3 * 4 * 8 * 8
    assert floats["fits"]["memory"] == {"limit": 2000.0, "needed": 3072.0, "missing": 1072.0}
    assert integers["fits"]["memory"]["missing"] == 0
    assert integers["fits"]["size"]["needed"] < floats["fits"]["size"]["needed"] == floats["totals"]["size_bytes"]
    assert fit_lines(floats)[0] == "SRAM: does not fit, 1072 bytes are missing (3.07 KB of 2.00 KB)"
    assert fit_lines(integers)[0] == "SRAM: fits (768 B of 2.00 KB)"
    assert profile(MODEL, target="roofline-edge")["fits"] is None


def test_what_a_target_has_room_for_is_a_budget(target, tmp_path):
    said = list[str]()

    class Heard:
        def __getattr__(self, name: str) -> Any:
            return lambda *args, **options: said.extend(a for a in args if isinstance(a, str))

    options: dict[str, Any] = {"target": target, "methods": "prune", "epochs": 0, "progress": Heard()}
    summary = compress(MODEL, "digits", size="0.9x", out=tmp_path / "run", **options).summary
    budgets = {b["cost"]: b for b in summary["budgets"]}
    assert summary["target_limits"] == {"memory": 2000.0, "size": 8000.0}
    assert budgets["memory"]["limit"] == 2000 and budgets["memory"]["met"]
    assert budgets["memory"]["value"] == summary["memory"]["result"]["peak_bytes"] <= 2000
    assert budgets["size"]["limit"] == pytest.approx(min(8000, 0.9 * summary["baseline"]["size_bytes"]))
    assert budgets["size"]["met"]
    assert any("has room for peak memory of 2.00 KB and size of 8.00 KB: these are budgets as well" in s for s in said)
    plot = memory_plot(summary)
    assert plot["plot"].count("<rect") == sum(len(summary["memory"][k]["steps"]) for k in ("baseline", "result"))
    assert 'class="limit"' in plot["plot"] and "3.07 KB while" in plot["says"][0]


class Ways(nn.Module):
    """Three ways side by side: one after the other they need less than all at once."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.ModuleList(nn.Conv2d(1, 16, 3, padding=1) for _ in range(3))
        self.narrow = nn.ModuleList(nn.Conv2d(16, 2, 3, padding=1) for _ in range(3))
        self.head = nn.Linear(6, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        maps = [F.relu(conv(x)) for conv in self.wide]
        both = torch.cat([F.relu(conv(y)) for conv, y in zip(self.narrow, maps, strict=True)], 1)
        return self.head(both.mean((2, 3)))


def test_another_order_may_be_all_that_it_takes(tmp_path):
    options: dict[str, Any] = {"target": "roofline-edge", "methods": "prune", "epochs": 0}
    found = compress(Ways(), "digits", memory="0.5x", reorder=True, out=tmp_path / "run", **options)
    summary = found.summary
    assert summary["result"]["macs"] == summary["baseline"]["macs"] and summary["budgets"][0]["met"]
    assert summary["baseline"]["memory_bytes"] == 4 * 64 * (3 * 16 + 2)
    assert summary["result"]["memory_bytes"] == 4 * 64 * (16 + 2 + 2 + 2) < summary["budgets"][0]["limit"]
    convs = [n for n in onnx.load(str(found.product["onnx"])).graph.node if n.op_type == "Conv"]
    assert [n.input[0] == "input" for n in convs] == [True, False] * 3
