"""Shortcuts that pad: fewer zero channels than the user's forward makes, without a change to the user's classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class CutEnds:
    """A forward hook that cuts a tensor along ``dim``: so many of its channels in front and behind go.

    How many channels a module pads is written in its forward, or in what that reads, and in as many ways as there are
    authors. What leaves is known, so its output is cut instead, and the module keeps its class and the names of its
    weights. A traced network has a padding of the right size again (``network.passes.clean``). Several of them on one
    module cut one after the other.
    """

    dim: int
    front: int
    behind: int

    def __call__(self, module: Any, args: Any, output: torch.Tensor) -> torch.Tensor:
        """Cut the ``output`` of ``module``, ``(N, C, ...)``."""
        return output.narrow(self.dim, self.front, output.shape[self.dim] - self.front - self.behind)
