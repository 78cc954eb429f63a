"""How a network is fed: written into its files, read back, and the same steps as those of data that is loaded."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from image_files import ramp, save, save_classes
from netsmith.data import Data, Feeding, load_data, prepare
from netsmith.data.feeding import LABELS, PREPROCESSING, TASK, Port
from netsmith.errors import InputError
from netsmith.export.feeding import read_feeding, write_feeding
from netsmith.export.onnx import to_onnx
from netsmith.export.pt2 import save_pt2
from netsmith.network.graph import trace
from netsmith.network.weights import save_weights

GREY = Feeding((1, 8, 8), ("a", "ü"), 1 / 255, (0.3,), (0.2,), (0.0, 4095.0))
NUMBERS = Feeding((16,), ("yes", "no"), layout=None)  #: of no image: inputs are given as they are
TEXTS = Feeding(
    (16,), ("yes", "no"), layout=None, takes=(Port("input", "int64", ("batch", "length")),),
    gives=(Port("logits", "float32", ("batch", 2)), Port("lengths", "int64", ("batch", None))),
    task={"kind": "text-classification", "padding": 0}, tokenizer="{}",
)  # fmt: skip


@pytest.mark.parametrize("feeding", [GREY, NUMBERS, TEXTS], ids=["images", "numbers", "texts"])
def test_every_file_says_it(feeding: Feeding, tmp_path: Path) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(feeding.input_shape)), 2))
    graph = trace(net, feeding.input_shape)
    model = to_onnx(graph)
    write_feeding(model, feeding)
    write_feeding(model, feeding)  # once more replaces it
    onnx.save(model, tmp_path / "m.onnx")
    assert [i.name for i in model.graph.input] == list(feeding.inputs)
    save_pt2(graph, tmp_path / "m.pt2", feeding.metadata)
    save_weights(tmp_path / "m.safetensors", net.state_dict(), feeding.metadata)
    for name in ("m.onnx", "m.pt2", "m.safetensors"):
        assert read_feeding(tmp_path / name) == feeding
    assert dataclasses.replace(Feeding.from_dict(feeding.to_dict(), "x"), tokenizer=feeding.tokenizer) == feeding
    extra = dict.fromkeys((PREPROCESSING, LABELS), "")
    torch.export.load(tmp_path / "m.pt2", extra_files=extra)
    assert json.loads(extra[LABELS]) == list(feeding.labels)


def odd(i: int) -> np.ndarray:
    """Images of different sizes, higher and wider than the network's."""
    return ramp(i, 255.0, 30)[: 18 + i % 4 * 4, : 12 + i % 3 * 6].astype(np.uint8)


@pytest.mark.parametrize(
    "of", [odd, lambda i: np.rint(ramp(i, 4000)).astype(np.uint16), lambda i: np.stack([odd(i)] * 3, -1)],
    ids=["grey", "12 bits", "colour"],
)  # fmt: skip
def test_files_are_prepared_as_data_is(of: Callable[[int], Any], tmp_path: Path) -> None:
    data: Data = load_data(str(save_classes(tmp_path, n=8, of=of)), image_size=8)
    paths = sorted(tmp_path.rglob("*.png"))
    got = prepare(data.feeding, paths, [str(p) for p in paths])
    splits = [s for s in (data.train, data.search, data.test) if s is not None]
    want = torch.cat([data.normalisation(s.images) for s in splits])
    assert got.shape == want.shape
    assert sorted(map(tuple, got.flatten(1).tolist())) == sorted(map(tuple, want.flatten(1).tolist()))


def test_what_is_no_input_is_named(tmp_path: Path) -> None:
    small = save(odd(0), tmp_path / "x.png")
    with pytest.raises(InputError, match=r"x\.png has pixels of 8 bits, and the network knows pixels of 0 to 4095"):
        prepare(GREY, [small], [str(small)])
    with pytest.raises(InputError, match=r"x\.png is no array of numbers"):
        prepare(NUMBERS, [small], [str(small)])
    with pytest.raises(InputError, match=r"^row 0 is no array of numbers of the shape 16 "):
        prepare(NUMBERS, [np.zeros(3)], ["row 0"])
    for name, content in (("x.onnx", b"\x08no"), ("x.pt2", b"PK"), ("x.safetensors", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=r"^\S+ (is no .* file that can be read|does not say)"):
            read_feeding(tmp_path / name)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.just([1, 8, 8]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=2), max_leaves=4,
)  # fmt: skip


@settings(max_examples=60)
@given(key=st.sampled_from([*GREY.preprocessing, PREPROCESSING, LABELS, TASK]), value=JSON)
def test_metadata_by_hand_is_read_or_refused_in_a_sentence(key: str, value: Any) -> None:
    said = dict(GREY.metadata if key != TASK else TEXTS.metadata)
    said |= {key: json.dumps(value)} if key in said else {PREPROCESSING: json.dumps(GREY.preprocessing | {key: value})}
    try:
        found = Feeding.from_metadata(said, "x.onnx")
    except InputError as error:
        assert "\n" not in str(error) and len(str(error)) < 300
    else:
        assert Feeding.from_metadata(found.metadata, "again") == found
