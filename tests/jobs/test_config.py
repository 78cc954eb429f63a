"""Options are written once: what is made of them agrees with what they choose among, and bad ones are found at once."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

import netsmith
from netsmith.cli.reference import page
from netsmith.errors import InputError
from netsmith.files import to_path
from netsmith.jobs.assembly import assemble, flatten, options_of
from netsmith.jobs.config import (
    METHODS,
    STRATEGIES,
    CompressConfig,
    Exact,
    FineTune,
    Images,
    Prune,
    Quantize,
    Share,
    SpecializeConfig,
    TrainConfig,
)

GIVEN: dict[str, Any] = {"model": "zoo:digits", "data": "digits", "latency": "0.5x"}


def compress(**options: Any) -> CompressConfig:
    return assemble(CompressConfig, GIVEN | options)


def choices(config: type, name: str) -> set[str]:
    return set(options_of(config)[name].meaning.limits.choices)


def test_options_offer_what_there_is() -> None:
    from netsmith.accuracy.sensitivity import MEASURES
    from netsmith.compression import calibrate, importance
    from netsmith.decisions.channels import WIDTHS
    from netsmith.search.registry import BUILT_IN, strategy_spec
    from netsmith.supernets.gates import Mode
    from netsmith.supernets.objective import Form
    from netsmith.systems import amc
    from netsmith.training.schedule import SCHEDULES

    assert set(STRATEGIES) == set(BUILT_IN)
    assert choices(CompressConfig, "importance") == set(importance.CRITERIA)
    assert choices(CompressConfig, "calibration") == set(calibrate.METHODS)
    assert choices(CompressConfig, "sensitivity") == set(MEASURES)
    assert choices(SpecializeConfig, "mode") == set(get_args(Mode))
    assert choices(SpecializeConfig, "loss") == set(get_args(Form))
    assert choices(TrainConfig, "schedule") == set(SCHEDULES)
    assert strategy_spec("amc").traits.evaluations == amc.EPISODES and Prune().widths == WIDTHS


def test_the_page_of_options_is_what_the_code_says() -> None:
    written = Path(__file__).parents[2] / "docs" / "options.md"
    assert written.read_text(encoding="utf-8") == page(), "run: python -m netsmith.cli.reference > docs/options.md"


def test_flat_options_and_configurations_say_the_same() -> None:
    flat = compress(methods="prune,quantize", widths=16, least_bits=4, evaluations=9, epochs=3, image_size=8)
    whole = compress(
        methods=(Prune(widths=16), Quantize(least_bits=4)), strategy=Exact(evaluations=9), fine_tune=FineTune(epochs=3),
        images=Images(image_size=8),
    )  # fmt: skip
    assert flat == whole
    record = flatten(whole)
    assert record["methods"] == ["prune", "quantize"] and record["strategy"] == "exact" and record["widths"] == 16
    assert assemble(CompressConfig, record) == whole


def test_each_method_has_its_own_least_bits() -> None:
    assert flatten(compress(methods="share", size="0.3x", latency=None))["least_bits"] == Share().least_bits == 1
    assert flatten(compress(methods="prune"))["least_bits"] == Quantize().least_bits == 2


def test_a_thing_of_python_is_recorded_by_a_name_that_lasts() -> None:
    from torch import nn

    record = flatten(compress(model=nn.Linear(2, 2), data=[("x", 1)], classes=("a", "b")))
    assert record["model"] == "Linear" and "0x" not in record["data"] and record["classes"] == ["a", "b"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"epoch": 3}, "no option 'epoch' (did you mean 'epochs'?)"),
        ({"epochs": "3x"}, "--epochs must be a whole number"), ({"epochs": 1.5}, "--epochs must be a whole number"),
        ({"epochs": True}, "--epochs must be a whole number"), ({"weights": 5}, "--weights must be a text"),
        ({"lr": 0}, "--lr must be above 0"), ({"lr": float("nan")}, "--lr must be finite"),
        ({"seed": 2**64}, "--seed must be at most"), ({"image_size": 10**9}, "--image-size must be at most"),
        ({"latency": 3}, "3 has no unit"), ({"latency": None}, "there is no budget"),
        ({"mean": (0.5,)}, "--mean and --std belong together"),
        ({"mean": (0.5, 0.5), "std": (1,)}, "--mean has 2 numbers and --std 1"), ({"data": ""}, "--data is empty"),
        ({"weights": "nowhere.pth"}, "there is no file nowhere.pth for --weights"), ({"weights": ""}, "is empty"),
        ({"model": "no.py:net"}, "there is no file no.py"), ({"model": "design:no.json"}, "there is no file no.json"),
        ({"methods": ()}, "--methods is empty"), ({"methods": 3}, "--methods must be one or more of"),
        ({"methods": (Prune(), "quantise")}, "did you mean 'quantize'"), ({"strategy": Prune()}, "unknown strategy"),
        ({"methods": "prune", "least_bits": 4}, "--least-bits is of quantize or share"),
        ({"methods": (Prune(),), "widths": 16}, "--widths is given beside a configuration that has it"),
        ({"fine_tune": FineTune(), "epochs": 3}, "--epochs is given beside a configuration"),
        ({"fine_tune": 3}, "--fine-tune must be a FineTune"),
        ({"strategy": "netadapt", "evaluations": 5}, "drop --evaluations"),
    ],
)  # fmt: skip
def test_bad_options_are_one_sentence_before_anything_is_loaded(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError) as caught:
        compress(**options)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_the_signature_shows_every_option() -> None:
    shown = inspect.signature(netsmith.compress).parameters
    assert set(options_of(CompressConfig)) <= set(shown) and {"methods", "fine_tune", "out"} <= set(shown)
    assert shown["widths"].default == 8 and set(METHODS) == {"prune", "quantize", "share", "sparsify"}


class Hidden:
    def __repr__(self) -> str:
        raise RuntimeError("nobody may look")


WRONG: tuple[Any, ...] = (
    [], {}, {1}, 10**5000, "a" * 100_000, "\ud800", b"x", Hidden(), Hidden, Prune, Exact, np.ones(3),
    np.ones((40, 40)), ...,
)  # fmt: skip


def test_whatever_python_gives_is_refused_in_a_short_sentence(tmp_path: Path) -> None:
    good: dict[str, Any] = GIVEN | {"out": tmp_path / "run", "target": "bitfusion"}
    others = ("strategy", "methods", "fine_tune", "budgets", "out", "resume", "progress", "job", "epochs", "latency")
    for name in ("seed", "lr", "weights", "label_column", "mean", *others):
        for value in WRONG:
            if name in ("methods", "job", "label_column", "out") and isinstance(value, str | list):
                continue  # an empty list has a sentence of its own, and any text may be a name
            with pytest.raises(InputError) as found:
                netsmith.compress(**(good | {name: value}))
            assert len(str(found.value)) <= 600 and "\n" not in str(found.value), name
    for value in (3, 10**5000, Hidden(), "\ud800"):
        with pytest.raises(InputError, match=r"MODEL must be"):
            netsmith.compress(value, "digits", latency="0.5x", out=tmp_path / "run")
    with pytest.raises(InputError, match=r"unknown strategy the class Exact: write Exact\(\); known"):
        compress(strategy=Exact)
    with pytest.raises(InputError, match=r"nobody has the home ~nosuchuser; write the whole path"):
        netsmith.compress(**(good | {"out": "~nosuchuser/run"}))
    for options in (
        {"space": tmp_path}, {"space": None}, {"watch": 3}, {"out": None}, {"out": "a" * 300}, {"compare": Hidden()},
    ):  # fmt: skip
        with pytest.raises(InputError, match=r"must be|unknown space|longer than a name may be"):
            netsmith.specialize(
                **({"space": "tiny", "data": "digits", "macs": "0.5x", "target": "bitfusion"} | options)
            )
    for options in ({"epochs": 1, "progress": print}, {"epochs": 1, "progress": 3}, {"epochs": 1, "resume": 1}):
        with pytest.raises(InputError, match=r"must be"):
            netsmith.train("zoo:digits", "digits", out=tmp_path / "a.safetensors", **options)
    assert not list(tmp_path.iterdir())


def test_numbers_of_numpy_are_numbers() -> None:
    found = compress(
        epochs=np.int64(3), lr=np.float32(0.5), seed=np.uint8(4), huffman=np.bool_(True), mean=np.array([0.5, 0.25]),
        std=np.ones(2), target=np.str_("cpu"),
    )  # fmt: skip
    assert found == compress(epochs=3, lr=0.5, seed=4, huffman=True, mean=(0.5, 0.25), std=(1.0, 1.0))
    assert type(found.fine_tune.epochs) is int and type(found.huffman) is bool and type(found.images.std[0]) is float  # type: ignore[index]
    with pytest.raises(InputError, match=r"--epochs must be a whole number, not 3\.5"):
        compress(epochs=np.float32(3.5))


def test_a_home_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from netsmith.network.load import load_model
    from netsmith.network.sourcefiles import source_files
    from netsmith.network.weights import save_weights

    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "net.py").write_text("from torch import nn\ndef net():\n    return nn.Linear(2, 3)\n")
    save_weights(tmp_path / "w.safetensors", load_model("~/net.py:net").model.state_dict())
    assert load_model("~/net.py:net", weights="~/w.safetensors").metadata and source_files("~/net.py:net")
    assert to_path("~/runs/x") == tmp_path / "runs" / "x"


def test_random_numbers_of_the_caller_go_on(tmp_path: Path) -> None:
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    shuffled = DataLoader(TensorDataset(torch.full((8, 1, 8, 8), torch.nan), torch.arange(8)), 4, shuffle=True)
    torch.manual_seed(5)
    with pytest.raises(InputError, match="NaN"):
        netsmith.compress("zoo:digits", shuffled, macs="0.5x", target="bitfusion", out=tmp_path)
    after = torch.rand(1)
    torch.manual_seed(5)
    assert torch.equal(after, torch.rand(1))


def test_names_that_no_file_can_hold_are_refused(tmp_path: Path) -> None:
    labels = [("\udcff", "b")[i % 2] for i in range(20)]
    pixels = np.random.default_rng(0).integers(0, 255, (20, 1, 8, 8), np.uint8)
    for options in ({"data": (pixels, labels)}, {"classes": ["\udcff", "b"]}):
        with pytest.raises(InputError, match="UTF-8; rename it"):
            netsmith.compress(**({"model": "zoo:digits", "data": "digits", "macs": "0.5x", "out": tmp_path} | options))
    with pytest.raises(InputError, match="--methods has prune twice, differently"):
        compress(methods=(Prune(), Prune(widths=4)))
