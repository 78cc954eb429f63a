"""The conformance case of search spaces accepts what is right and catches what is broken."""

from __future__ import annotations

import numpy as np
import pytest

from block_paths import tiny_space
from netsmith.supernets.family import BlockFamily
from netsmith.testing import check_space


class Reference(BlockFamily):
    @property
    def reference(self):
        return super().reference + 9


class Moody(BlockFamily):
    """A canonical form that takes another network for one of the first."""

    def canonical(self, designs):
        return np.where(designs == 0, 1, designs)


class Lonely(BlockFamily):
    """A row beside others is not what it is alone."""

    def rows(self, designs, at=None):
        table = super().rows(designs, at)
        return table.replace(h_in=table.h_in + (len(designs) > 1))


class Whole(BlockFamily):
    """Asked for some rows, all come."""

    def rows(self, designs, at=None):
        return super().rows(designs)


class Secretive(BlockFamily):
    """The last decision changes rows of which it does not say so."""

    def depends(self):
        out = super().depends()
        out[-1] = False
        return out

    def deciding(self, row):
        return np.flatnonzero(self.depends()[:, row]).tolist()


class Silent(BlockFamily):
    def deciding(self, row):
        return []


class Dear(BlockFamily):
    """Networks are larger than their rows say."""

    def build(self, design, weights=None):
        return super().build(self.decisions.sizes - 1, weights)


class Still(BlockFamily):
    """Activating a design does nothing."""

    def activate(self, network, design):
        network.path = self.reference


@pytest.mark.parametrize(
    ("family", "said"),
    [
        (Reference, "the reference is no valid design"),
        (Moody, "the reference is not canonical|leaves out other rows|is not what the canonical design has"),
        (Lonely, "other rows alone than in a population"),
        (Whole, "returns other rows than those asked for"),
        (Secretive, r"stage3\.block2 changes \w+ of stage3\.block2"),
        (Silent, r"deciding\(\d+\) is not what depends says"),
        (Dear, r"multiply-accumulates, its rows \d+"),
        (Still, "computes something else"),
    ],
)
def test_a_broken_search_space_is_caught(family, said):
    space = family(tiny_space(), 10, 1)
    whole = family in (Dear, Still)
    network = space.network() if family is Still else None
    if network is not None:  # fresh blocks add nothing to what they read
        for name, weight in network.named_parameters():
            weight.data.normal_(0.5, 0.5) if weight.ndim == 1 and "classifier" not in name else None
    with pytest.raises(AssertionError, match=said):
        check_space(space, space.input_shape if whole else None, network)
