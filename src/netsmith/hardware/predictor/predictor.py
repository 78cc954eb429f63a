"""A predictor of latency: plain arrays with their schema in one file, evaluated in NumPy."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from netsmith.errors import InputError, shown
from netsmith.files import check_regular, parse_json, write_atomic
from netsmith.hardware.predictor.checks import check_file, check_member
from netsmith.hardware.predictor.members import PREDICT, predict_member
from netsmith.hardware.predictor.metrics import FloatArray, upper_margin

FORMAT = "netsmith-predictor/1"
_MOST_BYTES = 256_000_000
_SCHEMA = ("format", "names", "unit", "kinds", "weights", "metrics", "device", "about", "extra")
_ARRAYS = ("center", "scale", "low", "high", "floor", "residuals")


@dataclass(frozen=True)
class Member:
    """One model and its share in the prediction."""

    kind: str
    arrays: Mapping[str, FloatArray]
    weight: float = 1.0


@dataclass(frozen=True)
class Predictor:
    """From feature vectors to latency (or another cost above 0).

    Attributes:
        names: of the features.
        unit: of what is predicted.
        center, scale: normalisation of the features, ``(F,)``.
        low, high: range of each feature in the training rows.
        floor: no prediction is below it.
        members: models whose geometric mean, by weight, is the prediction.
        residuals: measured over predicted minus 1 of rows that were not trained on, ascending.
        metrics: ``predictor``, ``linear`` and ``mean``, each a :class:`~netsmith.hardware.predictor.metrics.Score` as a
            mapping, and ``on``, which rows they are of.
        device: what the training rows were measured on.
        about: seed, number of rows, date, chosen models, and the cross-validated error that they were chosen by.
        extra: what a caller needs to make features.
    """

    names: tuple[str, ...]
    unit: str
    center: FloatArray
    scale: FloatArray
    low: FloatArray
    high: FloatArray
    floor: float
    members: tuple[Member, ...]
    residuals: FloatArray
    metrics: Mapping[str, Any]
    device: Mapping[str, Any]
    about: Mapping[str, Any] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)

    def predict(self, x: Any, quantile: float | None = None) -> FloatArray:
        """Predict ``(..., F)`` features to ``(...)``.

        Args:
            x: features in the order of ``names``.
            quantile: instead of the most likely value, one that about this share of measurements stays below: a budget
                on it holds with that probability.

        Raises:
            InputError: features of another number, not finite, or too few held-out rows for the quantile.
        """
        rows = np.asarray(x, dtype=np.float64)
        if rows.ndim == 0 or rows.shape[-1] != len(self.names):
            raise InputError(
                f"the predictor takes {len(self.names)} features ({', '.join(self.names)}), not {rows.shape}"
            )
        flat = rows.reshape(-1, len(self.names))
        finite = np.isfinite(flat).all(axis=0)
        if not finite.all():
            raise InputError(f"feature {shown(self.names[int(np.argmin(finite))])} has a value that is not finite")
        standard = (flat - self.center) / self.scale
        total = np.zeros(len(flat))
        for member in self.members:
            with np.errstate(divide="ignore"):
                total += member.weight * np.log(
                    np.maximum(predict_member(member.kind, member.arrays, standard), self.floor)
                )
        with np.errstate(over="ignore"):
            found = np.maximum(np.exp(total) * (1.0 + self.margin(quantile)), self.floor)
        if not np.isfinite(found).all():
            worst = flat[int(np.argmin(np.isfinite(found)))]
            words = ", ".join(f"{name} {value:g}" for name, value in zip(self.names, worst, strict=True))
            raise InputError(f"the predictor gives no finite value so far from what it was fitted to ({words})")
        return np.asarray(found.reshape(rows.shape[:-1]))

    def margin(self, quantile: float | None) -> float:
        """What ``quantile`` adds, relative to the prediction; 0 for None."""
        if quantile is None:
            return 0.0
        if not 0 < quantile < 1:
            raise InputError(f"quantile is a share between 0 and 1, not {quantile:g}")
        margin = upper_margin(self.residuals, quantile)
        if margin is None:
            needed = int(np.ceil(quantile / (1 - quantile) - 1e-9))
            raise InputError(
                f"quantile {quantile:g} needs {needed} held-out rows, the predictor has {len(self.residuals)}; hold "
                "out more, or ask for a smaller quantile"
            )
        return margin

    def inside(self, x: Any) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Which rows of ``(..., F)`` are within the range of the training rows in every feature."""
        rows = np.asarray(x, dtype=np.float64)
        return np.asarray(((rows >= self.low) & (rows <= self.high)).all(axis=-1))

    # ---- file -------------------------------------------------------------------------------------------------------

    def save(self, path: Path) -> None:
        """Write one ``.safetensors`` file: arrays, and the rest as JSON in its header."""
        from safetensors.numpy import save

        arrays = {name: np.atleast_1d(np.asarray(getattr(self, name), dtype=np.float64)) for name in _ARRAYS}
        for i, member in enumerate(self.members):
            arrays |= {f"member_{i}.{name}": np.ascontiguousarray(a) for name, a in member.arrays.items()}
        record = {
            "format": FORMAT, "names": list(self.names), "unit": self.unit, "kinds": [m.kind for m in self.members],
            "weights": [m.weight for m in self.members], "metrics": dict(self.metrics), "device": dict(self.device),
            "about": dict(self.about), "extra": dict(self.extra),
        }  # fmt: skip
        write_atomic(path, save(arrays, metadata={"netsmith": json.dumps(record)}))

    @classmethod
    def load(cls, path: Path) -> Predictor:
        """Read what :meth:`save` wrote.

        Raises:
            InputError: absent, damaged, or no predictor.
        """
        from safetensors import SafetensorError, safe_open

        try:
            check_regular(path, "predictor", "fit one and save it", _MOST_BYTES)
        except FileNotFoundError:
            raise InputError(f"predictor {path} does not exist; fit one and save it there") from None
        try:
            with safe_open(str(path), framework="numpy") as file:
                text = (file.metadata() or {}).get("netsmith", "null")
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, ValueError, TypeError, OSError) as error:
            raise InputError(f"{path} cannot be read as a predictor, it is damaged; fit it again") from error
        record = parse_json(text, f"the header of {path}", "fit it again")
        if not isinstance(record, dict) or record.get("format") != FORMAT:
            raise InputError(f"{path} is not a predictor of format {FORMAT}; fit it again")
        lacking = [k for k in _SCHEMA if k not in record] + [k for k in _ARRAYS if k not in arrays]
        kinds = record.get("kinds", [])
        unknown = [shown(k) for k in (kinds if isinstance(kinds, list) else [kinds]) if k not in (*PREDICT,)]
        if lacking or unknown:
            raise InputError(f"{path} is a damaged predictor: it lacks {', '.join(lacking + unknown)}; fit it again")
        try:
            check_file(record, arrays)
            members = []
            for i, (kind, weight) in enumerate(zip(record["kinds"], record["weights"], strict=True)):
                own = {name.partition(".")[2]: a for name, a in arrays.items() if name.startswith(f"member_{i}.")}
                check_member(kind, own, len(record["names"]))
                members.append(Member(kind, own, float(weight)))
        except InputError as error:
            raise InputError(f"{path} is a damaged predictor: {error}; fit it again") from error
        return cls(
            names=tuple(record["names"]), unit=record["unit"], members=tuple(members), metrics=record["metrics"],
            device=record["device"], about=record["about"], extra=record["extra"], floor=float(arrays["floor"][0]),
            **{name: arrays[name] for name in _ARRAYS if name != "floor"},
        )  # fmt: skip
