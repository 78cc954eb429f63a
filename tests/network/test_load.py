from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import textwrap
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from netsmith.errors import InputError
from netsmith.jobs.contents import contents_of
from netsmith.network.load import load_model
from netsmith.network.weights import load_weights, read_weights, save_weights

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def _write(text: str, name: str = "net.py") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path

    return _write


NET = """
    from torch import nn
    import torch

    def make(num_classes=10, in_channels=3, width=8):
        return nn.Sequential(nn.Conv2d(in_channels, width, 3), nn.BatchNorm2d(width), nn.Flatten(),
                             nn.LazyLinear(num_classes) if width < 0 else nn.Linear(width * 4, num_classes))

    class Small(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 2)
        def forward(self, x):
            return self.fc(x)

    ready = nn.Linear(3, 2)
    number = 7
    def needs(a, b): return nn.Linear(a, b)
    def breaks(): raise ValueError("no such depth")
    def leaves(): raise SystemExit(3)
    def wrong(): return {"a": 1}
    def nothing(): pass
    class Shelf:
        make = staticmethod(lambda: nn.Linear(1, 1))
"""


def fails(spec: object, **kwargs: object) -> str:
    with pytest.raises(InputError) as error:
        load_model(spec, **kwargs)  # type: ignore[arg-type]
    message = str(error.value)
    assert "\n" not in message and "Traceback" not in message
    return message


def test_file_with_options(write: Write) -> None:
    path = write(NET)
    loaded = load_model(f"{path}:make?width=4", num_classes=5, input_shape=(1, 4, 4))
    assert not loaded.model.training
    assert loaded.model[0].weight.shape == (4, 1, 3, 3)  # type: ignore[index,union-attr]
    assert loaded.model[3].out_features == 5  # type: ignore[index,union-attr]
    assert (loaded.num_classes, loaded.input_shape) == (5, (1, 4, 4))
    assert isinstance(load_model(f"{path}:Shelf.make").model, nn.Linear)
    assert load_model(f"{path}:Small", num_classes=5).num_classes is None  # it has no such parameter


def test_factory_repeats_the_network_without_sharing(write: Write) -> None:
    loaded = load_model(f"{write(NET)}:make", seed=3)
    state = torch.get_rng_state()
    again = loaded.factory()
    assert torch.equal(torch.get_rng_state(), state)
    assert not again.training
    for (name, a), b in zip(loaded.model.state_dict().items(), again.state_dict().values(), strict=True):
        assert torch.equal(a, b) and (a.numel() == 0 or a.data_ptr() != b.data_ptr()), name
    assert not torch.equal(load_model(loaded.spec, seed=4).model[0].weight, again[0].weight)  # type: ignore[index]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("mak", ["did you mean 'make'", "Small"]),
        ("", ["is a file alone", "net.py:NAME", "make"]),
        ("number", ["number", "int, not a callable"]),
        ("needs", ["the arguments a, b", "?a=VALUE"]),
        ("needs?a=1", ["the argument b"]),
        ("make?widht=3", ["did you mean 'width'"]),
        ("make?width=3&width=4", ["twice"]),
        ("breaks", ["ValueError", "no such depth"]),
        ("leaves", ["SystemExit"]),
        ("wrong", ["returned dict"]),
        ("nothing", ["returned NoneType"]),
        ("ready?a=1", ["takes no options"]),
    ],
)
def test_mistakes_with_files(write: Write, name: str, says: list[str]) -> None:
    message = fails(f"{write(NET)}:{name}")
    assert all(s in message for s in says), message


def test_missing_and_broken_files(write: Write, tmp_path: Path) -> None:
    assert "there is no file" in fails(str(tmp_path / "none.py:make"))
    assert "is a file alone" in fails(str(write(NET)))
    syntax = write("a = 1\nb = (", "syntax.py")
    assert "line 2" in fails(f"{syntax}:make")
    divide = write("a = 1\nb = a / 0", "divide.py")
    message = fails(f"{divide}:make")
    assert "ZeroDivisionError" in message and "line 2" in message
    assert "no_such_package_here" in fails(f"{write('import no_such_package_here', 'imports.py')}:make")
    (tmp_path / "binary.py").write_bytes(b"\x00\xff\xfe")
    fails(f"{tmp_path / 'binary.py'}:make")


def test_files_of_the_same_name_do_not_clash(write: Write) -> None:
    """Two projects with a ``net.py`` and a ``parts.py`` each, loaded in one process; imports inside functions too."""
    net = """
        from dataclasses import dataclass
        from torch import nn
        from parts import SIZE

        @dataclass
        class Config:
            size: int = SIZE

        def make():
            from parts import late
            return nn.Linear(Config().size, late())
    """
    specs = []
    for i, folder in enumerate(("one", "two"), start=1):
        write(f"SIZE = {i}\ndef late(): return {10 * i}", f"{folder}/parts.py")
        specs.append(f"{write(net, f'{folder}/net.py')}:make")
    path = list(sys.path)
    one, two = (load_model(s) for s in specs)
    assert one.model.weight.shape == (10, 1)  # type: ignore[union-attr]
    assert two.model.weight.shape == (20, 2)  # type: ignore[union-attr]
    assert one.factory().weight.shape == (10, 1)  # type: ignore[union-attr]
    assert two.factory().weight.shape == (20, 2)  # type: ignore[union-attr]
    assert sys.path == path
    assert "net" not in sys.modules
    sys.modules.pop("parts", None)


def test_a_user_file_named_like_a_library_does_not_replace_it(write: Write) -> None:
    path = write("from torch import nn\ndef make(): return nn.Linear(2, 2)", "safetensors.py")
    before = sys.modules.get("torch")
    assert isinstance(load_model(f"{path}:make").model, nn.Linear)
    assert sys.modules.get("torch") is before
    import safetensors

    assert Path(safetensors.__file__ or "") != path


def test_changed_file_is_loaded_anew(write: Write) -> None:
    text = "from torch import nn\ndef make(): return nn.Linear(2, {})"
    assert load_model(f"{write(text.format(3))}:make").model.out_features == 3  # type: ignore[union-attr]
    assert load_model(f"{write(text.format(12))}:make").model.out_features == 12  # type: ignore[union-attr]


def test_packages() -> None:
    loaded = load_model("torch.nn:Linear?in_features=3&out_features=2")
    assert isinstance(loaded.model, nn.Linear)
    assert "no Python package" in fails("no_such_package.module:make")
    assert "no Python package torch.no_such_module" in fails("torch.no_such_module:make")
    assert "did you mean 'Identity'" in fails("torch.nn.modules.linear:Identiy")


@pytest.mark.parametrize("spec", ["", ":", "resnet", "zoo", "make:"])
def test_no_form(spec: str) -> None:
    assert "file.py:callable" in fails(spec)


def test_forgotten_zoo_is_guessed() -> None:
    assert "did you mean 'zoo:cifar_resnet20'" in fails("cifar_resnet20")


def test_contradicting_classes() -> None:
    assert "num_classes=5, but 7 is needed" in fails("zoo:digits?num_classes=5", num_classes=7)


def test_modules_and_callables_in_python() -> None:
    mine = nn.Sequential(nn.Linear(3, 2)).train()
    loaded = load_model(mine)
    with torch.no_grad():
        mine[0].weight.zero_()  # type: ignore[operator]
    assert mine.training and not loaded.model.training
    assert loaded.model[0].weight.any() and loaded.factory()[0].weight.any()  # type: ignore[index,union-attr,operator]
    assert isinstance(load_model(lambda: nn.Linear(1, 1)).model, nn.Linear)
    assert load_model(nn.Identity).spec == "Identity"
    assert "not as int" in fails(3)
    assert "needs the argument" in fails(lambda a: nn.Linear(a, 1))


# weights


def test_round_trip_is_exact(tmp_path: Path) -> None:
    model = load_model("zoo:digits", seed=1).model
    path = tmp_path / "folder" / "w.safetensors"
    save_weights(path, model.state_dict(), {"epochs": 3})
    assert sorted(os.listdir(path.parent)) == ["w.safetensors"]
    loaded = load_model("zoo:digits", weights=path)
    assert loaded.metadata["epochs"] == "3"
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, loaded.model.state_dict()[name]), name


def test_tied_and_strided_tensors_are_written(tmp_path: Path) -> None:
    a = torch.arange(6.0).reshape(2, 3)
    save_weights(tmp_path / "w.safetensors", {"a": a, "b": a, "c": a.t()})
    state, _ = read_weights(tmp_path / "w.safetensors")
    assert torch.equal(state["b"], a) and torch.equal(state["c"], a.t())


def state_of(model: nn.Module) -> dict[str, torch.Tensor]:
    return dict(model.state_dict())


@pytest.mark.parametrize(
    "wrap",
    [
        lambda s: s,
        lambda s: {"state_dict": s, "epoch": 3, "best": 0.9, "args": argparse.Namespace(lr=0.1)},
        lambda s: {"model": {"state_dict": s}, "optimizer": {"state": {}, "param_groups": []}},
        lambda s: {"model_state": s},
        lambda s: {"net": {f"module.{k}": v for k, v in s.items()}, "acc": 93.1},
        lambda s: {"ema": s, "epoch": 1},
        lambda s: {f"module._orig_mod.{k}": v for k, v in s.items()},
        lambda s: {f"_orig_mod.module.{k}": v for k, v in s.items()},
        lambda s: {k: v for k, v in s.items() if not k.endswith("num_batches_tracked")},
    ],
)
@pytest.mark.parametrize("suffix", [".pth", ".th", ".pt"])
def test_checkpoints_of_many_shapes(tmp_path: Path, wrap: Callable[[object], object], suffix: str) -> None:
    source = load_model("zoo:digits?channels=4&blocks=1", seed=5)
    path = tmp_path / f"c{suffix}"
    torch.save(wrap(state_of(source.model)), path)
    loaded = load_model("zoo:digits?channels=4&blocks=1", weights=path)
    assert torch.equal(loaded.model.conv1.weight, source.model.conv1.weight)  # type: ignore[arg-type,union-attr]


def test_half_precision_is_widened(tmp_path: Path) -> None:
    path = tmp_path / "h.safetensors"
    save_weights(path, {"weight": torch.ones(2, 3).half(), "bias": torch.zeros(2).bfloat16()})
    state, _ = read_weights(path)
    assert {t.dtype for t in state.values()} == {torch.float32}
    model = nn.Linear(3, 2)
    load_weights(model, path)
    assert model.weight.dtype == torch.float32 and bool((model.weight == 1).all())


def test_another_network_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(path, {"weight": torch.ones(5, 3), "gain": torch.ones(1)})
    model = nn.Linear(3, 2)
    before = model.weight.detach().clone()
    with pytest.raises(InputError) as error:
        load_weights(model, path)
    message = str(error.value)
    for part in ("another network", "1 missing (bias)", "1 unexpected (gain)", "weight 5x3 instead of 2x3", str(path)):
        assert part in message
    assert torch.equal(model.weight, before)


def test_unusable_files(tmp_path: Path) -> None:
    model = nn.Linear(3, 2)

    def refused(path: Path) -> str:
        with pytest.raises(InputError) as error:
            load_weights(model, path)
        assert path.name in str(error.value) and "\n" not in str(error.value)
        return str(error.value)

    assert "no weights file" in refused(tmp_path / "none.safetensors")
    assert "folder" in refused(tmp_path)
    (tmp_path / "w.h5").write_bytes(b"1")
    assert ".safetensors or .pth" in refused(tmp_path / "w.h5")
    save_weights(tmp_path / "good.safetensors", model.state_dict())
    whole = (tmp_path / "good.safetensors").read_bytes()
    torch.save(model.state_dict(), tmp_path / "good.pth")
    whole_torch = (tmp_path / "good.pth").read_bytes()
    for name, data in {
        "cut.safetensors": whole[:-8],
        "short.safetensors": whole[:4],
        "empty.safetensors": b"",
        "noise.safetensors": b"\xff" * 100,
        "cut.pth": whole_torch[: len(whole_torch) // 2],
        "empty.pth": b"",
        "noise.pth": b"\xff" * 100,
    }.items():
        (tmp_path / name).write_bytes(data)
        assert ("empty" if name.startswith("empty") else "damaged") in refused(tmp_path / name), name
    torch.save(nn.Linear(3, 2), tmp_path / "whole.pth")
    assert "save model.state_dict()" in refused(tmp_path / "whole.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    assert "no state dict" in refused(tmp_path / "list.pth")
    torch.save({}, tmp_path / "nothing.pth")
    assert "no weights" in refused(tmp_path / "nothing.pth")
    save_weights(tmp_path / "nan.safetensors", {"weight": torch.full((2, 3), torch.nan), "bias": torch.zeros(2)})
    assert "not finite numbers (NaN)" in refused(tmp_path / "nan.safetensors")


def test_unwritable_places_keep_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="could not be written"):
        save_weights(tmp_path / "file" / "w.safetensors", {"a": torch.ones(1)})
    path = tmp_path / "w.safetensors"
    save_weights(path, {"a": torch.ones(1)})
    old = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="No space left on device"):
        save_weights(path, {"a": torch.zeros(1)})
    assert path.read_bytes() == old
    assert sorted(os.listdir(tmp_path)) == ["file", "w.safetensors"]


# libraries


def test_timm_and_torchvision() -> None:
    path = Path(__file__).parents[1] / "torchvision_shim.py"
    spec = importlib.util.spec_from_file_location("torchvision_shim", path)
    assert spec is not None and spec.loader is not None
    shim = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(shim)
    if not shim.torchvision_works():
        pytest.skip("torchvision is not installed")
    loaded = load_model("torchvision:squeezenet1_1", num_classes=4)
    assert (loaded.num_classes, loaded.input_shape) == (4, (3, 224, 224))
    assert "did you mean 'resnet18'" in fails("torchvision:resnet19")
    from netsmith.network.zoo import build

    ours = build("squeezenet1_1", num_classes=4).eval()
    ours.load_state_dict(loaded.model.state_dict())
    x = torch.randn(1, 3, 65, 65)
    assert torch.equal(ours(x), loaded.model(x))
    pytest.importorskip("timm")
    loaded = load_model("timm:mobilenetv3_small_050", num_classes=4, input_shape=(1, 32, 32))
    assert (loaded.num_classes, loaded.input_shape) == (4, (1, 32, 32))
    with torch.no_grad():
        assert loaded.model(torch.zeros(1, 1, 32, 32)).shape == (1, 4)
    assert "did you mean" in fails("timm:resnett18")
    assert "failed while it built the network" in fails("timm:resnet18?no_such_option=1")


@pytest.mark.parametrize(
    "option", ["timm:resnet18?pretrained=true", "timm:resnet18?checkpoint_path=w.pth", "timm:resnet18?model_name=x",
               "timm:vit_tiny_patch16_224?pretrained_cfg=x", "torchvision:resnet18?weights=DEFAULT",
               "torchvision:resnet18?pretrained=false", "torchvision:deeplabv3_resnet50?weights_backbone=DEFAULT"],
)  # fmt: skip
def test_options_that_netsmith_sets_itself_are_refused(option: str) -> None:
    """Before the library is imported: it would be given them twice, or would load a pickle."""
    said = fails(option)
    assert f"netsmith sets {option.partition('?')[2].partition('=')[0]} itself" in said and "--weights" in said


def test_a_name_is_an_option_like_any_other() -> None:
    assert "has no option 'name'" in fails("zoo:digits?name=x")


def test_a_network_that_does_not_fit_into_memory() -> None:
    def huge() -> nn.Module:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: 3 TB")

    with pytest.raises(InputError, match="huge needs more memory than there is; make the network smaller"):
        load_model(huge)


def test_missing_extras_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    from netsmith import optional

    def absent(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(optional.importlib, "import_module", absent)
    assert fails("timm:resnet18") == "timm is not installed: pip install 'netsmith[timm]'"
    assert fails("torchvision:resnet18") == "torchvision is not installed: pip install 'netsmith[torchvision]'"

    def broken(name: str) -> None:
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr(optional.importlib, "import_module", broken)
    assert "build of torchvision that matches" in fails("timm:resnet18")


def test_an_example_input_is_the_same_every_time_and_needs_a_shape() -> None:
    loaded = load_model("zoo:digits")
    x = loaded.example_input()
    assert x.shape == (2, 1, 8, 8) and x.std() > 0.5
    assert torch.equal(x, loaded.example_input())
    with pytest.raises(InputError, match=r"Sequential does not say what input it takes; give it with --input C,H,W"):
        load_model(nn.Sequential(nn.Conv2d(3, 4, 3))).example_input()
    assert load_model(nn.Conv2d(3, 4, 3), input_shape=(3, 9, 7)).example_input().shape == (2, 3, 9, 7)


class Build:
    def __call__(self) -> nn.Module:
        return nn.Linear(2, 3)


def test_what_is_called_has_a_name_that_holds_in_the_next_process() -> None:
    for thing, name in (
        (partial(partial(nn.Linear, 2), 3), "Linear"),
        (Build(), "Build"),
        (Build().__call__, "Build.__call__"),
    ):
        loaded = load_model(thing)
        assert loaded.spec == name and contents_of(loaded, thing) == contents_of(load_model(thing), thing)


def test_wrappers_are_taken_off() -> None:
    net = nn.Sequential(nn.Linear(2, 3))
    for wrapped in (nn.DataParallel(net), torch.compile(net), torch.compile(nn.DataParallel(net))):
        for given in (wrapped, lambda wrapped=wrapped: wrapped):
            found = load_model(given).model
            assert type(found) is nn.Sequential and list(found.state_dict()) == ["0.weight", "0.bias"]


def test_a_huge_file_is_not_read_as_python(tmp_path: Path) -> None:
    with (tmp_path / "net.py").open("wb") as stream:
        stream.truncate(3_000_000_000)  # holes, which take no room
    with pytest.raises(InputError, match=r"net\.py has 3000 MB, .*; name a Python file"):
        load_model(f"{tmp_path / 'net.py'}:net")
