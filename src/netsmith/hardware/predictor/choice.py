"""Which models a predictor consists of: the least error on rows that they were not fitted to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np

from netsmith.hardware.predictor.members import Options, fit_member, kind_of, predict_member
from netsmith.hardware.predictor.metrics import FloatArray, score
from netsmith.hardware.predictor.mlp import MlpOptions
from netsmith.hardware.predictor.ridge import Products, RidgeOptions, hub, hubs, leading, pairs
from netsmith.hardware.predictor.trees import TreeOptions

_MOST_PAIRED = 16  #: features whose products of two are all tried
_CLEAN = 0.75  #: share of rows, those with the smallest errors, that models are compared on: outliers tell nothing
_AS_GOOD = 1.03  #: errors that are apart by less than this cannot be told apart


class Choice:
    """Models compared by the error of rows that they were not fitted to."""

    def __init__(self, x: FloatArray, y: FloatArray, folds: int, seed: int) -> None:
        self.x, self.y, self.seed = x, y, seed
        self.varying = [i for i in range(x.shape[1]) if np.ptp(x[:, i]) > 0]
        self.folds = np.array_split(np.random.default_rng(seed).permutation(len(y)), folds)
        self.errors: dict[str, float] = {}
        self.chosen: tuple[tuple[Options, float], ...] = ()
        self.out_of_fold: FloatArray = np.zeros(0)
        self._found: dict[Options, FloatArray] = {}

    def run(self, kind: str, products: list[Products] | None, whole: bool) -> None:
        """Choose among models of a kind.

        Args:
            products: the candidates; None to look for the features that scale the others.
            whole: whether predictions of all rows out of fold are wanted, even if there is nothing to choose.
        """
        finalists: list[Options] = []
        if kind in ("ridge", "best"):
            finalists.append(self._ridge(products))
        if kind in ("trees", "best"):
            finalists.append(TreeOptions())
        if kind in ("mlp", "best"):
            finalists.append(self.least([MlpOptions(), MlpOptions(decay=1e-2)]))
        if len(finalists) == 1 and not whole:
            self.chosen = ((finalists[0], 1.0),)
            return
        self.errors = {kind_of(o): self.error(self.predictions(o)) for o in finalists}
        first = self.least(finalists)
        self.chosen, self.out_of_fold = ((first, 1.0),), self.predictions(first)
        best = self.error(self.out_of_fold) / _AS_GOOD  # a blend must be worth its second model
        for a, b in combinations(finalists, 2):
            for share in (0.25, 0.5, 0.75):
                blend = self.predictions(a) ** share * self.predictions(b) ** (1 - share)
                if self.error(blend) < best:
                    best, self.out_of_fold = self.error(blend), blend
                    self.chosen = ((a, share), (b, 1 - share))

    def predictions(self, options: Options) -> FloatArray:
        """Out-of-fold predictions of all rows, ``(N,)``."""
        if options not in self._found:
            found = np.zeros(len(self.y))
            for fold in self.folds:
                rest = np.setdiff1d(np.arange(len(self.y)), fold)
                arrays = fit_member(self.x[rest], self.y[rest], options, self.seed)
                least = self.y[rest].min() / 10
                found[fold] = np.maximum(predict_member(kind_of(options), arrays, self.x[fold]), least)
            self._found[options] = found
        return self._found[options]

    def error(self, predicted: FloatArray) -> float:
        """Mean relative error without the largest."""
        errors = np.sort(np.abs(predicted / self.y - 1))
        return float(errors[: max(1, round(_CLEAN * len(errors)))].mean())

    def least(self, candidates: Sequence[Options]) -> Options:
        """The candidate with the least error; of those that are as good as it, the one that ranks best."""
        errors = {o: self.error(self.predictions(o)) for o in candidates}
        near = [o for o in candidates if errors[o] <= min(errors.values()) * _AS_GOOD]
        return max(near, key=lambda o: score(self.predictions(o), self.y).tau) if len(near) > 1 else near[0]

    def _ridge(self, products: list[Products] | None) -> RidgeOptions:
        wanted = self._scaling() if products is None else products
        candidates = [RidgeOptions(p, penalty=f) for p in wanted for f in (1e-4, 1e-2, 1e-1)]
        best = self.least([RidgeOptions(), *candidates])
        assert isinstance(best, RidgeOptions)
        chosen = self.least([best, replace(best, log=True)])
        assert isinstance(chosen, RidgeOptions)
        return chosen

    def _scaling(self) -> list[Products]:
        """Products with the leading feature, with that and the second, and all products of two."""
        features = leading(self.x, self.y)
        if len(features) < 2:
            return []
        found = [hub(features, features[0]), hubs(features, *features[:2])]
        return found + [pairs(features)] * (len(features) <= _MOST_PAIRED)
