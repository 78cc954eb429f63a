"""Repaired weights of candidates, each layer and kept set solved once, and the same weights in the user's module."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from netsmith.compression.kept import FloatArray, ranking
from netsmith.compression.reconstruct.consumers import Consumer
from netsmith.compression.reconstruct.moments import Moments
from netsmith.compression.reconstruct.solve import RIDGE, IntArray, LayerSolver
from netsmith.network.passes import get_parameter

KNOWN = 64  #: kept sets of a layer that are remembered

Solution = tuple[torch.Tensor, torch.Tensor | None]


class Repair:
    """Least-squares repair of every layer that reads pruned channels.

    Args:
        moments: of the network as given.
        importance: group name -> score of each channel. Where one group alone shrinks and its best channels stay, all
            widths share one factorisation.
        intercept: whether biases are fitted too, where a layer has one or a batch norm behind it; off as in AMC, where
            the accuracy of pruned networks is a little higher (benchmarks/reconstruction.py).
        ridge: see ``LayerSolver``.
    """

    def __init__(
        self, moments: Moments, importance: Mapping[str, FloatArray], intercept: bool = False, ridge: float = RIDGE
    ) -> None:
        self.moments, self.importance = moments, importance
        self.intercept, self.ridge = intercept, ridge
        self._solvers: dict[str, LayerSolver] = {}
        self._orders: dict[tuple[str, str], IntArray] = {}
        self._known: dict[str, dict[bytes, Solution]] = {}

    def weights(self, keep: Mapping[str, Sequence[int]]) -> dict[str, torch.Tensor]:
        """What a pruned network's masked parent has: full shapes, zeros for the channels that go.

        Args:
            keep: group name -> channels that stay.

        Returns:
            Name of a parameter of the graph -> its value. The same tensors for equal kept sets.
        """
        out: dict[str, torch.Tensor] = {}
        for consumer, kept, group in self._reached(keep):
            weight, bias = self._solved(consumer, kept, group)
            out[consumer.parameter] = weight
            if bias is not None and consumer.bias is not None:
                out[consumer.bias] = bias
        return out

    def write(self, model: nn.Module, keep: Mapping[str, Sequence[int]]) -> None:
        """Give the user's module, before anything is cut, the weights of the masked parent.

        The graph may have batch norm folded: a row of its weight is a row of the module's times the norm's factor, by
        which the repaired row is divided. A change of the bias goes to the module's bias, or is taken off the running
        mean of the norm behind it, where the estimation of that mean finds it again.
        """
        graph = self.moments.graph.module
        with torch.no_grad():
            for consumer, kept, group in self._reached(keep):
                weight, bias = self._solved(consumer, kept, group)
                own = get_parameter(model, f"{consumer.layer}.weight")
                given = get_parameter(graph, consumer.parameter).detach().double().flatten(1)
                factor = _factors(given, own.detach().double().flatten(1))
                row = factor.reshape(-1, *[1] * (own.dim() - 1))
                live = row != 0  # a row that the norm multiplies by zero gives nothing and needs no repair
                own.copy_(torch.where(live, weight.double() / torch.where(live, row, 1.0), own.double()))
                if bias is None or consumer.bias is None:
                    continue
                change = bias.double() - get_parameter(graph, consumer.bias).detach().double()
                change = torch.where(factor != 0, change / torch.where(factor != 0, factor, 1.0), 0.0)
                if consumer.norm is not None:
                    mean = get_parameter(model, consumer.norm)
                    mean.copy_(mean.double() - change)
                else:
                    shift = get_parameter(model, f"{consumer.layer}.bias")
                    shift.copy_(shift.double() + change)

    def error(self, layer: str, weight: torch.Tensor, bias: torch.Tensor | None = None) -> float:
        """Squared error of a layer's outputs over their variance, on the gathered rows.

        Args:
            weight, bias: as ``weights`` gives them; None is the bias as given.
        """
        consumer, solver = self.moments.consumers[layer], self._solver(layer)
        change = weight.detach().double().flatten(1) - solver.weight
        shift = None
        if bias is not None and consumer.bias is not None:
            shift = bias.detach().double() - get_parameter(self.moments.graph.module, consumer.bias).detach().double()
        energy = float(((solver.weight @ solver.gram.covariance) * solver.weight).sum())
        return solver.gram.error(change, shift) / max(energy, 1e-30)

    @cached_property
    def _readers(self) -> dict[str, list[Consumer]]:
        out: dict[str, list[Consumer]] = {}
        for consumer in self.moments.consumers.values():
            for group in consumer.sources:
                out.setdefault(group, []).append(consumer)
        return out

    def _reached(self, keep: Mapping[str, Sequence[int]]) -> list[tuple[Consumer, NDArray[np.bool_], str | None]]:
        """Layers that read a shrinking group, which of their channels stay, and the group if it is the only one."""
        masks: dict[str, NDArray[np.bool_]] = {}
        groups: dict[str, list[str]] = {}
        for group, channels in keep.items():
            for consumer in self._readers.get(group, ()):
                member = consumer.sources[group]
                if consumer.layer not in masks:
                    masks[consumer.layer] = np.ones(member.size, dtype=bool)
                stays = np.zeros(len(self.importance[group]), dtype=bool)
                stays[np.asarray(channels, dtype=np.int64)] = True
                masks[consumer.layer][member.index[~stays[member.root]]] = False
                groups.setdefault(consumer.layer, []).append(group)
        return [
            (self.moments.consumers[n], kept, groups[n][0] if len(groups[n]) == 1 else None)
            for n, kept in masks.items()
        ]

    def _solver(self, layer: str) -> LayerSolver:
        if layer not in self._solvers:
            consumer = self.moments.consumers[layer]
            intercept = self.intercept and consumer.bias is not None
            weight = consumer.weight(self.moments.graph)
            self._solvers[layer] = LayerSolver(self.moments.grams[layer], weight, intercept, self.ridge)
        return self._solvers[layer]

    def _solved(self, consumer: Consumer, kept: NDArray[np.bool_], group: str | None) -> Solution:
        known = self._known.setdefault(consumer.layer, {})
        key = kept.tobytes()
        if key not in known:
            if len(known) >= KNOWN:
                known.pop(next(iter(known)))
            known[key] = self._solve(consumer, kept, group)
        return known[key]

    def _solve(self, consumer: Consumer, kept: NDArray[np.bool_], group: str | None) -> Solution:
        solver, count = self._solver(consumer.layer), int(kept.sum())
        order = self._order(consumer, group) if group is not None else None
        if order is not None and kept[order[:count]].all():
            weight = solver.leading(consumer.columns(order), count * consumer.cells)
        else:
            weight = solver.direct(consumer.columns(np.flatnonzero(kept)))
        given = get_parameter(self.moments.graph.module, consumer.parameter).detach()
        shaped = weight.to(given.dtype).reshape(given.shape)
        if shaped.dim() == 4:
            shaped = shaped.contiguous(memory_format=torch.channels_last)
        if not solver.intercept or consumer.bias is None:
            return shaped, None
        bias = get_parameter(self.moments.graph.module, consumer.bias).detach()
        return shaped, (bias.double() + solver.bias_change(weight)).to(bias.dtype)

    def _order(self, consumer: Consumer, group: str) -> IntArray:
        """The layer's input channels: those of other groups, then those of this one, the best first."""
        key = consumer.layer, group
        if key not in self._orders:
            member = consumer.sources[group]
            rank = np.full(member.size, -1, dtype=np.int64)
            places = np.empty(len(self.importance[group]), dtype=np.int64)
            places[ranking(self.importance[group], self.moments.groups[group].unit)] = np.arange(len(places))
            rank[member.index] = places[member.root]
            self._orders[key] = np.argsort(rank, kind="stable")
        return self._orders[key]


def _factors(folded: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
    """Factor of each row ``(C_out,)`` that folding multiplied it by; 0 for rows of zeros."""
    square = (own * own).sum(dim=1)
    return torch.where(square > 0, (folded * own).sum(dim=1) / square.clamp(min=1e-300), 0.0)
