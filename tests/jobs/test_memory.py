"""Peak memory in jobs: what is missing on a microcontroller, and limits of a target as budgets that nobody gave."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

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
