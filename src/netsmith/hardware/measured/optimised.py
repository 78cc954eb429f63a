"""The graph that ONNX Runtime makes of a model before it runs it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from netsmith.hardware.measured.timing import Model, make_session


def optimised_model(model: Model) -> Any:
    """The ``onnx.ModelProto`` that ONNX Runtime executes for ``model`` on this machine, every fusion applied."""
    import onnx

    with tempfile.TemporaryDirectory(prefix="netsmith-") as folder:
        path = str(Path(folder) / "optimised.onnx")
        make_session(model, save=path)
        return onnx.load(path)
