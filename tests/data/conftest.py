"""Where the real data lies."""

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
