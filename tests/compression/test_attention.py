"""Attentions without some of their heads compute what torch's compute with those heads' outputs set to zero."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from netsmith.compression.attention import PrunedAttention, remove_heads, unprunable
from netsmith.errors import InputError

E, H, N, L, S = 12, 4, 3, 5, 6
KEPT = (0, 3)


def _attention(seed: int = 0, **options: Any) -> nn.MultiheadAttention:
    torch.manual_seed(seed)
    module = nn.MultiheadAttention(E, H, **options).double().eval()
    for p in module.parameters():  # torch starts biases at zero
        nn.init.normal_(p, std=0.5)
    return module


def _without(module: nn.MultiheadAttention, kept: tuple[int, ...]) -> tuple[nn.Module, nn.Module]:
    """The attention with the columns of other heads set to zero, and the one that has lost them."""
    masked, small = copy.deepcopy(module), copy.deepcopy(module)
    gone = [h * module.head_dim + i for h in range(module.num_heads) if h not in kept for i in range(module.head_dim)]
    masked.out_proj.weight.data[:, gone] = 0.0
    remove_heads(small, kept)
    return masked, small


_MASKS = {
    "none": {},
    "padding": {"key_padding_mask": torch.arange(S).expand(N, S) >= torch.tensor([[6], [4], [3]])},
    "causal": {"attn_mask": torch.ones(L, S, dtype=torch.bool).triu(1), "is_causal": True},
    "scores": {"attn_mask": torch.linspace(-1, 1, L * S).reshape(L, S).double()},
    "a head each": {"attn_mask": torch.linspace(-2, 2, N * H * L * S).reshape(N * H, L, S).double()},
}
_MASKS["both"] = _MASKS["padding"] | {"attn_mask": torch.ones(L, S, dtype=torch.bool).triu(1)}


@pytest.mark.parametrize("mask", _MASKS)
@pytest.mark.parametrize("weights", [False, True])
@pytest.mark.parametrize("options", [
    {"batch_first": True}, {}, {"bias": False}, {"kdim": 8, "vdim": 10, "batch_first": True},
    {"add_bias_kv": True, "add_zero_attn": True}, {"add_zero_attn": True, "batch_first": True, "bias": False},
])  # fmt: skip
def test_the_rest_of_the_heads_computes_what_it_did(options: dict[str, Any], weights: bool, mask: str) -> None:
    masked, small = _without(_attention(**options), KEPT)
    torch.manual_seed(1)
    shapes = [(N, L, E), (N, S, options.get("kdim", E)), (N, S, options.get("vdim", E))]
    args = [torch.randn(s, dtype=torch.float64) for s in shapes]
    if not options.get("batch_first"):
        args = [x.transpose(0, 1) for x in args]
    given = {"need_weights": weights, "average_attn_weights": False} | _MASKS[mask]
    want, full = masked(*args, **given)
    got, own = small(*args, **given)
    torch.testing.assert_close(got, want)
    if weights:
        torch.testing.assert_close(own, full[:, list(KEPT)])
    else:
        assert own is None


@pytest.mark.parametrize("batch_first", [False, True])
def test_one_sample_without_a_batch_and_attention_to_itself(batch_first: bool) -> None:
    masked, small = _without(_attention(batch_first=batch_first), (1, 2, 3))
    x = torch.randn(L, E, dtype=torch.float64)
    torch.testing.assert_close(small(x, x, x)[0], masked(x, x, x)[0])
    assert small(x, x, x)[1].shape == (L, L)
    x = torch.randn(N, L, E, dtype=torch.float64)
    torch.testing.assert_close(small(x, x, x, need_weights=False)[0], masked(x, x, x, need_weights=False)[0])


def test_heads_go_twice_and_their_numbers_are_those_of_the_moment() -> None:
    module = _attention(batch_first=True)
    once, twice = copy.deepcopy(module), copy.deepcopy(module)
    remove_heads(once, (3,))
    remove_heads(twice, (1, 3))
    remove_heads(twice, (1,))
    x = torch.randn(N, L, E, dtype=torch.float64)
    mask = torch.randn(N * H, L, L, dtype=torch.float64)
    torch.testing.assert_close(twice(x, x, x, attn_mask=mask)[0], once(x, x, x, attn_mask=mask)[0])
    assert isinstance(twice, PrunedAttention) and twice.kept_heads == (3,) and twice.num_heads == 1


def test_it_trains_drops_out_and_starts_anew() -> None:
    module = _attention(batch_first=True, dropout=0.5, add_bias_kv=True).train()
    names = list(module.state_dict())
    remove_heads(module, (0, 2))
    x = torch.randn(N, L, E, dtype=torch.float64)
    for weights in (True, False):
        first, second = (module(x, x, x, need_weights=weights)[0] for _ in range(2))
        assert not torch.equal(first, second)
        first.sum().backward()
    assert list(module.state_dict()) == names
    assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in module.parameters())
    module._reset_parameters()
    assert module.in_proj_bias is not None and not module.in_proj_bias.any()


def test_an_encoder_of_torch_does_without_its_fused_kernel() -> None:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(E, H, 16, batch_first=True, dtype=torch.float64).eval()
    masked, small = copy.deepcopy(layer), copy.deepcopy(layer)
    masked.self_attn, small.self_attn = _without(layer.self_attn, (1, 3))
    x = torch.randn(N, L, E, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(small(x), masked(x))


def test_work_falls_with_the_heads() -> None:
    def macs(module: nn.Module) -> int:
        with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
            module(x, x, x, need_weights=False)
        return int(counter.get_total_flops()) // 2

    module, x = _attention(), torch.randn(L, N, E, dtype=torch.float64)  # its batch second: no fused kernel
    _, small = _without(module, (0,))
    assert macs(small) * H == macs(module)


def test_what_cannot_lose_heads_says_why() -> None:
    class Own(nn.MultiheadAttention):
        pass

    assert "Own" in (unprunable(Own(E, H)) or "")
    assert "one head" in (unprunable(nn.MultiheadAttention(E, 1)) or "")
    computed = nn.utils.parametrizations.weight_norm(nn.MultiheadAttention(E, H), "in_proj_weight")
    assert unprunable(computed) is not None
    for kept in ((), (2, 1), (0, 4), (1, 1)):
        with pytest.raises(InputError, match="heads 0 to 3"):
            remove_heads(_attention(), kept)
    with pytest.raises(InputError, match="Linear"):
        remove_heads(nn.Linear(2, 2), (0,))
