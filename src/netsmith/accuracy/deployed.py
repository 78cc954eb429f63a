"""An exported file as a network: called as the one that it was made from, it runs as its user will run it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from netsmith.data.batch import Batch
from netsmith.network.graph import Graph
from netsmith.network.outputs import Named
from netsmith.network.signature import feed_of


class Deployed(nn.Module):
    """Runs an ONNX file in ONNX Runtime, on all cores.

    It has a parameter, so that whoever asks a network for its device or its type finds one; nothing trains it.

    Args:
        model: path of the file, or its bytes.
        graph: the traced network, which knows the order of the inputs and the structure of the outputs; without it
            inputs are in the order of the file, and outputs a tensor, or a mapping by name where there are several.
        threads: of the runtime; all cores by default.
    """

    def __init__(self, model: str | Path | bytes, graph: Graph | None = None, threads: int | None = None) -> None:
        from netsmith.hardware.measured.timing import make_session

        super().__init__()
        self._session = make_session(model, threads=threads or os.cpu_count() or 1)
        self._graph = graph
        self.inputs = [item.name for item in self._session.get_inputs()]
        self.outputs = [item.name for item in self._session.get_outputs()]
        self.unused = nn.Parameter(torch.zeros(1), requires_grad=False)

    @property
    def batch(self) -> int | None:
        """The only number of examples that the file takes; None where it takes any."""
        size = self._session.get_inputs()[0].shape[0]
        return size if isinstance(size, int) else None

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Tensors on the CPU, in the structure that the network returns."""
        feed = feed_of(Batch(args, kwargs), self.inputs, None if self._graph is None else self._graph.module)
        found = [torch.from_numpy(np.asarray(value)) for value in self._session.run(None, feed)]
        return self.structure(found)

    def structure(self, found: Sequence[torch.Tensor]) -> Any:
        """Outputs of the file as the network returns them."""
        if self._graph is not None:
            return self._graph.outputs(found)
        return found[0] if len(found) == 1 else Named(zip(self.outputs, found, strict=True))
