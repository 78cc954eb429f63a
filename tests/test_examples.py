"""The examples do what they say."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

import netsmith
from netsmith.decisions import Given
from netsmith.hardware import get_target
from netsmith.network.graph import trace
from netsmith.network.load import load_model
from netsmith.testing import check_kind
from warmed import warmed

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def example(name: str) -> ModuleType:
    """The module of an example, as another program would import it."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def own_kind() -> ModuleType:
    return example("own_kind")


def test_the_kind_of_the_example_keeps_the_contract(own_kind: ModuleType) -> None:
    shape = (1, 8, 8)
    model = warmed(load_model("zoo:digits?channels=8&blocks=2").model, shape)
    images = torch.randn(8, *shape, generator=torch.Generator().manual_seed(0))
    given = Given(model, images[:2], trace(model, shape), get_target("roofline-edge").capabilities)
    check_kind(own_kind.Kernels(given), model, images)


def test_a_job_with_the_kind_beats_its_twin_that_tells_no_loss(own_kind: ModuleType, tmp_path: Path) -> None:
    told, blind = (result.summary for result in own_kind.main(tmp_path).values())
    assert told["result"]["accuracy"] > blind["result"]["accuracy"] + 0.2
    for summary in (told, blind):
        assert summary["result"]["macs"] <= 0.8 * summary["baseline"]["macs"]
        assert set(summary["design"].values()) <= {1, 3}
    assert '"do": "kernels"' in (tmp_path / "kernels" / "recipe.json").read_text()


def kept(result: netsmith.Result, key: str, constant: float) -> None:
    """A budget that is met, with more than half of what the network as given knows beyond a constant answer."""
    before, after = (result.summary[side][key] for side in ("baseline", "result"))
    assert all(budget["met"] for budget in result.summary["budgets"])
    assert abs(before - constant) > 0.1 and (after - constant) / (before - constant) > 0.5


def test_a_network_and_a_loader_of_ones_own(tmp_path: Path) -> None:
    own_task = example("own_task")
    assert own_task.make_task().train.order == "stream"
    kept(own_task.main(tmp_path), "accuracy", 0.25)


def test_a_metric_of_ones_own(tmp_path: Path) -> None:
    result = example("own_metric").main(tmp_path)
    kept(result, "f1", 0.2)  # of always an alarm
    assert result.summary["certificate"]["method"] == "bootstrap"


def test_segmentation_draws_what_it_sees(tmp_path: Path) -> None:
    result = example("segmentation").main(tmp_path, count=64, epochs=2)
    assert all(budget["met"] for budget in result.summary["budgets"]) and 0 <= result.summary["result"]["miou"] <= 1
    assert (tmp_path / "run" / "pictures" / "masks.png").read_bytes().startswith(b"\x89PNG")


def test_classes_of_texts(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    kept(example("text").main(tmp_path, epochs=6), "accuracy", 1 / 3)


def test_a_training_loop_of_ones_own(tmp_path: Path) -> None:
    untrained, own = (result.summary for result in example("own_loop").main(tmp_path).values())
    assert untrained["design"] and own["result"]["macs"] <= 0.25 * own["baseline"]["macs"]
    assert own["result"]["mse"] < 0.8 * untrained["result"]["mse"]
