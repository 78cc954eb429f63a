"""The page on devices: what it shows runs as it stands there."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "devices.md"


@pytest.mark.slow
def test_snippets_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    blocks = re.findall(r"^( *)```(python|csv \S+)\n(.*?)^ *```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert sum(language == "python" for _, language, _ in blocks) == 6
    for _, language, text in blocks:
        code = textwrap.dedent(text)
        if language == "python":
            exec(compile(code, "devices.md", "exec"), names)
        else:
            Path(language.split()[1]).write_text(code)
    unpriced = capsys.readouterr().out.splitlines()[0]
    assert unpriced == "()"  # the table of the example has every layer of its network
    assert {p.name for p in tmp_path.iterdir()} >= {"board.json", "device.json", "device.safetensors"}
