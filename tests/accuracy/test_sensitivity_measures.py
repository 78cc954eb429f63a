"""Curvature and output error in place of measured divergence, for the bits of weights."""

from __future__ import annotations

import numpy as np
import pytest

from given import candidates_of, space_of
from labelled import evaluator as evaluator_of
from labelled import fit
from netsmith.accuracy.sensitivity import MEASURES, measure_sensitivity
from netsmith.compression.build import histograms_of
from netsmith.compression.mixed import LayerQuantizer
from netsmith.compression.placement import layer_inputs
from netsmith.compression.quantize import Calibration
from netsmith.data import load_data
from netsmith.errors import InputError
from netsmith.network.graph import trace
from netsmith.network.load import load_model
from netsmith.training import Training


@pytest.fixture(scope="module")
def case():  # type: ignore[no-untyped-def]
    model, data = load_model("zoo:digits?channels=8").model, load_data("digits")
    fit(model, data, Training(epochs=3, lr=0.05))
    graph = trace(model, (1, 8, 8))
    images, labels = next(data.search.batches(128, normalise=data.normalisation))
    return graph, images, labels


def tables(case, bits):  # type: ignore[no-untyped-def]
    graph, images, labels = case
    space = space_of(graph, bits=bits)
    inputs = layer_inputs(graph, space.quantized).values()
    quantizer = LayerQuantizer(graph, histograms_of(graph, images, inputs))
    candidates = candidates_of(space, Calibration(histograms_of(graph, images, inputs)), quantizer, {})
    return space, candidates, evaluator_of(graph, images, labels)


def test_every_measure_orders_the_weights_of_layers_much_alike(case) -> None:  # type: ignore[no-untyped-def]
    space, candidates, evaluator = tables(case, [(w, a) for w in (2, 3, 4) for a in (4, 8)])
    found = {m: measure_sensitivity(candidates, evaluator, measure=m) for m in MEASURES}
    weights = [d for d, decision in enumerate(space.decisions.decisions) if decision.kind == "w_bits"]
    inputs = [d for d in range(len(space.decisions)) if d not in weights]

    def ranks(x: np.ndarray) -> np.ndarray:
        return x.ravel().argsort().argsort()

    for name in ("output", "fisher", "hessian"):
        ours, measured = found[name].loss[weights], found["loss"].loss[weights]
        assert (np.diff(ours, axis=1) <= 0).all() and (ours >= 0).all()
        assert np.corrcoef(ranks(ours), ranks(measured))[0, 1] > 0.6, name
    for name in ("fisher", "hessian"):  # inputs are measured whatever the measure of weights
        np.testing.assert_allclose(found[name].loss[inputs], found["loss"].loss[inputs])
        assert found[name].candidates == len(inputs) * 2
        assert not np.allclose(found[name].loss[weights], found["loss"].loss[weights], rtol=0.01)


def test_what_does_not_apply_is_said(case) -> None:  # type: ignore[no-untyped-def]
    _, candidates, evaluator = tables(case, [(8, 8), (32, 32)])
    with pytest.raises(InputError, match="no choice here; use loss"):
        measure_sensitivity(candidates, evaluator, measure="fisher")
    with pytest.raises(InputError, match="did you mean 'hessian'"):
        measure_sensitivity(candidates, evaluator, measure="hesian")
