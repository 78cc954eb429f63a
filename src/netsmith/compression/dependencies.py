"""torch-pruning's dependency graph, made to stand what networks do to it: odd reshapes, and many ways to one layer."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from netsmith.compression.trial import Limit


class TooEntangledError(Exception):
    """The limit ran out while channels were followed."""


@contextlib.contextmanager
def made_robust(limit: Limit) -> Iterator[None]:
    """Within it, groups are built without quadratic searches and only as long as ``limit`` lasts, then raise.

    A reshape that torch-pruning cannot read (a channel shuffle: ZeroDivisionError) is left as if it moved nothing.
    Groups through it are wrong then, and fail their trial; the others are saved.
    """
    from torch_pruning.dependency import graph, index_mapping

    group, reshape = graph.Group, index_mapping.update_reshape_index_mapping

    def tolerant(graph: Any, node: Any) -> None:
        with contextlib.suppress(ArithmeticError):
            reshape(graph, node)

    graph.Group, index_mapping.update_reshape_index_mapping = _quick(group, limit), tolerant
    try:
        yield
    finally:
        graph.Group, index_mapping.update_reshape_index_mapping = group, reshape


def _quick(group: type, limit: Limit) -> type:
    """The class of groups, the same but for look-ups by hash where it looks through all items."""

    class Quick(group):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self._seen: set[tuple[Any, ...]] = set()
            self._merged: dict[tuple[Any, Any], tuple[int, set[int]]] = {}

        def add_dep(self, dep: Any, idxs: list[Any]) -> None:
            if limit.over:
                raise TooEntangledError
            super().add_dep(dep, idxs)
            self._seen.add((dep.target, dep.handler, tuple(idxs)))

        def has_pruning_op(self, dep: Any, idxs: list[Any]) -> bool:
            return (dep.target, dep.handler, tuple(idxs)) in self._seen

        def add_and_merge(self, dep: Any, idxs: list[Any]) -> None:
            key = (dep.target, dep.handler)
            if key not in self._merged:
                self._merged[key] = len(self), set()
                self.add_dep(dep, idxs)
                return
            if limit.over:
                raise TooEntangledError
            i, channels = self._merged[key]
            fresh = idxs
            if not channels:  # the first merge: from here on the item has a list of its own, each channel once
                fresh = self[i].idxs + idxs
                self[i] = type(self[i])(self[i].dep, [])
            for x in fresh:
                if x.idx not in channels:
                    channels.add(x.idx)
                    self[i].idxs.append(x)

    return Quick
