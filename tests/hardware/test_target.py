"""What lies beside the contract of a target: the parts that only some targets have."""

from __future__ import annotations

import numpy as np
import pytest

from netsmith.errors import InputError
from netsmith.hardware import Capabilities, Cost, get_target
from netsmith.hardware.target import prepare_target, roof_of, settings_of
from netsmith.network.layers import LayerTable
from netsmith.progress import Silent

ROWS = LayerTable.from_rows([{"name": "a", "kind": 0, "c_in": 3, "c_out": 8}, {"name": "b", "kind": 1, "c_in": 8}])


class Measured:
    """A target that notes what it is to measure."""

    name, capabilities = "measured", Capabilities(measured=True)

    def __init__(self) -> None:
        self.prepared: list[LayerTable] = []

    def prepare(self, table: LayerTable, progress: object = None) -> None:
        assert progress is not None
        self.prepared.append(table)

    def cost(self, table: LayerTable, batch: int = 1) -> Cost:
        return Cost(np.zeros(table.kind.shape))


class Stages(Silent):
    def __init__(self) -> None:
        self.names: list[str] = []

    def stage(self, name: str) -> None:
        self.names.append(name)


def test_a_target_that_measures_is_handed_the_rows() -> None:
    target, progress = Measured(), Stages()
    prepare_target(target, ROWS, progress)
    prepare_target(target, lambda: ROWS.take([1]), progress)
    assert [t.names for t in target.prepared] == [("a", "b"), ("b",)] and progress.names == ["latency table"] * 2


def test_a_formula_needs_no_preparation_and_its_rows_are_not_made() -> None:
    def made() -> LayerTable:
        raise AssertionError("rows were made for a target that does not want them")

    progress = Stages()
    prepare_target(get_target("roofline-edge"), made, progress)
    assert progress.names == []


@pytest.mark.parametrize(
    ("spec", "hint"),
    [("board.json", "'table:board.json'"), ("x/T.CSV", "'table:x/T.CSV'"), ("p.safetensors", "'predictor:p.safetens")],
)
def test_a_file_without_its_target_is_recognised(spec: str, hint: str) -> None:
    with pytest.raises(InputError, match=rf"unknown target '{spec}' \(did you mean {hint}"):
        get_target(spec)


def test_settings_and_roof_may_be_missing() -> None:
    assert settings_of(Measured()) == {} and roof_of(Measured(), 8, 8) is None
    edge = get_target("roofline-edge")
    assert settings_of(edge)["simulated"] and roof_of(edge, 8, 8) is not None
