"""``nn.MultiheadAttention`` with fewer heads than it was made with, so that its inner width is not its embedding's.

torch's own forward takes the width of queries, keys and values for that of the embedding, so a module that has lost
heads needs a forward of its own. Everything else stays: names of parameters, arguments, order of the dimensions, masks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from netsmith.errors import InputError

_PROJECTIONS = ("q_proj_weight", "k_proj_weight", "v_proj_weight")
_BIASES = ("bias_k", "bias_v")


class PrunedAttention(nn.MultiheadAttention):
    """What :func:`remove_heads` makes of an attention. Arguments and outputs of its forward are torch's.

    Attributes:
        given_heads: how many heads it was made with.
        kept_heads: which of them it has, ascending; a mask for each head of the given ones is read at these.
        num_heads: how many that are.
    """

    given_heads: int
    kept_heads: tuple[int, ...]

    def forward(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor,
        key_padding_mask: torch.Tensor | None = None, need_weights: bool = True,
        attn_mask: torch.Tensor | None = None, average_attn_weights: bool = True, is_causal: bool = False,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:  # fmt: skip
        """``(N, L, E)``, ``(N, S, E)`` (batch second unless ``batch_first``) to ``(N, L, E)`` and the attention."""
        if is_causal and attn_mask is None:
            raise RuntimeError("is_causal is a hint about attn_mask, which has to be given too")
        q, k, v = (self._samples_first(x) for x in self._projected(query, key, value))
        if query.dim() == 2 and key_padding_mask is not None:
            key_padding_mask = key_padding_mask.unsqueeze(0)
        causal = is_causal and key_padding_mask is None and not need_weights
        mask = None if causal else self._mask(attn_mask, key_padding_mask, q)
        if self.bias_k is not None and self.bias_v is not None:
            k, v = (torch.cat([x, b.expand(x.shape[0], 1, -1)], 1) for x, b in ((k, self.bias_k), (v, self.bias_v)))
        q, k, v = (x.unflatten(-1, (self.num_heads, self.head_dim)).transpose(1, 2) for x in (q, k, v))
        if self.add_zero_attn:
            k, v = (F.pad(x, (0, 0, 0, 1)) for x in (k, v))
        drop, weights = self.dropout if self.training else 0.0, None
        if need_weights:
            scores = (q * self.head_dim**-0.5) @ k.transpose(-2, -1)
            weights = F.dropout(torch.softmax(scores if mask is None else scores + mask, dim=-1), drop)
            out = weights @ v
        else:
            out = F.scaled_dot_product_attention(q, k, v, mask, drop, causal)
        out = self.out_proj(out.transpose(1, 2).flatten(2))
        if weights is not None and average_attn_weights:
            weights = weights.mean(dim=1)
        if query.dim() == 2:
            return out.squeeze(0), None if weights is None else weights.squeeze(0)
        return out if self.batch_first else out.transpose(0, 1), weights

    def _projected(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> Sequence[torch.Tensor]:
        """Queries, keys and values of all heads, ``(..., H * d)`` each, in one product where they read one tensor."""
        packed = self.in_proj_weight is not None
        if packed and query is key and key is value:
            return F.linear(query, self.in_proj_weight, self.in_proj_bias).chunk(3, dim=-1)
        weights = self.in_proj_weight.chunk(3) if packed else [getattr(self, name) for name in _PROJECTIONS]
        biases: Sequence[Any] = [None] * 3 if self.in_proj_bias is None else self.in_proj_bias.chunk(3)
        return [F.linear(x, w, b) for x, w, b in zip((query, key, value), weights, biases, strict=True)]

    def _samples_first(self, x: torch.Tensor) -> torch.Tensor:
        if x.dim() == 2:
            return x.unsqueeze(0)
        return x if self.batch_first else x.transpose(0, 1)

    def _mask(
        self, attn_mask: torch.Tensor | None, key_padding_mask: torch.Tensor | None, q: torch.Tensor
    ) -> torch.Tensor | None:
        """What is added to the scores ``(N, H, L, S)``, or None; places behind those of the masks are open."""
        masks = []
        if attn_mask is not None:
            mask = _added(attn_mask, q.dtype)
            if mask.dim() == 3:  # a mask for each head
                mask = mask.unflatten(0, (q.shape[0], -1))
                if mask.shape[1] == self.given_heads and self.num_heads < self.given_heads:
                    mask = mask[:, list(self.kept_heads)]
            masks.append(mask)
        if key_padding_mask is not None:
            masks.append(_added(key_padding_mask, q.dtype)[:, None, None])
        if not masks:
            return None
        more = int(self.bias_k is not None) + int(self.add_zero_attn)
        return F.pad(sum(masks[1:], masks[0]), (0, more))

    def _reset_parameters(self) -> None:
        packed = [self.in_proj_weight] if self.in_proj_weight is not None else []
        for weight in packed or [getattr(self, name) for name in _PROJECTIONS]:
            nn.init.xavier_uniform_(weight)
        for bias in (self.in_proj_bias, self.out_proj.bias):
            if bias is not None:
                nn.init.zeros_(bias)
        for extra in (self.bias_k, self.bias_v):
            if extra is not None:
                nn.init.xavier_normal_(extra)


def _added(mask: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """A mask as what is added to scores: minus infinity where a mask of truth values is true."""
    return torch.zeros_like(mask, dtype=dtype).masked_fill_(mask, -torch.inf) if mask.dtype == torch.bool else mask


def unprunable(module: nn.Module) -> str | None:
    """Why heads of an attention cannot be removed, or None."""
    if type(module) not in (nn.MultiheadAttention, PrunedAttention):
        return f"it is a {type(module).__name__}, whose forward may be other than torch's"
    assert isinstance(module, nn.MultiheadAttention)
    if module.num_heads < 2:
        return "it has one head only"
    out = module.out_proj
    if not isinstance(out, nn.Linear) or out.in_features != module.num_heads * module.head_dim:
        return f"its output projection is a {type(out).__name__} of another width"
    names = {n for n, _ in module.named_parameters()}
    expected = {"in_proj_weight", *_PROJECTIONS, "in_proj_bias", *_BIASES, "out_proj.weight", "out_proj.bias"}
    if names - expected or len(list(module.modules())) != 2:
        return "its weights are computed from others"
    return None


def remove_heads(module: nn.Module, kept: Sequence[int]) -> None:
    """Remove heads of an attention in place, with the rows and columns of its weights.

    The module keeps its identity, its hooks and the names of its parameters, so it may stand at several places.

    Args:
        kept: heads that stay, in its present numbering, ascending.

    Raises:
        InputError: the module is no attention whose heads can be removed, or an index is out of range.
    """
    reason = unprunable(module)
    if reason is not None:
        raise InputError(reason)
    assert isinstance(module, nn.MultiheadAttention)
    heads, size = module.num_heads, module.head_dim
    if not kept or list(kept) != sorted(set(kept)) or kept[0] < 0 or kept[-1] >= heads:
        raise InputError(f"it has the heads 0 to {heads - 1}, and {list(kept)} are none of these in ascending order")
    own = torch.cat([torch.arange(h * size, (h + 1) * size) for h in kept])
    every = torch.cat([own + part * heads * size for part in range(3)])
    rows = {"in_proj_weight": every, "in_proj_bias": every} | dict.fromkeys(_PROJECTIONS, own)
    for name, index in rows.items():
        _select(module, name, index, 0)
    for name in _BIASES:
        _select(module, name, own, 2)
    _select(module.out_proj, "weight", own, 1)
    module.out_proj.in_features = len(own)
    given, before = getattr(module, "given_heads", heads), getattr(module, "kept_heads", range(heads))
    module.__class__ = PrunedAttention
    module.__dict__ |= {"given_heads": given, "kept_heads": tuple(before[h] for h in kept)}
    module.num_heads = len(kept)
    module._qkv_same_embed_dim = False  # torch's fused kernel for a layer of an encoder takes the inner width for given


def _select(module: nn.Module, name: str, index: torch.Tensor, dim: int) -> None:
    old = getattr(module, name, None)
    if isinstance(old, torch.Tensor):
        value = old.detach().index_select(dim, index.to(old.device))
        setattr(module, name, nn.Parameter(value, requires_grad=old.requires_grad))
