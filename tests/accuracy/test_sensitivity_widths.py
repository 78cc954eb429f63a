"""Widths between those that are evaluated get losses between theirs."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from given import candidates_of, groups_in, space_of
from labelled import evaluator as evaluator_of
from labelled import fit
from netsmith.accuracy.sensitivity import measure_sensitivity
from netsmith.compression.groups import find_groups
from netsmith.compression.importance import channel_importance
from netsmith.compression.mixed import LayerQuantizer
from netsmith.compression.quantize import Calibration
from netsmith.data import load_data
from netsmith.network.graph import trace
from netsmith.network.load import load_model
from netsmith.training import Training


def test_only_some_widths_are_evaluated_and_the_others_lie_between_them() -> None:
    model, data = load_model("zoo:digits?channels=16").model, load_data("digits")
    fit(model, data, Training(epochs=3, lr=0.05))
    images, labels = next(data.search.batches(128, normalise=data.normalisation))
    graph, report = trace(model, (1, 8, 8)), find_groups(model, images[:2])
    space = space_of(graph, report, [], quantize=False, widths=16)
    candidates = candidates_of(space, Calibration({}), LayerQuantizer(graph, {}), channel_importance(model, report))
    evaluator = evaluator_of(graph, images, labels)
    whole = measure_sensitivity(candidates, evaluator, widths=16)
    part = measure_sensitivity(candidates, evaluator, widths=6)
    groups = len(groups_in(space))
    assert whole.candidates == groups * 15 and part.candidates == groups * 5
    at = [0, 3, 6, 9, 12, 15]
    for d in range(groups):
        np.testing.assert_allclose(part.loss[d, at], np.maximum.accumulate(part.loss[d, at][::-1])[::-1])
        for a, b in pairwise(at):
            inside = part.loss[d, a : b + 1]
            assert (np.diff(inside) <= 1e-12).all() and inside[0] <= whole.loss[d, 0] + 1e-6
        np.testing.assert_allclose(part.score[d, at], whole.score[d, at])
    assert (part.loss[:, -1] == 0).all() and part.loss[:, 0].min() > 0
    error = np.abs(part.loss - whole.loss).mean() / whole.loss.mean()
    assert error < 0.15
