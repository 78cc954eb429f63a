"""Weight sharing: the weights of a layer are indices into a codebook, activations stay floats.

Deep Compression (Han et al., ICLR 2016, section 3) with a width of its own for each layer, as in the size mode of HAQ
(Wang et al., CVPR 2019). Batch norm is not folded: folding multiplies each channel by a number of its own, and one
codebook would have to serve all of these scales.
"""

from __future__ import annotations

import torch
from torch import nn

from netsmith.compression.mixed import LayerQuantizer
from netsmith.compression.quantizers.kmeans import Codebook, KMeansWeight, fit_codebook, fit_sparse_codebook
from netsmith.compression.sparsify import Sparse, kept_numbers
from netsmith.network.graph import Graph
from netsmith.network.passes import get_parameter


class CodebookQuantizer(LayerQuantizer):
    """The codebooks of every layer at every width, fitted when first asked for.

    On a graph whose weights are shared already they are found again, exactly: a weight of no more than ``2**bits``
    values is its own codebook.

    Args:
        graph: the network, traced with its norms.
        sparse: parameters most of whose numbers are zero, with how many are not: zero is none of their values.
    """

    def __init__(self, graph: Graph, sparse: Sparse | None = None) -> None:
        super().__init__(graph, {}, sparse=sparse)
        self._codebooks: dict[tuple[str, int], Codebook] = {}

    def codebook(self, layer: str, bits: int) -> Codebook:
        """Shared values and indices of a layer's weight."""
        if (layer, bits) not in self._codebooks:
            name = self.parameter(layer)
            weight, entries = get_parameter(self.graph.module, name).detach(), self.sparse.get(name)
            self._codebooks[layer, bits] = (
                fit_codebook(weight, bits)
                if entries is None
                else fit_sparse_codebook(weight, bits, kept_numbers(weight, entries))
            )
        return self._codebooks[layer, bits]

    def weight(self, layer: str, bits: int, repaired: torch.Tensor | None = None) -> torch.Tensor:
        """The weight with its values shared."""
        return self.codebook(layer, bits).weight if repaired is None else super().weight(layer, bits, repaired)

    def _rounded(self, weight: torch.Tensor, bits: int) -> torch.Tensor:
        kept = weight != 0  # what is removed takes none of the values
        return fit_sparse_codebook(weight, bits, kept).weight if bool(kept.any()) else torch.zeros_like(weight)

    def trainable(self, layer: str, weight: torch.Tensor, bits: int) -> nn.Module:
        """The layer's codebook with values that are trained; ``weight`` is the one that it was fitted to.

        A value moves by the mean of its members' steps: their sum is thousands of times as large in one layer as in the
        next, and no one learning rate suits both.
        """
        return KMeansWeight(self.codebook(layer, bits), damping=1.0)
