"""A small network with a residual, a depthwise layer and a concatenation, and platforms to trim it for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from given import candidates_of, space_of
from labelled import evaluator as evaluator_of
from netsmith.accuracy.candidates import Candidates
from netsmith.accuracy.incremental import IncrementalEvaluator
from netsmith.compression.branches import find_branches
from netsmith.compression.groups import find_groups
from netsmith.compression.importance import channel_importance
from netsmith.compression.quantize import Calibration
from netsmith.compression.share import CodebookQuantizer
from netsmith.compression.widen import widened
from netsmith.decisions.given import GivenSpace
from netsmith.decisions.pricing import Pricing
from netsmith.decisions.slim import slim
from netsmith.decisions.tools import AtHand
from netsmith.hardware.target import Capabilities, Cost
from netsmith.network.graph import trace
from netsmith.search.strategy import Problem

SHAPE = (3, 12, 12)


def unit(c_in, c_out, kernel=3, groups=1):
    conv = nn.Conv2d(c_in, c_out, kernel, padding=kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(c_out), nn.ReLU())


class Mixed(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = unit(3, 16)
        self.block = nn.Sequential(unit(16, 24, 1), unit(24, 24, groups=24), unit(24, 16, 1))
        self.left, self.right = unit(16, 16), unit(16, 8, 1)
        self.merge = unit(24, 32)
        self.head = nn.Linear(32, 10)

    def forward(self, x):
        x = self.stem(x)
        x = x + self.block(x)
        x = torch.cat([self.left(x), self.right(x)], dim=1)
        return self.head(self.merge(x).mean(dim=(2, 3)))


class Proportional:
    """Time in proportion to the work, as on a phone's processor."""

    name = "proportional"
    capabilities = Capabilities(bits=((32, 32),))

    def cost(self, table, batch=1):
        return Cost(np.asarray(table.macs) * 1e-9)


class Steps:
    """Arrays of 16 by 16: time moves only where a whole array is saved; the stem and the merging layer are flat."""

    name = "steps"
    capabilities = Capabilities(bits=((32, 32),))

    def cost(self, table, batch=1):
        tiles = -(-np.asarray(table.c_in) // 16) * -(-np.asarray(table.c_out) // 16) * table.h_out * table.w_out
        return Cost(np.where(table.is_compute, tiles * table.kernel_h * table.kernel_w * 1e-7, 0.0))


@dataclass
class Case:
    """The network, its decisions, and held-out images that the network as given labels."""

    model: nn.Module
    space: GivenSpace
    report: object
    images: torch.Tensor
    labels: torch.Tensor
    evaluator: IncrementalEvaluator
    candidates: Candidates

    def pricing(self, target):
        return Pricing(self.space, target)

    def problem(self, target, share):
        """A latency budget of a share of the network's own, and how to renew its table."""
        pricing, space = self.pricing(target), self.space
        loss = np.where(np.arange(space.values.shape[1]) < space.decisions.sizes[:, None], 0.0, np.inf)
        limit = share * float(pricing.predict(space.reference)[0])
        tables = {"latency": pricing.table("latency", space.reference)}
        problem = Problem(loss, tables, {"latency": limit}, space.decisions.tied)
        return problem, lambda design: {"latency": pricing.table("latency", design)}

    def masked(self, _, designs):
        """Every candidate as a masked design, not trained."""
        scores = self.evaluator.evaluate([self.candidates.of_design(d) for d in designs])
        return [(None, float(v)) for v in scores.divergence]

    def cut(self, full, design, scores=None):
        scores = channel_importance(full, self.report) if scores is None else scores
        return slim(full, self.space, design, AtHand(scores))

    def tune(self, start, designs):
        """Every candidate cut from the winner's weights and trained for some steps on other images."""
        full = self.model if start is None else widened(self.model, start.model, start.recipe)
        generator = torch.Generator().manual_seed(5)
        train, scores = torch.randn(48, *SHAPE, generator=generator), channel_importance(full, self.report)
        with torch.no_grad():
            want, held = self.model(train), self.model(self.images)
        for design in designs:
            slimmed = self.cut(full, self.space.canonical(design), scores)
            if slimmed.is_smaller:
                optimizer = torch.optim.SGD(slimmed.model.parameters(), lr=0.02, momentum=0.9)
                for _ in range(5):
                    optimizer.zero_grad()
                    nn.functional.mse_loss(slimmed.model(train), want).backward()
                    optimizer.step()
            with torch.no_grad():
                yield slimmed, float(nn.functional.mse_loss(slimmed.model(self.images), held))


def case() -> Case:
    torch.manual_seed(0)
    model = Mixed()
    with torch.no_grad():
        for _ in range(20):
            model(torch.randn(32, *SHAPE))
    model.eval()
    graph = trace(model, SHAPE)
    example = torch.randn(2, *SHAPE)
    report, branches = find_groups(model, example), find_branches(model, example)
    space = space_of(graph, report, branches, quantize=False, multiple=2)
    images = torch.randn(32, *SHAPE)
    labels = model(images).argmax(dim=1)
    importance = channel_importance(model, report)
    candidates = candidates_of(space, Calibration({}), CodebookQuantizer(graph), importance)
    return Case(model, space, report, images, labels, evaluator_of(graph, images, labels), candidates)
