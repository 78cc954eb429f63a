"""What a target offers a search, and what is said of the rest."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn

from netsmith.decisions.widths import bit_pairs, idle_kernels
from netsmith.hardware.target import Capabilities, get_target
from netsmith.jobs.config import METHODS
from netsmith.jobs.subject import load_subject

FLOATS, EIGHT = (32, 32), (8, 8)


@pytest.mark.parametrize(
    ("bits", "offered", "said"),
    [
        ((FLOATS, EIGHT), (EIGHT, FLOATS), None),
        ((FLOATS, EIGHT, (4, 8), (16, 16)), (EIGHT, FLOATS), r"16x16, 4x8 bits .* 8-bit integers"),
        ((FLOATS, (4, 4)), (FLOATS,), r"4x4 bits .* no 8x8"),
        ((EIGHT, (4, 8), (4, 4), (16, 16)), (EIGHT,), r"kernels of 4x8, 4x4 bits .* some combination"),
        ((EIGHT, (4, 8), (8, 4), (4, 4), (1, 1)), ((4, 4), (4, 8), (8, 4), EIGHT), None),
    ],
)
def test_kernels_that_a_search_leaves_unused_are_named(
    bits: tuple[tuple[int, int], ...], offered: tuple[tuple[int, int], ...], said: str | None
) -> None:
    found = idle_kernels(Capabilities(bits=bits))
    assert bit_pairs(Capabilities(bits=bits)) == offered
    assert found is None if said is None else re.search(said, str(found))


def test_targets_of_our_own() -> None:
    assert "16x16, 4x4" in str(idle_kernels(get_target("roofline-gpu").capabilities))
    assert idle_kernels(get_target("roofline-bitfusion").capabilities) is None
    assert idle_kernels(get_target("bitfusion").capabilities) is None


class Twice(nn.Module):
    """The last layer is the network's output, which keeps its channels, and is called twice, which keeps its floats."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(32, 16), nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first, second = x.flatten(1).chunk(2, 1)
        return self.b(self.a(first).relu()) + self.b(self.a(second).tanh())


@pytest.mark.parametrize("methods", [("prune",), ("quantize",), ("prune", "quantize")])
def test_every_reason_is_said_of_the_methods_in_use(methods: tuple[str, ...]) -> None:
    used = tuple(METHODS[method]() for method in methods)
    frozen = load_subject(Twice().eval(), "digits", get_target("roofline-edge"), methods=used, seed=0).space.frozen
    assert [f"not {m}d" in frozen["b"] for m in ("prune", "quantize")] == [m in methods for m in ("prune", "quantize")]
