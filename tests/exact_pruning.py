"""Whether a pruned network computes exactly what its masked parent does, group by group and all at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from channel_counts import channel_counts
from netsmith.compression import GroupReport, find_groups, masked
from netsmith.compression.prune import prune
from netsmith.compression.recipe import Recipe, apply_recipe
from netsmith.compression.trial import randomized

IMAGE = torch.randn(2, 3, 8, 8)


def exact(model: nn.Module, x: torch.Tensor = IMAGE, seed: int = 0) -> GroupReport:
    """Prune each group alone, and all at random: the output is that of the masked parent, in doubles."""
    image = x
    probe, (x,) = randomized(model, image)
    report = find_groups(model, image)
    rng = np.random.default_rng(seed)
    some = {}
    for g in report.groups:
        units = np.sort(rng.permutation(g.channels // g.unit)[: max(1, g.channels // g.unit * 2 // 3)])
        some[g.name] = [int(u) * g.unit + i for u in units for i in range(g.unit)]
    for keep in [some, *({k: v} for k, v in some.items())] if some else []:
        fresh, _ = randomized(model, image)
        with torch.no_grad():
            want = masked(probe, report, keep)(x)
            step = prune(fresh, report, keep)
            torch.testing.assert_close(fresh(x), want, rtol=1e-10, atol=1e-12)
            assert not torch.allclose(want, probe(x))
        again = Recipe.from_json(Recipe().then(step).to_json())
        apply_recipe(randomized(model, image)[0], again).load_state_dict(fresh.state_dict(), strict=True)
        for name, (c_in, c_out) in channel_counts(probe, report, keep).items():
            layer: Any = fresh.get_submodule(name)
            found = (layer.in_features, layer.out_features) if isinstance(layer, nn.Linear) else (
                layer.in_channels, layer.out_channels)  # fmt: skip
            assert found == (c_in, c_out)
    return report


def widths(report: GroupReport) -> dict[str, tuple[int, int]]:
    return {g.name: (g.channels, g.unit) for g in report.groups}
