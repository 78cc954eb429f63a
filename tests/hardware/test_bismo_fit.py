"""The three-term fit: recovers known coefficients, reports its error by group, and refuses what is no table."""

from __future__ import annotations

import numpy as np
import pytest

from netsmith.errors import InputError
from netsmith.hardware import fit_three_terms
from netsmith.network.layers import KIND, LayerTable

BATCH, AT_ONCE = 16, 16
TRUTH = (1.0, 1 / 256, 1 / 12_000)


def layers():
    conv, linear = KIND["conv"], KIND["linear"]

    def image(side, kernel=1):
        return {"h_in": side, "w_in": side, "h_out": side, "w_out": side, "kernel_h": kernel, "kernel_w": kernel}

    rows = [{"name": "stem", "kind": conv, "c_in": 3, "c_out": 32} | image(112, 3)]
    for i, (c, side) in enumerate(((32, 112), (144, 56), (384, 14), (960, 7))):
        rows.append({"name": f"dw{i}", "kind": conv, "c_in": c, "c_out": c, "groups": c} | image(side, 3))
        rows.append({"name": f"pw{i}", "kind": conv, "c_in": c, "c_out": 64 + 64 * i} | image(side))
    rows.append({"name": "fc", "kind": linear, "c_in": 1280, "c_out": 1000})
    return LayerTable.from_rows(rows)


def truth(t, coefficients=TRUTH):
    """The three terms written out layer by layer."""
    cycles = np.zeros((len(t), 8, 8))
    for i in range(len(t)):
        r = t.row(i)
        positions = r["h_out"] * r["w_out"] * BATCH * -(-r["groups"] // AT_ONCE)
        for w in range(1, 9):
            for a in range(1, 9):
                terms = (positions * a, int(t.weights[i]) * w, int(t.macs[i]) * BATCH * w * a)
                cycles[i, w - 1, a - 1] = max(c * x for c, x in zip(coefficients, terms, strict=True))
    return cycles


@pytest.mark.parametrize("coefficients", [TRUTH, (0.3, 1 / 64, 1 / 2000), (5.0, 1 / 16, 1 / 40_000)])
def test_known_coefficients_come_back(coefficients):
    t = layers()
    cycles = truth(t, coefficients)
    fit = fit_three_terms(t, cycles, BATCH, AT_ONCE)
    assert (fit.activation, fit.weight, fit.compute) == pytest.approx(coefficients, rel=1e-9)
    assert fit.predict(t) == pytest.approx(cycles, rel=1e-9)
    assert sum(fit.active.values()) == pytest.approx(1) and min(fit.active.values()) > 0
    assert {g: e.layers for g, e in fit.errors.items()} == {"other": 1, "depthwise": 4, "pointwise": 4, "fc": 1}
    assert all(e.largest < 1e-9 for e in fit.errors.values())


def test_noise_leaves_coefficients_close_and_shows_as_error():
    t = layers()
    noise = np.exp(0.05 * np.random.default_rng(0).normal(size=(len(t), 8, 8)))
    fit = fit_three_terms(t, truth(t) * noise, BATCH, AT_ONCE)
    assert (fit.activation, fit.weight, fit.compute) == pytest.approx(TRUTH, rel=0.05)
    for error in fit.errors.values():
        assert 0.01 < error.median < 0.06 and abs(error.total) < 0.05


def test_the_error_of_a_group_that_the_model_does_not_describe_stands_out():
    t = layers()
    cycles = truth(t)
    cycles[t.is_depthwise] *= np.array([1.0, 2.0, 1.0, 3.0])[:, None, None]
    errors = fit_three_terms(t, cycles, BATCH, AT_ONCE).errors
    assert errors["depthwise"].largest > 0.3
    assert errors["fc"].largest < 0.01


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c[:, 0], r"shape \(10, weight bits, activation bits\)"),
        (lambda c: c[:-1], r"shape \(10, weight bits"),
        (lambda c: c * 0, "positive numbers"),
        (lambda c: c * np.nan, "positive numbers"),
    ],
)
def test_what_is_no_table_is_refused(change, message):
    t = layers()
    with pytest.raises(InputError, match=message):
        fit_three_terms(t, change(truth(t)), BATCH)
    glue = LayerTable.from_rows([{"name": "add", "kind": KIND["add"]}])
    with pytest.raises(InputError, match="compute layers"):
        fit_three_terms(glue, np.ones((1, 8, 8)))
