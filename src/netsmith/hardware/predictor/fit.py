"""Fitting a predictor: which models, chosen by cross-validation on the training rows, and how good they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netsmith.errors import InputError, did_you_mean
from netsmith.hardware.predictor.choice import Choice
from netsmith.hardware.predictor.members import fit_member, kind_of
from netsmith.hardware.predictor.metrics import FloatArray, score
from netsmith.hardware.predictor.predictor import Member, Predictor
from netsmith.hardware.predictor.ridge import Products

KINDS = ("ridge", "trees", "mlp", "best")
_LEAST_ROWS = 10


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
    choice = Choice(standard[train], values[train], min(folds, len(train)), seed)
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
