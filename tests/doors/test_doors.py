"""Whatever is wrong with a file, it is read, or refused in one short line."""

from __future__ import annotations

import json
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from doors import attempt, doors
from mutations import mutate

_NAMES = [pytest.param(n, marks=[pytest.mark.slow] if d.slow else []) for n, d in sorted(doors().items())]


@pytest.mark.parametrize("name", _NAMES)
@settings(max_examples=25)
@given(seed=st.integers(0, 2**32))
def test_damaged_files_are_read_or_refused_in_a_sentence(name: str, seed: int) -> None:
    attempt(doors()[name], seed)  # `benchmarks/fuzz.py --door NAME --seed SEED` shows more


@given(seed=st.integers(0, 2**32))
@settings(max_examples=25)
def test_a_seed_is_all_that_a_damaged_file_takes(seed: int) -> None:
    content = json.dumps({"a": [1, 2, {"b": "c"}], "d": 1.5}).encode()
    for name in ("x.json", "x.csv", "x.bin", "x.safetensors"):
        assert mutate(name, content, Random(seed)) == mutate(name, content, Random(seed))
