"""Acting on a given network: channel groups, pruning, residual branches, quantization, sensitivity, recipe."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netsmith.lazy import lazy_names

if TYPE_CHECKING:
    from netsmith.compression.branches import Branch, PassThrough, ZeroBranch, drop_branches, find_branches
    from netsmith.compression.channels import ChannelGroup, GroupReport, Member
    from netsmith.compression.evidence import Evidence, Importance
    from netsmith.compression.groups import find_groups
    from netsmith.compression.importance import channel_importance
    from netsmith.compression.kept import keep_indices, widths
    from netsmith.compression.prune import masked, plan
    from netsmith.compression.recipe import Recipe, apply_recipe
    from netsmith.compression.slicing import LayerKeep
    from netsmith.compression.steps import DropStep, PruneStep, register_step

# ``prune`` itself is ``netsmith.compression.prune.prune``: a package attribute of that name would hide its module.
__all__ = [
    "Branch", "ChannelGroup", "DropStep", "Evidence", "GroupReport", "Importance", "LayerKeep", "Member",
    "PassThrough", "PruneStep", "Recipe", "ZeroBranch", "apply_recipe", "channel_importance",
    "drop_branches", "find_branches", "find_groups", "keep_indices", "masked", "plan", "register_step", "widths",
]  # fmt: skip

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "branches": ("Branch", "PassThrough", "ZeroBranch", "drop_branches", "find_branches"),
        "channels": ("ChannelGroup", "GroupReport", "Member"),
        "evidence": ("Evidence", "Importance"),
        "groups": ("find_groups",),
        "importance": ("channel_importance",),
        "kept": ("keep_indices", "widths"),
        "prune": ("masked", "plan"),
        "recipe": ("Recipe", "apply_recipe"),
        "slicing": ("LayerKeep",),
        "steps": ("DropStep", "PruneStep", "register_step"),
    },
)
