"""Files of networks with several inputs and outputs: names, order, structure, axes of any length."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import torch
from several import AXES, Answer, Counter, Reader, read

from netsmith.accuracy.deployed import Deployed
from netsmith.data.batch import Batch
from netsmith.export.onnx import to_onnx
from netsmith.export.parity import check_parity
from netsmith.export.pt2 import load_pt2, save_pt2
from netsmith.network.graph import trace


def test_a_file_takes_inputs_by_name_and_gives_outputs_in_the_users_class():
    model = Reader().eval()
    graph = trace(model, read(2, 5), axes=AXES)
    assert graph.output_names == ("logits", "states.0", "states.1")
    written = to_onnx(graph).SerializeToString()
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


def test_a_program_needs_nobodys_classes(tmp_path: Path):
    model, file = Reader().eval(), tmp_path / "model.pt2"
    batch = read(2, 5)
    save_pt2(trace(model, batch, axes=AXES), file)
    alone = (
        f"import torch; print(torch.export.load({str(file)!r}).module().graph._codegen.pytree_info.out_spec.context)"
    )
    said = subprocess.run([sys.executable, "-W", "ignore", "-c", alone], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "['logits', 'states']"
    longer = read(3, 9, seed=1)
    loaded = load_pt2(file)
    got, want = longer(loaded), longer(model)
    assert torch.equal(got.logits, want.logits) and got["logits"] is got[0] is got.logits
    assert torch.equal(got.states[1], want.states[1])
    again = trace(loaded, batch)  # as verify does
    assert again.output_names == ("logits", "states.0", "states.1") and again.dynamic_batch
    assert again.outputs([1, 2, 3]).states == (2, 3)


def test_what_is_no_tensor_stays_out_of_the_file_and_comes_back():
    model = Counter().eval()
    x = {"values": torch.randn(4, 4), "factor": torch.tensor([[1.0], [2.0], [3.0], [4.0]])}
    batch = Batch((x,))
    graph = trace(model, batch.take(slice(0, 2)))
    assert graph.output_names == ("output_0", "output_2_most")
    written = to_onnx(graph).SerializeToString()
    got, want = batch(Deployed(written, graph)), batch(model)
    assert got[1] is None and got[2]["version"] == 3 and torch.equal(got[2]["most"], want[2]["most"])
    assert check_parity(graph.module, written, batch, tolerance=1e-5).ok
