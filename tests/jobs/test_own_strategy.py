"""A strategy of a user's own, in a file: it is run by what it says of itself, and learns from what it is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from netsmith.errors import InputError
from netsmith.jobs.assembly import assemble, flatten
from netsmith.jobs.config import CompressConfig
from netsmith.jobs.userfile import kind_in
from netsmith.network.userfile import load_file
from netsmith.search import get_strategy, register_strategy
from netsmith.testing import check_strategy

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_strategy.py"
GIVEN = {"model": "zoo:digits", "data": "digits", "latency": "0.5x"}


def test_one_that_is_told_beats_its_twin_that_is_not_in_a_real_job(digits_weights: Path, tmp_path: Path) -> None:
    example = load_file(EXAMPLE)
    network = {"model": "zoo:digits?channels=16&blocks=1", "weights": str(digits_weights)}
    found = example.losses(tmp_path, **network)
    assert found["elite"] < 0.9 * found["deaf"]


def test_the_example_keeps_the_contract() -> None:
    load_file(EXAMPLE)
    check_strategy(lambda problem, space, seed: get_strategy("elite", problem, space, seed), rounds=5)


def test_a_file_names_a_strategy_and_its_traits_are_what_it_was_registered_with(tmp_path: Path) -> None:
    config = assemble(CompressConfig, GIVEN | {"strategy": f"{EXAMPLE}:Elite"})
    assert config.strategy.traits.evaluations == 48 and config.strategy.traits.batch == 6
    assert flatten(config)["strategy"] == f"{EXAMPLE}:Elite" and assemble(CompressConfig, flatten(config)) == config
    assert assemble(CompressConfig, GIVEN | {"strategy": f"{EXAMPLE}:elite"}).strategy.traits.learns
    plain = tmp_path / "plain.py"
    plain.write_text("class Mine:\n    def ask(self, n): ...\n    def tell(self, designs, results): ...\n")
    assert assemble(CompressConfig, GIVEN | {"strategy": f"{plain}:Mine"}).strategy.traits.evaluations == 200
    wrong = {
        f"{plain}:Min": "has no strategy 'Min' (did you mean 'Mine'?)",
        f"{tmp_path}/no.py:Mine": "there is no file",
    }
    for strategy, words in wrong.items():
        with pytest.raises(InputError) as caught:
            assemble(CompressConfig, GIVEN | {"strategy": strategy})
        assert words in str(caught.value)


def test_traits_that_there_are_not_and_names_of_the_house_are_refused() -> None:
    with pytest.raises(InputError, match=r"has a trait 'batches' \(did you mean 'batch'\?\)"):
        register_strategy("mine", batches=3)
    with pytest.raises(InputError, match="there is a strategy 'exact' already"):
        register_strategy("exact")


def test_the_class_of_a_kind_is_no_maker_and_the_function_that_is_one_is_named() -> None:
    kinds = EXAMPLE.with_name("own_kind.py")
    with pytest.raises(InputError, match=r"has no kind 'Kernels'.*kernels_of.*name a function with @register_kind"):
        kind_in(f"{kinds}:Kernels")
    assert kind_in(f"{kinds}:kernels_of") == f"{kinds}:kernels_of"
