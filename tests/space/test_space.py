from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netsmith.errors import InputError
from netsmith.space import Decision, Space
from netsmith.testing import check_decisions


@st.composite
def spaces(draw):
    sizes = draw(st.lists(st.integers(1, 5), min_size=1, max_size=8))
    tied = []
    if len(sizes) >= 3 and draw(st.booleans()):
        sizes[2] = sizes[0]
        tied = [(0, 2)]
    kinds = [(1, 2, 3, 4, 5), (0.25, 0.5, 0.75, 0.9, 1.0), ("a", "b", "c", "d", "e")]
    decisions = [Decision(f"d{i}", f"kind{i % 3}", kinds[i % 3][:k]) for i, k in enumerate(sizes)]
    return Space(tuple(decisions), tuple(tied))


@given(spaces(), st.integers(0, 1000))
@settings(max_examples=40)
def test_conformance(space, seed):
    check_decisions(space, seed)


SPACE = Space(
    (Decision("a", "width", (0.5, 1.0)), Decision("b", "bits", (2, 4, 8)), Decision("c", "width", (0.5, 1.0))),
    ((2, 0),),
)


def test_names_values_and_sizes():
    assert SPACE.sizes.tolist() == [2, 3, 2] and len(SPACE) == 3
    assert SPACE.count == 6
    assert SPACE.describe(np.array([1, 2, 1])) == {"a": 1.0, "b": 8, "c": 1.0}
    assert SPACE.design({"b": 4, "c": 0.5, "a": 0.5}).tolist() == [0, 1, 0]
    assert SPACE.encode(np.array([1, 2, 1])).tolist() == [[0, 1, 0, 0, 1, 0, 1]]
    assert SPACE.valid(np.array([[0, 0, 0], [0, 0, 1], [0, 3, 0], [-1, 0, -1]])).tolist() == [True, False, False, False]


def test_sampling_is_uniform_and_mutation_has_its_rate():
    rng = np.random.default_rng(0)
    designs = SPACE.sample(rng, 6000)
    counts = np.bincount(designs[:, 1])
    assert abs(counts / 6000 - 1 / 3).max() < 0.03
    changed = SPACE.mutate(rng, designs, 0.25) != designs
    assert abs(changed.mean() - 0.25) < 0.02
    assert (changed[:, 0] == changed[:, 2]).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Decision("a", "x", ()), "'a' has no choices"),
        (lambda: Decision("a", "x", (1, 1)), "lists a choice twice"),
        (lambda: Space((Decision("a", "x", (1,)), Decision("a", "x", (1,)))), "'a' appears twice"),
        (lambda: Space((Decision("a", "x", (1,)),), ((0, 1),)), "outside"),
        (lambda: Space((Decision("a", "x", (1,)), Decision("b", "x", (1, 2))), ((0, 1),)), "different numbers"),
        (lambda: Space(SPACE.decisions, ((0, 2), (2, 0))), "overlaps"),
        (lambda: SPACE.index("aa"), r"no decision 'aa' in this space \(did you mean 'a'"),
        (lambda: SPACE.design({"a": 1.0, "b": 3, "c": 1.0}), "no choice 3"),
        (lambda: SPACE.design({"a": 1.0, "b": 2}), "no value for decision 'c'"),
        (lambda: SPACE.design({"a": 1.0, "b": 2, "c": 0.5}), "tied"),
        (lambda: SPACE.describe(np.array([0, 9, 0])), "not a design"),
    ],
)
def test_input_errors(make, message):
    with pytest.raises(InputError, match=message):
        make()
