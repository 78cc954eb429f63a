"""Which attentions can lose heads, and why others cannot."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from netsmith.compression.heads import Attention, HeadReport, HeadsStep, find_heads, mask_heads
from netsmith.compression.recipe import Recipe, apply_recipe
from netsmith.compression.trial import randomized
from netsmith.errors import InputError
from token_networks import IMAGES, Tokens


class Reads(nn.Module):
    """One attention, and what the network makes of its output and of the attention itself."""

    def __init__(self, of: Any) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(12, 3, batch_first=True)
        self.unused = nn.MultiheadAttention(12, 3)
        self.of = of

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.of(self.attention, x)
        return out


ROWS = torch.randn(2, 5, 12)


@pytest.mark.parametrize("batch_first", [True, False])
def test_every_attention_of_an_encoder_can(batch_first: bool) -> None:
    report = find_heads(Tokens(batch_first=batch_first).train(), IMAGES)
    assert report == HeadReport(tuple(Attention(f"encoder.layers.{i}.self_attn", 4, 4) for i in range(2)), {})
    assert report.attentions[0].group.unit == 4 and report.attentions[0].channels((1, 3))[:5] == [4, 5, 6, 7, 12]


def test_a_network_that_reads_the_attention_itself_keeps_its_heads() -> None:
    def outputs(attention: nn.MultiheadAttention, x: torch.Tensor) -> Any:
        return attention(x, x, x)[0]

    def mean(attention: nn.MultiheadAttention, x: torch.Tensor) -> Any:
        return attention(x, x, x)[1]

    def each(attention: nn.MultiheadAttention, x: torch.Tensor) -> Any:
        return attention(x, x, x, average_attn_weights=False)[1].reshape(len(x), 3, -1)

    def masked(attention: nn.MultiheadAttention, x: torch.Tensor) -> Any:
        mask = torch.linspace(-3, 3, len(x) * 3 * 25, dtype=x.dtype).reshape(-1, 5, 5)
        return attention(x, x, x, attn_mask=mask, need_weights=False)[0]

    for of, reason in ((outputs, None), (mean, "something else"), (each, "forward fails"), (masked, None)):
        report = find_heads(Reads(of), ROWS)
        assert [a.path for a in report.attentions] == ([] if reason else ["attention"]), of
        assert reason is None or reason in report.frozen["attention"]
        assert "no part" in report.frozen["unused"]


def test_what_shares_a_weight_or_does_not_run_keeps_its_heads() -> None:
    model = Tokens()
    first, second = (layer.self_attn for layer in model.encoder.layers)
    second.in_proj_weight = first.in_proj_weight
    report = find_heads(model, IMAGES)
    assert not report.attentions and "encoder.layers.1.self_attn" in report.frozen["encoder.layers.0.self_attn"]
    model = Tokens()
    model.encoder.layers[1].self_attn = model.encoder.layers[0].self_attn
    assert list(find_heads(model, IMAGES).frozen.values()) == ["it is 'encoder.layers.1.self_attn' as well"]
    broken = find_heads(Reads(lambda attention, x: attention(x, x)), ROWS)
    assert "does not run" in broken.frozen["attention"]
    assert find_heads(nn.Linear(3, 3), torch.ones(1, 3)) == HeadReport((), {})


def test_a_recipe_removes_the_heads_from_a_fresh_network() -> None:
    factory = Tokens
    model = randomized(factory(), IMAGES)[0].float()
    recipe = Recipe().then(HeadsStep({}), HeadsStep({"encoder.layers.1.self_attn": (1, 2, 3)}))
    again = Recipe.from_json(recipe.to_json())
    assert again == recipe and len(again.steps) == 1 and '"1-3"' in recipe.to_json()
    small = apply_recipe(copy.deepcopy(model), recipe)
    mask_heads(model, {Attention("encoder.layers.1.self_attn", 4, 4): (1, 2, 3)})
    fresh = apply_recipe(factory(), again).eval()
    fresh.load_state_dict(small.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(fresh(IMAGES), model(IMAGES), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("path", "heads", "message"), [
    ("nowhere", (0,), "names layer 'nowhere', which this model does not have"),
    ("fc", (0,), "heads of layer 'fc': it is a Linear"),
    ("encoder.layers.0.self_attn", (0, 4), "it has the heads 0 to 3"),
])  # fmt: skip
def test_a_recipe_of_another_network_is_one_clear_sentence(path: str, heads: tuple[int, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        apply_recipe(Tokens(), Recipe((HeadsStep({path: heads}),)))


def test_an_encoder_without_heads_takes_padded_samples_in_evaluation() -> None:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=True).eval()
    x, padding = torch.randn(2, 5, 8), torch.arange(5).expand(2, 5) >= torch.tensor([[5], [3]])
    masked = copy.deepcopy(encoder)
    masked.use_nested_tensor = False
    mask_heads(masked, {Attention("layers.1.self_attn", 2, 4): (1,)})
    HeadsStep({"layers.1.self_attn": (1,)}).apply(encoder)
    with torch.no_grad():
        want, got = (m(x, src_key_padding_mask=padding) for m in (masked, encoder))
    torch.testing.assert_close(got[~padding], want[~padding])
