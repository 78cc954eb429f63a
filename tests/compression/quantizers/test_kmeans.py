"""Weight sharing against scikit-learn, the definition of nearest, and linear grids."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from netsmith.compression.quantizers import Codebook, KMeansWeight, fit_codebook, fit_scale, quantize
from netsmith.errors import InputError


def error(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a.double() - b.double()).square().sum())


def laplace(seed: int, *shape: int) -> torch.Tensor:
    u = torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) - 0.5
    return -u.sign() * torch.log1p(-2 * u.abs())


@pytest.mark.parametrize("bits", [1, 2, 3, 4])
@pytest.mark.parametrize("seed", [0, 1])
def test_inertia_matches_scikit_learn(bits: int, seed: int) -> None:
    from sklearn.cluster import KMeans

    weight = laplace(seed, 20, 30)
    book = fit_codebook(weight, bits, iterations=200, seed=seed)
    peer = KMeans(2**bits, n_init=10, random_state=seed).fit(weight.reshape(-1, 1).double().numpy())
    assert error(book.weight, weight) <= 1.02 * peer.inertia_


@pytest.mark.parametrize("bits", [2, 3, 4, 6, 8])
@pytest.mark.parametrize("kind", ["normal", "laplace"])
def test_sharing_beats_linear_grids(bits: int, kind: str) -> None:
    normal = torch.randn(64, 300, generator=torch.Generator().manual_seed(0))
    weight = normal if kind == "normal" else laplace(0, 64, 300)
    linear = quantize(weight, fit_scale(weight, bits, per_channel=False), bits)
    assert error(fit_codebook(weight, bits).weight, weight) < 0.9 * error(linear, weight)


def test_more_steps_do_not_hurt_and_values_become_means() -> None:
    weight = laplace(3, 50, 80)
    errors = [error(fit_codebook(weight, 3, iterations=n).weight, weight) for n in (0, 1, 3, 10, 300)]
    assert errors == sorted(errors, reverse=True) and errors[-1] < errors[0]
    book = fit_codebook(weight, 3, iterations=1000)
    means = torch.stack([weight[book.index == k].mean() for k in range(8)])
    torch.testing.assert_close(book.values, means, rtol=1e-4, atol=1e-5)


@given(st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=60), st.integers(1, 8), st.integers(0, 9))
@settings(max_examples=80)
def test_every_weight_has_its_nearest_value(numbers, bits, seed) -> None:
    weight = torch.tensor(numbers)
    book = fit_codebook(weight, bits, seed=seed)
    assert book.values.dtype == torch.float32 and book.index.dtype == torch.uint8 and book.bits == bits
    assert len(book.values) <= 2**bits and bool((book.values.diff() >= 0).all())
    distance = (weight.double()[:, None] - book.values.double()).abs()
    assert torch.equal((weight.double() - book.weight.double()).abs(), distance.amin(dim=1))
    if len(weight.unique()) <= 2**bits:
        assert torch.equal(book.weight, weight)


def test_the_seed_decides() -> None:
    weight = laplace(0, 40, 40)
    a, b = (fit_codebook(weight, 5, seed=7) for _ in range(2))
    assert torch.equal(a.values, b.values) and torch.equal(a.index, b.index)
    assert not torch.equal(a.values, fit_codebook(weight, 5, seed=8).values)


def test_mostly_zero_weights_keep_their_zeros() -> None:
    weight = laplace(0, 100, 100)
    weight[torch.rand(100, 100, generator=torch.Generator().manual_seed(0)) < 0.9] = 0.0
    book = fit_codebook(weight, 4)
    assert float(book.weight[weight == 0].abs().max()) < 0.1
    assert book.packed_bytes == 10_000 / 2 + 64


def test_a_centroid_has_the_sum_of_its_members_gradients() -> None:
    weight = laplace(1, 6, 5, 3, 3)
    module = KMeansWeight(fit_codebook(weight, 2))
    upstream = torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
    (module(weight) * upstream).sum().backward()
    want = torch.stack([upstream[module.index == k].sum() for k in range(4)])
    torch.testing.assert_close(module.values.grad, want)


def test_damping_makes_a_step_the_mean_of_its_members_steps() -> None:
    weight = laplace(2, 4, 5, 3, 3).contiguous(memory_format=torch.channels_last)
    book = fit_codebook(weight, 3)
    upstream = torch.randn(weight.shape, generator=torch.Generator().manual_seed(1))
    module = KMeansWeight(book, damping=1.0)
    optimizer = torch.optim.SGD([module.values], lr=0.1)
    (module() * upstream.contiguous(memory_format=torch.channels_last)).sum().backward()
    optimizer.step()
    alone = book.weight - 0.1 * upstream  # every weight alone, then the mean of the members
    means = torch.stack([alone[book.index == k].mean() for k in range(len(book.values))])
    torch.testing.assert_close(module.values.detach(), means)


def test_a_codebook_is_in_order_wherever_training_moved_its_values() -> None:
    index = torch.tensor([[0, 0, 1, 1], [3, 3, 0, 1]], dtype=torch.uint8)
    book = Codebook(torch.tensor([0.0, 1.0, 2.0, 5.0]), index, 2)
    module = KMeansWeight(book)
    assert torch.equal(module(), book.weight)
    with torch.no_grad():
        module.values.copy_(torch.tensor([5.0, 1.2, 2.0, 0.1]))  # training moved two values past each other
    ordered = module.codebook()
    assert ordered.values.tolist() == pytest.approx([0.1, 1.2, 2.0, 5.0]) and torch.equal(ordered.weight, module())
    fresh = KMeansWeight(book)
    fresh.load_state_dict(module.state_dict())
    assert torch.equal(fresh(), module())


def test_bad_input_is_one_sentence() -> None:
    with pytest.raises(InputError, match="NaN"):
        fit_codebook(torch.tensor([1.0, torch.nan]), 2)
    with pytest.raises(InputError, match="1 to 8 bits"):
        fit_codebook(torch.ones(3), 9)
    module = KMeansWeight(fit_codebook(torch.arange(4.0), 2))
    with pytest.raises(InputError, match=r"shape \(4,\), not \(5,\)"):
        module(torch.ones(5))
