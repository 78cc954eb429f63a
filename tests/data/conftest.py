"""Where the real data lies, and a cache of decoded images for each test."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture
def shared_data() -> Path:
    default = Path(__file__).parents[2] / ".." / "shared" / "data"
    folder = Path(os.environ.get("NETSMITH_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no data at {folder}; set NETSMITH_DATA")
    return folder


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NETSMITH_CACHE", str(tmp_path / "cache"))
