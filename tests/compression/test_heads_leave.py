"""A network without some of its heads leaves Python and is made again from its recipe."""

from __future__ import annotations

import copy
from pathlib import Path

import torch

from netsmith.compression.attention import remove_heads
from netsmith.compression.heads import find_heads, mask_heads
from netsmith.compression.trial import randomized
from netsmith.export.onnx import to_onnx
from netsmith.export.parity import check_parity
from netsmith.export.pt2 import save_pt2
from netsmith.network.graph import trace
from token_networks import IMAGES, Tokens


def test_onnx_and_pt2_compute_the_same(tmp_path: Path) -> None:
    model = randomized(Tokens(), IMAGES)[0].float()
    small, masked = copy.deepcopy(model), copy.deepcopy(model)
    kept = dict(zip(find_heads(model, IMAGES).attentions, [(0, 2), (3,)], strict=True))
    for attention, heads in kept.items():
        remove_heads(small.get_submodule(attention.path), heads)
    mask_heads(masked, kept)
    graph = trace(small, (3, 8, 8))
    assert graph.dynamic_batch
    x = torch.randn(4, 3, 8, 8)
    with torch.no_grad():
        want, before = small(x), model(x)
        torch.testing.assert_close(masked(x), want, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(want, before, atol=1e-2)
    onnx = tmp_path / "model.onnx"
    onnx.write_bytes(to_onnx(graph).SerializeToString())
    assert check_parity(graph.module, onnx, x, tolerance=1e-3).ok
    save_pt2(graph, tmp_path / "model.pt2")
    with torch.no_grad():
        torch.testing.assert_close(
            torch.export.load(str(tmp_path / "model.pt2")).module()(x), want, rtol=1e-4, atol=1e-5
        )
