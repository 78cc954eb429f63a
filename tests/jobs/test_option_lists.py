"""Whatever is wrong with options is said in one sentence, before anything is loaded."""

from __future__ import annotations

import sys
import types
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netsmith import cli
from netsmith.errors import InputError
from option_lists import COMMANDS, option_list


@pytest.fixture(autouse=True)
def _no_job(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs that do nothing: `benchmarks/fuzz_options.py` lets them work."""

    def stop(*_: Any, **__: Any) -> None:
        raise InputError("far enough")

    for name in (*COMMANDS, "measure"):
        module = types.ModuleType(f"netsmith.jobs.{name}")
        setattr(module, name, stop)
        monkeypatch.setitem(sys.modules, module.__name__, module)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_odd_options_are_one_sentence(seed: int) -> None:
    said: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cli, "_fail", lambda sentence, code, *_, **__: (said.append(sentence), sys.exit(code)))
        with pytest.raises(SystemExit) as stopped:
            cli.main(option_list(seed))
    assert stopped.value.code == 2 and said, f"option_list({seed})"
