"""Files of networks with several inputs and outputs: names, order, structure, axes of any length."""

from __future__ import annotations

import dataclasses
import zipfile
from pathlib import Path

import pytest
import torch
from several import AXES, Answer, Counter, Reader, read

from netsmith.accuracy.deployed import Deployed
from netsmith.data.batch import Batch
from netsmith.errors import InputError
from netsmith.export.onnx import to_onnx
from netsmith.export.parity import check_parity
from netsmith.export.pt2 import load_pt2, save_pt2
from netsmith.hardware.measured.timing import make_session, time_models
from netsmith.network.examples import examples_bytes, feed_for, read_examples
from netsmith.network.graph import Graph, trace
from netsmith.network.ports import ports


@pytest.fixture(scope="module")
def graph() -> Graph:
    return trace(Reader().eval(), read(2, 6), axes=AXES)


@pytest.fixture(scope="module")
def written(graph: Graph) -> bytes:
    return to_onnx(graph).SerializeToString()


def test_a_file_takes_inputs_by_name_and_gives_outputs_in_the_users_class(graph: Graph, written: bytes) -> None:
    model = Reader().eval()
    assert graph.output_names == ("logits", "states.0", "states.1")
    shapes = {i.name: i.shape for i in make_session(written).get_inputs()}
    assert shapes == {"input_ids": ["batch", "length"], "attention_mask": ["batch", "length"], "scale": ["batch", 1]}
    deployed = Deployed(written, graph).eval()
    assert set(deployed.inputs) == {"input_ids", "attention_mask", "scale"} and deployed.batch is None
    longer = read(3, 9, seed=1)
    swapped = dataclasses.replace(longer, kwargs=dict(reversed(longer.kwargs.items())))
    for batch in (longer, swapped):
        got, want = batch(deployed), batch(model)
        assert isinstance(got, Answer) and got.loss is None
        torch.testing.assert_close(got.states, want.states, atol=1e-5, rtol=1e-4)
    assert check_parity(graph.module, written, swapped, tolerance=1e-4).ok
    assert check_parity(model, written, swapped, tolerance=1e-4, graph=graph.module).ok
    other = Reader().eval()
    torch.nn.init.normal_(other.head.weight)
    assert not check_parity(other, written, swapped, tolerance=1e-2, graph=graph.module).ok


def test_ports_name_the_axes_that_may_have_any_length(graph: Graph) -> None:
    takes, gives = ports(graph)
    assert {p.name: (p.dtype, p.shape) for p in (*takes, *gives)} == {
        "input_ids": ("int64", ("batch", "length")), "attention_mask": ("bool", ("batch", "length")),
        "scale": ("float32", ("batch", 1)), "logits": ("float32", ("batch", 3)),
        "states.0": ("float32", ("batch", "length", 8)), "states.1": ("float32", ("batch", 8)),
    }  # fmt: skip


def test_models_are_timed_on_real_examples_and_these_are_kept(graph: Graph, written: bytes, tmp_path: Path) -> None:
    file, many = tmp_path / "examples.safetensors", read(20, 6)
    file.write_bytes(examples_bytes(graph, many))
    kept = read_examples(file)
    assert kept.size == 16 and list(kept.kwargs) == list(many.kwargs)
    assert all(torch.equal(a, b[:16]) for a, b in zip(kept.inputs, many.inputs, strict=True))
    file.write_bytes(examples_bytes(graph, read(20, 9)))  # of another length than the trace
    assert read_examples(file).inputs[0].shape == (2, 6)
    feed = feed_for(graph)
    assert feed is not None and feed["input_ids"].shape == (1, 6) and feed["attention_mask"].dtype == bool
    assert time_models({"a": written}, seconds=0, min_rounds=2, feed=feed)["a"].n == 2
    out_of_range = feed | {"input_ids": feed["input_ids"] + 40}
    with pytest.raises(InputError, match="fails on its input"):
        time_models({"a": written}, seconds=0, min_rounds=2, feed=out_of_range)
    assert feed_for(trace(torch.nn.Linear(3, 2), (3,))) is None
    file.write_bytes(b"x")
    with pytest.raises(InputError, match="is damaged"):
        read_examples(file)


def test_a_program_needs_nobodys_classes(graph: Graph, tmp_path: Path) -> None:
    model, batch, file = Reader().eval(), read(2, 6), tmp_path / "model.pt2"
    save_pt2(graph, file)
    with zipfile.ZipFile(file) as archive:  # a class would be named there, and would have to be known where it is read
        assert not any(b"Answer" in archive.read(name) for name in archive.namelist())
    longer = read(3, 9, seed=1)
    loaded = load_pt2(file)
    got, want = longer(loaded), longer(model)
    assert torch.equal(got.logits, want.logits) and got["logits"] is got[0] is got.logits
    assert torch.equal(got.states[1], want.states[1])
    again = trace(loaded, batch)  # as verify does
    assert again.output_names == ("logits", "states.0", "states.1") and again.dynamic_batch
    assert again.outputs([1, 2, 3]).states == (2, 3)


def test_what_is_no_tensor_stays_out_of_the_file_and_comes_back() -> None:
    model = Counter().eval()
    x = {"values": torch.randn(4, 4), "factor": torch.tensor([[1.0], [2.0], [3.0], [4.0]])}
    batch = Batch((x,))
    graph = trace(model, batch.take(slice(0, 2)))
    assert graph.output_names == ("output_0", "output_2_most")
    written = to_onnx(graph).SerializeToString()
    got, want = batch(Deployed(written, graph)), batch(model)
    assert got[1] is None and got[2]["version"] == 3 and torch.equal(got[2]["most"], want[2]["most"])
    assert check_parity(graph.module, written, batch, tolerance=1e-5).ok
