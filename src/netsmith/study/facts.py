"""What strategies can be told of the decisions of a network beyond the problem; their traits say what they need."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from netsmith.decisions.bits import A_BITS, W_BITS
from netsmith.decisions.given import GivenSpace
from netsmith.decisions.kind import Designs
from netsmith.decisions.pricing import Pricing
from netsmith.errors import InputError
from netsmith.space import CostTable, MaxTable, Space
from netsmith.study.layers import Layers

WIDTHS = (W_BITS, A_BITS)  #: kinds of decisions about a width for each layer


class Facts:
    """What is known of the decisions of a given network, by the names that traits have for it.

    Args:
        space: the decisions.
        pricing: renews cost tables; None where nothing renews them.
        costs: names of those with a budget.
    """

    def __init__(self, space: GivenSpace, pricing: Pricing | None = None, costs: Sequence[str] = ()) -> None:
        self.space, self.pricing, self.costs = space, pricing, tuple(costs)

    def options(self, needs: Sequence[str]) -> dict[str, Any]:
        """Those that a strategy needs, as keyword arguments; nothing for what does not hold here."""
        known = {name: getattr(self, name, None) for name in needs}
        return {name: value for name, value in known.items() if value is not None}

    @cached_property
    def layers(self) -> Layers:
        """For each decision the first layer whose outputs or bits it sets, and all that it changes."""
        own, touched = self.space.sets, self.space.depends()
        compute = self.space.table.is_compute
        first = np.where((own & compute).any(axis=1), (own & compute).argmax(axis=1), touched.argmax(axis=1))
        return Layers(self.space.table, [int(row) for row in first], touched)

    @cached_property
    def parts(self) -> list[list[int]] | None:
        """The decisions of each scale on which losses add up, where there are several."""
        return self.space.scales if len(self.space.scales) > 1 else None

    @property
    def canonical(self) -> Callable[[Designs], Designs] | None:
        """A design to the one that stands for all that are the same network."""
        return self.space.canonical if self.parts is not None else None

    @property
    def renew(self) -> Callable[[Designs], Mapping[str, CostTable | MaxTable]] | None:
        """A design to the cost tables that are right for it and for all single moves away from it."""
        if self.pricing is None:
            return None
        pricing, costs = self.pricing, self.costs
        return lambda design: {name: pricing.table(name, design) for name in costs}


def check_kinds(kinds: Sequence[str], space: Space, option: str) -> None:
    """Hold a space to the kinds of decisions that an option is for; none is for all.

    Raises:
        InputError: another kind.
    """
    other = sorted({d.kind for d in space.decisions} - set(kinds)) if kinds else []
    if other:
        raise InputError(
            f"{option} is about a width for each layer, and not about {other[0]}; choose --methods quantize and a "
            "target with several widths"
        )
