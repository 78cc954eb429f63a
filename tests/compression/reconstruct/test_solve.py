"""Repair from Gram matrices is the least-squares fit on the rows that they were made of."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from netsmith.compression.reconstruct.moments import Gram
from netsmith.compression.reconstruct.solve import LayerSolver


def problem(n: int = 400, p: int = 12, outputs: int = 5) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Correlated inputs ``(n, p)`` with means, a weight ``(outputs, p)`` and a bias."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, p)) @ rng.normal(size=(p, p)) + rng.normal(size=p)
    return tuple(torch.from_numpy(v) for v in (x, rng.normal(size=(outputs, p)), rng.normal(size=outputs)))  # type: ignore[return-value]


def gram_of(x: torch.Tensor) -> Gram:
    return Gram(x.T @ x / len(x), x.mean(dim=0), len(x))


KEPT = np.array([0, 2, 3, 7, 8, 11])


def test_without_intercept_it_is_lstsq_on_the_rows() -> None:
    x, w, _ = problem()
    got = LayerSolver(gram_of(x), w, intercept=False, ridge=0.0).direct(KEPT)
    want = np.linalg.lstsq(x[:, KEPT].numpy(), (x @ w.T).numpy(), rcond=None)[0].T
    np.testing.assert_allclose(got[:, KEPT].numpy(), want, rtol=1e-8, atol=1e-10)
    assert float(got[:, [i for i in range(12) if i not in KEPT]].abs().max()) == 0


def test_with_intercept_it_is_lstsq_with_a_column_of_ones() -> None:
    x, w, b = problem()
    solver = LayerSolver(gram_of(x), w, intercept=True, ridge=0.0)
    got = solver.direct(KEPT)
    ones = np.concatenate([x[:, KEPT].numpy(), np.ones((len(x), 1))], axis=1)
    want = np.linalg.lstsq(ones, (x @ w.T + b).numpy(), rcond=None)[0].T
    np.testing.assert_allclose(got[:, KEPT].numpy(), want[:, :-1], rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose((b + solver.bias_change(got)).numpy(), want[:, -1], rtol=1e-7, atol=1e-9)


def test_the_closed_form_of_two_correlated_inputs() -> None:
    """x2 = a x1 + noise of variance s: without x2, its weight goes to x1 times a."""
    products = torch.tensor([[2.0, 3.0], [3.0, 5.0]], dtype=torch.float64)  # a = 1.5, s = 0.5
    gram = Gram(products, torch.zeros(2, dtype=torch.float64), 100)
    w = torch.tensor([[1.0, 4.0]], dtype=torch.float64)
    got = LayerSolver(gram, w, intercept=False, ridge=0.0).direct(np.array([0]))
    assert got.tolist() == [[pytest.approx(1 + 4 * 1.5), 0.0]]
    assert gram.error(got - w) == pytest.approx(4**2 * 0.5)


@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("ridge", [0.0, 1e-6, 1.0, 100.0])
def test_repair_never_raises_the_error_of_masking_and_is_zero_with_nothing_removed(
    intercept: bool, ridge: float
) -> None:
    x, w, _ = problem()
    gram = gram_of(x)
    solver = LayerSolver(gram, w, intercept, ridge)
    assert torch.equal(solver.direct(np.arange(12)), w)
    rng = np.random.default_rng(1)
    for count in (1, 4, 9, 11):
        kept = np.sort(rng.permutation(12)[:count])
        plain = torch.zeros_like(w)
        plain[:, kept] = w[:, kept]
        repaired = solver.direct(kept)
        before = gram.error(plain - w, solver.bias_change(plain))
        after = gram.error(repaired - w, solver.bias_change(repaired))
        rows = x @ (repaired - w).T + solver.bias_change(repaired)
        assert after == pytest.approx(float(rows.square().sum(dim=1).mean()), rel=1e-9)
        assert after <= before * (1 + 1e-12)
        assert ridge > 1 or after < 0.99 * before
        # a mask alone, without the change of the bias, is worse still
        assert after <= gram.error(plain - w) * (1 + 1e-12)


@pytest.mark.parametrize("intercept", [False, True])
def test_one_factor_serves_all_widths(intercept: bool) -> None:
    x, w, _ = problem()
    solver = LayerSolver(gram_of(x), w, intercept)
    order = np.random.default_rng(2).permutation(12)
    for count in (1, 5, 8, 12):
        want = solver.direct(np.sort(order[:count]))
        np.testing.assert_allclose(solver.leading(order, count).numpy(), want.numpy(), rtol=1e-6, atol=1e-8)


def test_inputs_that_are_always_zero_leave_a_finite_answer() -> None:
    _, w, _ = problem()
    gram = Gram(torch.zeros(12, 12, dtype=torch.float64), torch.zeros(12, dtype=torch.float64), 10)
    got = LayerSolver(gram, w, intercept=False).direct(KEPT)
    assert torch.equal(got[:, KEPT], w[:, KEPT])


def test_fewer_rows_than_columns_still_fit_the_rows() -> None:
    x, w, _ = problem(n=8, p=12)
    gram = gram_of(x)
    got = LayerSolver(gram, w, intercept=False).direct(np.arange(10))
    plain = w.clone()
    plain[:, 10:] = 0
    assert bool(torch.isfinite(got).all())
    assert gram.error(got - w) < 1e-3 * gram.error(plain - w)
