"""Expected costs of a network under the probabilities of its paths, differentiable (ProxylessNAS, section 3.3)."""

from __future__ import annotations

import numpy as np
import torch

from netsmith.space import CostTable


def expected_cost(table: CostTable, probabilities: torch.Tensor) -> torch.Tensor:
    """What :meth:`CostTable.expected` computes, as a tensor with a gradient.

    Args:
        table: over D decisions.
        probabilities: ``(D, K)``, rows that sum to 1; 0 where a decision has no such choice.

    Returns:
        A scalar in the unit of the table. Exact, as decisions are independent; linear in the probabilities of each.
    """
    finite = np.where(np.isfinite(table.unary), table.unary, 0.0)
    total = table.fixed + (probabilities * torch.as_tensor(finite).to(probabilities)).sum()
    for factor in table.factors:
        term = torch.as_tensor(factor.values).to(probabilities)
        for row in reversed(factor.rows):
            term = term @ probabilities[row, : term.shape[-1]]
        total = total + term
    return total
