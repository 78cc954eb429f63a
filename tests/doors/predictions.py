"""What `netsmith predict` reads: an ONNX file with its metadata, pictures and arrays."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from doors import register


def _valid() -> Mapping[str, bytes]:
    from PIL import Image
    from torch import nn

    from netsmith.data import Feeding
    from netsmith.data.feeding import PIXEL
    from netsmith.export.feeding import write_feeding
    from netsmith.export.onnx import to_onnx
    from netsmith.network.graph import trace

    model = to_onnx(trace(nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).eval(), (3, 2, 2)))
    write_feeding(model, Feeding((3, 2, 2), ("a", "b"), PIXEL, (0.5,) * 3, (0.5,) * 3))
    picture, array = io.BytesIO(), io.BytesIO()
    Image.new("RGB", (5, 3), (10, 200, 30)).save(picture, "png")
    np.save(array, np.zeros((4, 2, 2, 3), np.uint8))
    return {"model.onnx": model.SerializeToString(), "x.png": picture.getvalue(), "rows.npy": array.getvalue()}


@register("predict", _valid)
def predicted(folder: Path) -> object:
    from netsmith.jobs.predict import predict

    return predict(folder / "model.onnx", [folder / "x.png", folder / "rows.npy"])


def _named() -> Mapping[str, bytes]:
    import torch

    from netsmith.data.batch import Batch
    from netsmith.data.feeding import Feeding
    from netsmith.export.feeding import write_feeding
    from netsmith.export.onnx import to_onnx
    from netsmith.network.graph import trace
    from netsmith.network.ports import ports

    batch = Batch((torch.ones(2, 3), torch.ones(2, 3)))
    graph = trace(torch.nn.Bilinear(3, 3, 2).eval(), batch)
    model, (takes, gives) = to_onnx(graph), ports(graph)
    said = {"inputs": graph.input_names, "takes": takes, "gives": gives, "task": {"kind": "own"}}
    write_feeding(model, Feeding((3,), (), layout=None, **said))
    arrays = io.BytesIO()
    np.savez(arrays, input1=np.ones((4, 3)), input2=np.ones((4, 3), int))
    return {"model.onnx": model.SerializeToString(), "rows.npz": arrays.getvalue()}


@register("predict, named arrays", _named)
def answered(folder: Path) -> object:
    from netsmith.jobs.predict import predict

    return predict(folder / "model.onnx", [folder / "rows.npz"])
