"""Least squares on the input channels that stay, from the moments of one layer.

With ``M = G + r I`` (of centred moments where there is an intercept), kept columns K and removed ones R, the weights
``W_K + W_R M_RK M_KK^-1`` give the least ``|X_K D^T - X_R W_R^T|^2 / n + r |D|^2`` over changes D. The ridge pulls to
the weights as given and not to zero, so that with nothing removed nothing changes, and the error is never above that
of plain masking (D = 0), whatever the ridge.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from netsmith.compression.reconstruct.moments import Gram

RIDGE = 1e-6  #: of the mean diagonal element

IntArray = NDArray[np.int64]


class LayerSolver:
    """Repaired weights of one layer.

    Args:
        gram: moments of its inputs.
        weight: ``(C_out, p)``, double.
        intercept: whether the bias is fitted too.
        ridge: relative to the mean diagonal element of the Gram matrix.
    """

    def __init__(self, gram: Gram, weight: torch.Tensor, intercept: bool, ridge: float = RIDGE) -> None:
        self.gram, self.weight, self.intercept = gram, weight, intercept
        self.matrix = (gram.covariance if intercept else gram.products).clone()
        diagonal = self.matrix.diagonal()
        # moments of 0 (a layer behind dead channels) leave a well-posed problem, in which nothing changes
        diagonal += max(ridge * float(gram.products.diagonal().mean()), 1e-30)
        self._factors: dict[bytes, torch.Tensor] = {}

    def direct(self, kept: IntArray) -> torch.Tensor:
        """The weight ``(C_out, p)`` repaired on the columns ``kept``; the others are zero."""
        gone = np.setdiff1d(np.arange(self.weight.shape[1]), kept)
        k, r = torch.from_numpy(kept), torch.from_numpy(gone)
        factor = torch.linalg.cholesky(self.matrix[k][:, k])
        change = torch.cholesky_solve(self.matrix[k][:, r] @ self.weight[:, r].T, factor)
        out = torch.zeros_like(self.weight)
        out[:, k] = self.weight[:, k] + change.T
        return out

    def leading(self, order: IntArray, count: int) -> torch.Tensor:
        """As ``direct`` for the first ``count`` columns of ``order``.

        One Cholesky factor of the ordered matrix serves all counts: its leading block is the factor of the kept block,
        and with ``M = L L^T``, ``M_KK^-1 M_KR = L_KK^-T L_RK^T``, a product and one triangular solve.
        """
        key = order.tobytes()
        p = torch.from_numpy(order)
        if key not in self._factors:
            self._factors[key] = torch.linalg.cholesky(self.matrix[p][:, p])
        factor = self._factors[key]
        right = factor[count:, :count].T @ self.weight[:, p[count:]].T
        change = torch.linalg.solve_triangular(factor[:count, :count].T, right, upper=True)
        out = torch.zeros_like(self.weight)
        out[:, p[:count]] = self.weight[:, p[:count]] + change.T
        return out

    def bias_change(self, repaired: torch.Tensor) -> torch.Tensor:
        """What the bias takes up, ``(C_out,)``: the mean of what the weights do not give; zeros without intercept."""
        if not self.intercept:
            return torch.zeros(len(self.weight), dtype=torch.float64)
        return (self.weight - repaired) @ self.gram.means
