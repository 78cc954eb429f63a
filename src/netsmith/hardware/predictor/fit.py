"""Fitting a predictor: which models, chosen by cross-validation on the training rows, and how good they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netsmith.errors import InputError, did_you_mean
from netsmith.hardware.predictor.members import Options, fit_member, kind_of, predict_member
from netsmith.hardware.predictor.metrics import FloatArray, score
from netsmith.hardware.predictor.mlp import MlpOptions
from netsmith.hardware.predictor.predictor import Member, Predictor
from netsmith.hardware.predictor.ridge import Products, RidgeOptions, hub, hubs, leading, pairs
from netsmith.hardware.predictor.trees import TreeOptions

KINDS = ("ridge", "trees", "mlp", "best")
_LEAST_ROWS, _MOST_PAIRED = 10, 16
_CLEAN = 0.75  #: share of rows, those with the smallest errors, that models are compared on: outliers tell nothing
_AS_GOOD = 1.03  #: errors that are apart by less than this cannot be told apart


def fit_predictor(
    x: Any,
    y: Any,
    kind: str = "best",
    *,
    names: Sequence[str] | None = None,
    products: Sequence[tuple[str, ...]] | str = "auto",
    held_out: float = 0.2,
    folds: int = 5,
    seed: int = 0,
    unit: str = "s",
    device: Mapping[str, Any] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Predictor:
    """Fit a predictor of a cost above 0, such as latency.

    Args:
        x: ``(N, F)`` features.
        y: ``(N,)`` measured values.
        kind: ``ridge`` (robust linear model, with products of features), ``trees`` (gradient boosting), ``mlp``, or
            ``best``: the one, or the pair, with the least cross-validated error on the training rows.
        names: of the features.
        products: of features for ``ridge``, by name; ``auto`` finds out which feature scales the others, ``none``.
        held_out: share of the rows that nothing is trained or chosen on and that the metrics and the margin are of; 0
            trains on all rows, and metrics and margin are cross-validated.
        folds: of the cross-validation.
        seed: of the split, the folds and the models.
        unit: of ``y``.
        device: what the rows were measured on.

    Raises:
        InputError: shapes, values or options that cannot be used.
    """
    features, values, named = _checked(x, y, names)
    if kind not in KINDS:
        raise InputError(f"there is no predictor of kind {kind!r}{did_you_mean(kind, list(KINDS))}: {', '.join(KINDS)}")
    if not 0 <= held_out < 1:
        raise InputError(f"held_out is a share from 0 to below 1, not {held_out:g}")
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(values))
    count = round(held_out * len(values))
    test, train = order[:count], order[count:]
    if len(train) < _LEAST_ROWS:
        raise InputError(f"{len(train)} rows are too few to train on; measure at least {_LEAST_ROWS}")
    center, scale = features[train].mean(axis=0), features[train].std(axis=0)
    scale = np.where(scale > 1e-12 * np.maximum(1.0, np.abs(center)), scale, 1.0)
    standard = (features - center) / scale
    choice = _Choice(standard[train], values[train], min(folds, len(train)), seed)
    choice.run(kind, _products(products, named, choice.varying), whole=not count)
    members = tuple(
        Member(kind_of(o), fit_member(standard[train], values[train], o, seed), w) for o, w in choice.chosen
    )
    made = Predictor(
        names=named, unit=unit, center=center, scale=scale, low=features[train].min(axis=0),
        high=features[train].max(axis=0), floor=float(values[train].min()) / 10, members=members,
        residuals=np.zeros(0), metrics={}, device=dict(device or {"processor": "not stated"}), extra=dict(extra or {}),
        about={
            "seed": seed, "rows": len(values), "trained_on": len(train), "kind": kind,
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "models": [{"kind": kind_of(o), "weight": w} | asdict(o) for o, w in choice.chosen],
            "cross_validated_error": choice.errors,
        },
    )  # fmt: skip
    measured = values[test] if count else values[train]
    predicted = made.predict(features[test]) if count else choice.out_of_fold
    linear, mean = _baselines(standard[train], values[train], standard[test] if count else None, choice.folds)
    metrics = {
        "on": f"{count} rows held out" if count else f"{len(train)} rows, {len(choice.folds)}-fold cross-validated",
        "predictor": asdict(score(predicted, measured)),
        "linear": asdict(score(linear, measured)),
        "mean": asdict(score(mean, measured)),
    }
    return replace(made, residuals=np.sort(measured / predicted - 1), metrics=metrics)


class _Choice:
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
                mixed = self.predictions(a) ** share * self.predictions(b) ** (1 - share)
                if self.error(mixed) < best:
                    best, self.out_of_fold = self.error(mixed), mixed
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


def _baselines(
    x: FloatArray, y: FloatArray, test: FloatArray | None, folds: list[NDArray[np.int64]]
) -> tuple[FloatArray, FloatArray]:
    """Least squares and the mean: of the test rows, or out of fold."""

    def fitted(train_x: FloatArray, train_y: FloatArray, new: FloatArray) -> tuple[FloatArray, FloatArray]:
        design = np.column_stack([np.ones(len(train_x)), train_x])
        solution = np.linalg.lstsq(design, train_y, rcond=None)[0]
        return np.column_stack([np.ones(len(new)), new]) @ solution, np.full(len(new), train_y.mean())

    if test is not None:
        return fitted(x, y, test)
    linear, mean = np.zeros(len(y)), np.zeros(len(y))
    for fold in folds:
        rest = np.setdiff1d(np.arange(len(y)), fold)
        linear[fold], mean[fold] = fitted(x[rest], y[rest], x[fold])
    return linear, mean


def _products(
    products: Sequence[tuple[str, ...]] | str, names: tuple[str, ...], varying: list[int]
) -> list[Products] | None:
    if products == "auto":
        return None
    if products == "none":
        return []
    if isinstance(products, str):
        raise InputError(f"products is auto, none or a list of tuples of feature names, not {products!r}")
    for product in products:
        for name in product:
            if name not in names:
                raise InputError(f"products: there is no feature {name!r}{did_you_mean(name, list(names))}")
    found = tuple(tuple(names.index(n) for n in p) for p in products)
    return [tuple(p for p in found if set(p) <= set(varying))]


def _checked(x: Any, y: Any, names: Sequence[str] | None) -> tuple[FloatArray, FloatArray, tuple[str, ...]]:
    features, values = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if features.ndim != 2 or values.shape != (len(features),):
        raise InputError(f"features (N, F) and values (N,) are needed, not {features.shape} and {values.shape}")
    named = tuple(names) if names is not None else tuple(f"feature {i}" for i in range(features.shape[1]))
    if len(named) != features.shape[1]:
        raise InputError(f"there are {len(named)} names for {features.shape[1]} features")
    for i, name in enumerate(named):
        if not np.isfinite(features[:, i]).all():
            raise InputError(
                f"feature {name!r} has a value that is not finite, in row {int(np.argmin(np.isfinite(features[:, i])))}"
            )
    bad = np.flatnonzero(~(np.isfinite(values) & (values > 0)))
    if len(bad):
        raise InputError(f"row {bad[0]}: the measured value is {values[bad[0]]:g}; it must be above 0")
    return features, values, named
