"""What pruning must leave of every layer, counted without pruning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import nn

from netsmith.compression import GroupReport, plan
from netsmith.compression.layers import is_depthwise


def channel_counts(
    model: nn.Module, report: GroupReport, keep: Mapping[str, Sequence[int] | int]
) -> dict[str, tuple[int, int]]:
    """Channels of every layer after pruning, without pruning.

    Args:
        model: the network as given.
        report: the groups of the network.
        keep: group name to kept channels, or to their number (then the first ones are taken).

    Returns:
        Path of each convolution and linear layer -> ``(c_in, c_out)``.
    """
    indices = {k: range(v) if isinstance(v, int) else v for k, v in keep.items()}
    counts = dict(report.counts)
    for name, layer in plan(report, indices).layers.items():
        if name not in counts:
            continue
        c_in, c_out = counts[name]
        if layer.inputs is not None:
            c_in = len(layer.inputs)
        if layer.outputs is not None:
            if layer.inputs is None and is_depthwise(model.get_submodule(name)):
                c_in = len(layer.outputs)
            c_out = len(layer.outputs)
        counts[name] = c_in, c_out
    return counts
