"""Doors of networks, their weights, trainings and images."""

from __future__ import annotations

import io
import json
from pathlib import Path
from unittest.mock import patch

import numpy as np

from doors import register


def _weights() -> dict[str, bytes]:
    import torch

    from netsmith.network.load import load_model
    from netsmith.network.tensorfile import serialised

    state = load_model("zoo:digits?channels=4").model.state_dict()
    stream = io.BytesIO()
    torch.save({"model": dict(state), "epoch": 3}, stream)
    header = {"mean": "[0.3]", "std": "[0.4]", "classes": json.dumps([str(i) for i in range(10)])}
    return {"w.pth": stream.getvalue(), "w.safetensors": serialised(dict(state), header)}


@register("weights .pth", lambda: {"w.pth": _weights()["w.pth"]})
def _pth(folder: Path) -> object:
    from netsmith.network.load import load_model

    return load_model("zoo:digits?channels=4", weights=folder / "w.pth")


@register("weights .safetensors", lambda: {"w.safetensors": _weights()["w.safetensors"]})
def _safetensors(folder: Path) -> object:
    from netsmith.data import normalisation_from_metadata
    from netsmith.data.decode import range_from_metadata
    from netsmith.network.load import load_model

    loaded = load_model("zoo:digits?channels=4", weights=folder / "w.safetensors")
    range_from_metadata(loaded.metadata)
    found = normalisation_from_metadata(loaded.metadata)
    return found and found.check(1)


def _images() -> dict[str, bytes]:
    from PIL import Image

    files: dict[str, bytes] = {}
    for i in range(8):
        pixels = np.random.default_rng(i).integers(0, 255, (8, 8), dtype=np.uint8)
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, ("PNG", "BMP", "GIF", "TIFF")[i // 2])
        files[f"data/{'ab'[i % 2]}/{i}.{('png', 'bmp', 'gif', 'tif')[i // 2]}"] = stream.getvalue()
    stream = io.BytesIO()
    np.save(stream, np.arange(64, dtype=np.uint8).reshape(8, 8))
    return files | {"data/a/8.npy": stream.getvalue()}


@register("image folder", _images)
def _folder(folder: Path) -> object:
    from netsmith.data import load_data

    return load_data(str(folder / "data"), cache_dir=folder / "cache")


@register("class names", lambda: {"c.txt": b"a\nb\nc\n", "c.json": b'{"0": "a", "1": "b"}'})
def _classes(folder: Path) -> object:
    from netsmith.data.classes import read_classes

    return [read_classes(folder / name) for name in ("c.txt", "c.json")]


def _parquet() -> dict[str, bytes]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    images = [content for name, content in _images().items() if name.endswith("png")] * 4
    meta = {"info": {"features": {"label": {"_type": "ClassLabel", "names": ["a", "b"]}}}}
    table = pa.table({"image": images, "label": [i % 2 for i in range(len(images))]})
    stream = io.BytesIO()
    pq.write_table(table.replace_schema_metadata({b"huggingface": json.dumps(meta).encode()}), stream)
    return {"d.parquet": stream.getvalue()}


@register("parquet", _parquet)
def _open_parquet(folder: Path) -> object:
    from netsmith.data import load_data

    return load_data(str(folder / "d.parquet"), cache_dir=folder / "cache")


@register("network file", lambda: {"n.py": b"from torch import nn\ndef make():\n    return nn.Linear(3, 2)\n"})
def _network(folder: Path) -> object:
    from netsmith.network.load import load_model

    # A machine with much memory builds networks of gigabytes, as it should; a door has 2 GB.
    with patch("netsmith.network.memory.free_memory", lambda: 4_000_000_000):
        return load_model(f"{folder / 'n.py'}:make")
