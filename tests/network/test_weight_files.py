"""Files of weights as training tools write them: what is taken of them is right, and said."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from netsmith.errors import InputError
from netsmith.network.load import load_model
from netsmith.network.weights import load_weights, save_weights

State = dict[str, torch.Tensor]


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 10))


def moved(state: State) -> State:
    return {k: v + 1 if v.is_floating_point() else v for k, v in state.items()}


def below(prefix: str, state: State) -> State:
    return {f"{prefix}.{k}": v for k, v in state.items()}


def load(content: Any, tmp_path: Path, key: str = "") -> tuple[State, str]:
    """The state of the network after loading what was saved, and what was said of it."""
    torch.save(content, tmp_path / "w.pth")
    model = net()
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    loaded = load_weights(model, f"{tmp_path / 'w.pth'}{key}")
    return dict(model.state_dict()), " ".join(loaded.notes)


@pytest.mark.parametrize(
    ("wrap", "said"),
    [
        (lambda s: s, ""),
        (lambda s: {"epoch": 3, "pytorch-lightning_version": "2.4.0", "state_dict": below("model", s),
                    "optimizer_states": [], "hyper_parameters": {"lr": 0.1}}, "'state_dict.model'"),
        (lambda s: {"state_dict": below("net", s) | {"loss.weight": torch.ones(7)}}, "loss"),
        (lambda s: below("backbone", s), "'backbone'"),
        (lambda s: below("module", s) | {"n_averaged": torch.tensor(5)}, "n_averaged"),
        (lambda s: s | {"total_ops": torch.zeros(1), "0.total_params": torch.zeros(1)}, "total_ops, 0.total_params"),
        (lambda s: s | {"epoch": 3}, "epoch"),
        (lambda s: s | {"epoch": torch.tensor(3)}, "epoch"),
        (lambda s: {"state_dict": s, "best_acc": np.float64(91.2), "seen": np.int64(3)}, "best_acc, seen"),
        (lambda s: {"state_dict": s, "curve": np.arange(3.0)}, "curve"),
        (lambda s: {k: v.numpy() for k, v in s.items()}, ""),
        (lambda s: {"params": s, "params_ema": moved(s)}, "'params_ema' fit as well"),
        (lambda s: {"state_dict_ema": moved(s), "state_dict": s}, "#state_dict_ema"),
        (lambda s: {"generator": s, "discriminator": {"weight": torch.ones(3)}}, "'generator'"),
        (lambda s: below("ema_model", moved(s)) | below("online_model", s) | {"step": torch.tensor(9)}, "'ema_model'"),
        (lambda s: {"model": s, "optimizer": {"state": {0: {"momentum_buffer": torch.ones(4, 1, 3, 3)}}}}, "optimizer"),
        (lambda s: {"models": [{"weights": s}]}, "'models.0.weights'"),
        (lambda s: {"model": {"0": {"weight": s["0.weight"], "bias": s["0.bias"]}} | {
            k: v for k, v in s.items() if k[0] != "0"}}, "'model'"),
    ],
)  # fmt: skip
def test_plain_weights_are_found_and_the_rest_is_named(wrap: Callable[[State], Any], said: str, tmp_path: Path) -> None:
    want = dict(net().state_dict())
    got, notes = load(wrap(want), tmp_path)
    assert all(torch.equal(got[k], v) for k, v in want.items())
    assert said in notes if said else not notes, notes


def test_another_set_of_weights_can_be_named(tmp_path: Path) -> None:
    want = dict(net().state_dict())
    both = {"state_dict": below("model", want), "state_dict_ema": below("model", moved(want))}
    for key in ("#state_dict_ema", "#state_dict_ema.model"):
        got, notes = load(both, tmp_path, key)
        assert torch.equal(got["3.weight"], want["3.weight"] + 1) and "'state_dict_ema.model'" in notes
    with pytest.raises(InputError, match="no weights under 'ema'; it has state_dict, state_dict_ema"):
        load(both, tmp_path, "#ema")
    save_weights(tmp_path / "both.safetensors", below("a", want) | below("a_ema", moved(want)))
    model = net()
    load_weights(model, f"{tmp_path / 'both.safetensors'}#a_ema")
    assert torch.equal(model.state_dict()["3.weight"], want["3.weight"] + 1)
    save_weights(tmp_path / "run#3.safetensors", want)
    assert not load_weights(net(), tmp_path / "run#3.safetensors").notes


def test_an_average_is_taken_where_nothing_else_fits(tmp_path: Path) -> None:
    want = dict(net().state_dict())
    got, notes = load({"state_dict": {"other": torch.ones(3)}, "ema": want}, tmp_path)
    assert torch.equal(got["3.weight"], want["3.weight"]) and "'ema'" in notes


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"state_dict": below("model", s), "epoch": 1}])
def test_weight_norm_of_old_files_goes_into_new_parametrizations(wrap: Callable[[State], Any], tmp_path: Path) -> None:
    old = nn.Sequential(nn.utils.weight_norm(nn.Conv2d(1, 4, 3)), nn.Flatten(), nn.Linear(144, 2))
    new = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Conv2d(1, 4, 3)), nn.Flatten(), nn.Linear(144, 2))
    assert "0.weight_g" in old.state_dict() and "0.weight_g" not in new.state_dict()
    torch.save(wrap(dict(old.state_dict())), tmp_path / "w.pth")
    load_weights(new, tmp_path / "w.pth")
    x = torch.randn(2, 1, 8, 8)
    assert torch.allclose(old(x), new(x), atol=1e-6)


@pytest.mark.parametrize("bad", [float("inf"), float("-inf"), float("nan")])
def test_values_that_are_not_finite_are_named(bad: float, tmp_path: Path) -> None:
    state = {k: v.clone() for k, v in net().state_dict().items()}
    state["1.running_var"][3] = bad
    with pytest.raises(InputError, match=r"w\.pth is unusable: 1\.running_var has 1 of 4 values that are not finite"):
        load({"state_dict": below("model", state)}, tmp_path)
    broken = net()
    broken.load_state_dict(state)
    with pytest.raises(InputError, match=r"Sequential has weights that cannot be used: 1\.running_var has 1 of 4"):
        load_model(broken)
    huge = {k: v.double() * 1e300 if v.is_floating_point() else v for k, v in net().state_dict().items()}
    with pytest.raises(InputError, match="not finite"):  # in the float32 of the network
        load(huge, tmp_path)


def test_a_mask_of_infinities_is_no_damage(tmp_path: Path) -> None:
    class Masked(nn.Linear):
        def __init__(self) -> None:
            super().__init__(3, 3)
            self.register_buffer("mask", torch.full((3, 3), float("-inf")).triu(1))

    want = Masked().state_dict()
    save_weights(tmp_path / "w.safetensors", want)
    model = load_model(Masked()).model
    load_weights(model, tmp_path / "w.safetensors")
    assert all(torch.equal(value, want[name]) for name, value in model.state_dict().items())


def test_objects_of_other_programs_are_left_out_and_their_code_never_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []

    class Config:
        def __init__(self) -> None:
            self.lr = 0.1

        def __setstate__(self, state: Any) -> None:
            ran.append("setstate")

    class AttributeDict(dict):  # type: ignore[type-arg]
        pass

    for kind, home in ((Config, "some_library"), (AttributeDict, "lightning_fabric.utilities.data")):
        kind.__module__, kind.__qualname__ = home, kind.__name__
        for name in (home.rpartition(".")[0].partition(".")[0], home.rpartition(".")[0], home):
            if name:
                monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
        setattr(sys.modules[home], kind.__name__, kind)
    want = dict(net().state_dict())
    content = {"state_dict": want, "config": Config(), "hyper_parameters": AttributeDict(lr=0.1)}
    got, notes = load(content, tmp_path)
    assert torch.equal(got["3.weight"], want["3.weight"]) and "config, hyper_parameters" in notes and not ran

    class Evil:
        def __reduce__(self) -> Any:
            return (eval, ("print('ran')",))

    with pytest.raises(InputError, match="not loaded for safety"):
        load({"state_dict": want, "x": Evil()}, tmp_path)


def test_a_single_layer_does_not_take_another_networks_layer(tmp_path: Path) -> None:
    save_weights(tmp_path / "w.safetensors", {"fc.weight": torch.ones(2, 3), "fc.bias": torch.ones(2)})
    model = nn.Linear(3, 2)
    assert "'fc'" in load_weights(model, tmp_path / "w.safetensors").notes[0]
    save_weights(
        tmp_path / "w.safetensors",
        {"fc.weight": torch.ones(2, 3), "fc.bias": torch.ones(2), "stem.weight": torch.ones(4)},
    )
    with pytest.raises(InputError, match="another network"):
        load_weights(model, tmp_path / "w.safetensors")


def test_programs_and_other_files_are_told_apart(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.trace(net().eval(), torch.zeros(1, 1, 8, 8)), tmp_path / "w.pt")
    with pytest.raises(InputError, match="is a TorchScript program, not weights"):
        load_weights(net(), tmp_path / "w.pt")


def test_a_wrapped_network_takes_what_was_saved_without_its_wrapper(tmp_path: Path) -> None:
    class Module(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = net()

    want = dict(net().state_dict())
    torch.save({"state_dict": want}, tmp_path / "w.pth")
    wrapped = Module()
    nn.init.zeros_(wrapped.model[3].weight)  # type: ignore[arg-type]
    load_weights(wrapped, tmp_path / "w.pth")
    assert torch.equal(wrapped.model[3].weight, want["3.weight"])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wrap", "said"),
    [
        (lambda s: {k.replace("1.", "1._orig_mod."): v for k, v in s.items()}, ""),
        (lambda s: {k.replace("0.", "0._checkpoint_wrapped_module."): v for k, v in s.items()}, ""),
        (lambda s: below("encoder_q", s) | below("encoder_k", moved(s)), "'encoder_k' fit as well"),
        (lambda s: {k: v.to_sparse() if v.ndim == 2 else v for k, v in s.items()}, ""),
    ],
)
def test_tools_that_wrap_or_store_in_another_way(wrap: Callable[[State], Any], said: str, tmp_path: Path) -> None:
    want = dict(net().state_dict())
    got, notes = load(wrap(want), tmp_path)
    assert all(torch.equal(got[k], v) for k, v in want.items())
    assert said in notes


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("0.weight", lambda v: v.to(torch.int8), "values of type int8"),
        ("0.weight", lambda v: v > 0, "values of type bool"),
        ("0.weight", lambda v: v.to(torch.complex64), "values of type complex64"),
        ("0.weight", lambda v: v.to("meta"), "a shape but no values"),
        ("1.running_var", lambda v: -v, "negative variances"),
        ("\x1b[31m", lambda v: v, "unexpected (?[31m)"),
    ],
)
def test_values_that_are_no_weights_are_named(
    name: str, change: Callable[[torch.Tensor], torch.Tensor], words: str, tmp_path: Path
) -> None:
    state = dict(net().state_dict())
    with pytest.raises(InputError) as found:
        load(state | {name: change(state.get(name, torch.ones(2)))}, tmp_path)
    assert words in str(found.value)
    assert "\x1b" not in str(found.value)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("w.pth", b"", "is empty"),
        ("w.pth", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        ("w.safetensors", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        ("w.pth", b"<!DOCTYPE html>", "web page"),
        ("w.pth", b"\x10\0\0\0\0\0\0\0{}", "rename it to .safetensors"),
        ("w.safetensors", b"PK\x03\x04 and more", "rename it to .pth"),
        ("w.pth", b"PK\x03\x04 and more", "damaged"),
        ("w.safetensors", b"\x10\0\0\0\0\0\0\0[[[[[[", "damaged"),
    ],
)
def test_what_a_file_is_instead_is_said_without_the_libraries_words(
    name: str, content: bytes, words: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as found:
        load_weights(net(), tmp_path / name)
    assert words in str(found.value)
    assert not any(w in str(found.value) for w in ("Error", "weights_only", "deserializ", "miniz"))


def test_suffixes_in_capitals(tmp_path: Path) -> None:
    want = net().state_dict()
    torch.save(want, tmp_path / "W.PTH")
    other = net()
    load_weights(other, tmp_path / "W.PTH")
    assert all(torch.equal(value, want[name]) for name, value in other.state_dict().items())
