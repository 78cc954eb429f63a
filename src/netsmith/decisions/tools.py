"""What kinds of decisions need beside a graph: scores of channels, repair, grids; made when first asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from netsmith.compression.mixed import LayerQuantizer
from netsmith.compression.quantize import Calibration
from netsmith.compression.reconstruct import Repair

Scores = Mapping[str, NDArray[np.float64]]


class Tools(Protocol):
    """What a job has at hand; every one may be made when it is first asked for."""

    @property
    def importance(self) -> Scores:
        """Group name -> score of each channel; the best stay."""
        ...

    @property
    def repair(self) -> Repair | None:
        """Gives the layers that read pruned channels weights that make up for them; None leaves them masked."""
        ...

    @property
    def settle(self) -> bool:
        """Whether what prunes is judged with its batch norms estimated again, as networks are built."""
        ...

    @property
    def calibration(self) -> Calibration:
        """8-bit grids of the tensors that integer layers read or write."""
        ...

    @property
    def quantizer(self) -> LayerQuantizer | None:
        """Grids or codebooks of every layer at every width."""
        ...


@dataclass(frozen=True)
class AtHand:
    """Tools that were made before."""

    importance: Scores = field(default_factory=dict)
    repair: Repair | None = None
    settle: bool = False
    calibration: Calibration = field(default_factory=lambda: Calibration({}))
    quantizer: LayerQuantizer | None = None
