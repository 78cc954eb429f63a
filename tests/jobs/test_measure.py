"""Tables of devices: the layers of a network go out, their times come back and price it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from netsmith.data import load_data
from netsmith.decisions.demand import rows_asked
from netsmith.decisions.pricing import Pricing
from netsmith.errors import InputError
from netsmith.hardware import CpuTarget, get_target, prepare_target
from netsmith.jobs.compress import compress
from netsmith.jobs.measure import measure
from netsmith.jobs.profile import profile
from netsmith.jobs.subject import load_subject
from netsmith.progress import Silent

MODEL = "zoo:digits?channels=16&blocks=1"


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def pretend(folder: Path) -> None:
    """Fill in times as a device would: 1 us and 1 ns a multiply-accumulate for every copy of a layer."""
    manifest = json.loads((folder / "manifest.json").read_text())
    seconds = {network["file"]: 1e-3 for network in manifest["networks"]}
    for layer in [manifest["control"], *manifest["layers"]]:
        key = dict(zip(manifest["columns"], layer["key"], strict=True))
        macs = key["c_in"] * key["c_out"] // key["groups"] * key["kernel_h"] * key["kernel_w"]
        macs *= key["h_out"] * key["w_out"] if key["kind"] < 3 else 0
        seconds[layer["without"]] = 1e-4
        seconds[layer["file"]] = 1e-4 + layer["copies"] * (1e-6 + macs * 1e-9)
    lines = []
    for line in (folder / "timings.csv").read_text().splitlines():
        if line.startswith(("# threads:", "file,")):
            lines.append(line)
        elif line.startswith("#"):
            lines.append(f"{line} a pretended phone" if "date" not in line else f"{line} 2026-01-01")
        elif not line.startswith("layers/network-"):
            lines.append(f"{line.split(',')[0]},50,{seconds[line.split(',')[0]]!r},0")
    (folder / "timings.csv").write_text("\n".join(lines) + "\n")


def test_layers_go_out_and_their_times_price_the_network(tmp_path: Path) -> None:
    sent = measure(MODEL, write=tmp_path / "layers")
    assert sent["layers"] > 5 and (tmp_path / "layers" / "README.md").is_file()
    pretend(tmp_path / "layers")
    back = measure(read=tmp_path / "layers", out=tmp_path / "phone.json")
    assert back["target"] == f"table:{tmp_path / 'phone.json'}"
    for bits in (32, 8):
        found = profile(MODEL, target=back["target"], input_shape=(1, 8, 8), bits=bits)
        for row in found["layers"]:
            assert row["latency_s"] == pytest.approx(1e-6 + row["macs"] * 1e-9, rel=1e-6)


def test_a_written_space_holds_every_design_that_compress_may_try(tmp_path: Path) -> None:
    measure(MODEL, input_shape=(1, 8, 8), space=True, write=tmp_path / "layers")
    pretend(tmp_path / "layers")
    target = get_target(measure(read=tmp_path / "layers", out=tmp_path / "phone.json")["target"])
    assert target.capabilities.channel_multiple == CpuTarget().capabilities.channel_multiple > 1
    data = load_data("digits")
    subject = load_subject(MODEL, data, target)
    pricing = Pricing(subject.space, target)
    prepare_target(target, lambda: rows_asked(pricing), Silent())  # refuses nothing
    designs = subject.space.decisions.sample(np.random.default_rng(0), 64)
    latency = pricing.predict(designs)
    given = float(pricing.predict(subject.space.reference)[0])
    # a design may pay for conversions a little more than its few integer layers save
    assert np.isfinite(latency).all() and latency.min() > 0
    assert np.median(latency) < 0.9 * given and latency.max() < 1.02 * given
    narrow = tmp_path / "narrow"
    measure(MODEL, input_shape=(1, 8, 8), write=narrow)  # the network alone
    pretend(narrow)
    target = get_target(measure(read=narrow, out=tmp_path / "narrow.json")["target"])
    with pytest.raises(InputError, match=r"sizes and bit-widths: .*; add them with `netsmith targets measure MODEL"):
        prepare_target(target, lambda: rows_asked(Pricing(subject.space, target)), Silent())


def test_this_machine_into_a_file_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NETSMITH_CACHE", str(tmp_path / "cache"))
    found = measure(MODEL, out=tmp_path / "here.json")
    whole = profile(MODEL, target=found["target"], input_shape=(1, 8, 8))
    assert whole["totals"]["latency_s"] > 0 and found["layers"] >= len(whole["layers"])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "name the network"),
        ({"read": "x"}, "--out"),
        ({"read": "x", "model": MODEL, "out": "y"}, "drop the network"),
        ({"read": "nothing-there", "out": "y"}, "manifest.json is missing"),
        ({"model": MODEL, "write": "x", "out": "y"}, "drop it here"),
        ({"model": "zoo:nothing", "write": "."}, "not empty"),  # before the network is looked for
    ],
)
def test_what_cannot_be_done_is_said(
    options: dict[str, str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.txt").write_text("")
    with pytest.raises(InputError, match=words):
        measure(**options)  # type: ignore[arg-type]


def test_compress_refuses_what_cannot_price_its_designs(tmp_path: Path) -> None:
    blocks = tmp_path / "phone.json"
    key = "expanded_conv-input:8x8x16-output:8x8x16-expand:1-kernel:3-stride:1-idskip:1"
    blocks.write_text(json.dumps({key: {"mean": 1.0, "count": 5}}))
    run = {"latency": "0.5x", "epochs": 0, "out": tmp_path / "run"}
    with pytest.raises(InputError, match=r"phone.json has times of whole blocks, .*targets measure MODEL --space"):
        compress(MODEL, "digits", target=f"table:{blocks}", **run)
    assert not (tmp_path / "run").exists()
    other = tmp_path / "other.csv"
    other.write_text("kind,c_in,c_out,kernel,size,latency_ms\nconv,7,7,3,8,1.0\n")
    with pytest.raises(InputError, match="prices the network as given at nothing"):
        compress(MODEL, "digits", target=f"table:{other},missing=zero", **run)


def test_only_tables_are_replaced_and_a_bad_place_is_found_first(tmp_path: Path) -> None:
    (tmp_path / "thesis.json").write_text('{"chapters": 7}')
    for out, words in ((tmp_path / "thesis.json", "exists and is not a latency table"), (tmp_path, "is a folder")):
        with pytest.raises(InputError, match=words):
            measure(read=tmp_path / "no such folder", out=out)
        with pytest.raises(InputError, match=words):
            measure("zoo:nothing", out=out)
    assert (tmp_path / "thesis.json").read_text() == '{"chapters": 7}'
    with pytest.raises(InputError, match=r"--write .* cannot be written"):
        measure("zoo:nothing", write=tmp_path / "thesis.json" / "folder")
