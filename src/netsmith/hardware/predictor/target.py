"""Target ``predictor:FILE``: layers priced by a predictor that was fitted to a latency table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from netsmith.errors import InputError, did_you_mean, shown
from netsmith.hardware.table.keys import IntArray, Key, keys_of, unique_keys
from netsmith.hardware.table.limits import least_traffic
from netsmith.hardware.table.numbers import whole
from netsmith.hardware.target import Capabilities, Cost, register_target
from netsmith.network.layers import LayerTable

if TYPE_CHECKING:
    from netsmith.hardware.predictor import Predictor


class PredictorTarget:
    """Prices any layer of a kind that the predictor has seen; not measured, so other widths are estimates.

    Args:
        source: a predictor of :func:`fit_layers`, or its file.
        quantile: price each layer so that about this share of measurements stays below; None for the likely value.

    Raises:
        InputError: the predictor is not one of layers, or cannot give the quantile.
    """

    name = "predictor"

    def __init__(self, source: Path | Predictor, *, quantile: float | None = None) -> None:
        from netsmith.hardware.predictor import Predictor
        from netsmith.hardware.predictor.features import NAMES
        from netsmith.hardware.predictor.layers import PATTERN, PATTERN_COLUMNS
        from netsmith.hardware.table.file import calibration

        self.predictor = Predictor.load(source) if isinstance(source, Path) else source
        self.quantile = quantile
        extra = self.predictor.extra
        called = str(source) if isinstance(source, Path) else "the predictor"
        if "layers" not in extra:
            raise InputError(
                f"{called} predicts from "
                f"{', '.join(self.predictor.names[:4])}..., not from layers; fit one with fit_layers"
            )
        if self.predictor.names != NAMES:
            raise InputError(
                f"{called} was fitted by a netsmith with other kinds of layers; fit it again with fit_layers"
            )
        self.predictor.margin(quantile)  # refuse now rather than at the first network
        # other widths may run differently, as narrow convolutions do, and none of them was seen
        multiple = whole(extra.get("channel_multiple", 1), f"{called}, channel_multiple")
        self.capabilities = Capabilities(
            bits=((32, 32), (8, 8)), channel_multiple=multiple, measured=False, monotone=False
        )
        self._columns = PATTERN_COLUMNS
        try:
            self._fused, self._known = (
                np.array(extra[name], dtype=np.int64).reshape(-1, len(PATTERN)) for name in ("layers", "patterns")
            )
        except (KeyError, ValueError, TypeError, OverflowError) as error:
            raise InputError(f"{called} does not say what layers it was fitted to; fit it again") from error
        try:
            self._calibration = calibration(extra.get("calibration"))
        except InputError as error:
            raise InputError(f"{called}: {error}; fit it again") from error

    @property
    def settings(self) -> Mapping[str, Any]:
        """What the predictor was fitted to, how good it is, and the margin."""
        p = self.predictor
        return {"device": dict(p.device), "metrics": dict(p.metrics), "about": dict(p.about), "quantile": self.quantile}

    def cost(self, table: LayerTable, batch: int = 1) -> Cost:
        """Latency of every row, ``(..., L)``, seconds.

        Raises:
            InputError: batch is not 1, or a row is of a kind that was not measured.
        """
        if batch != 1:
            raise InputError(f"target predictor was fitted to batch 1, not {batch}; drop the batch option")
        from netsmith.hardware.predictor.features import layer_features

        keys, where = unique_keys(keys_of(table))
        self.prepare(table)
        fused = self._among(keys, self._fused)
        seconds = np.zeros(len(keys))
        if not fused.all():
            seconds[~fused] = self.predictor.predict(layer_features(keys[~fused]), self.quantile)
        if self._calibration is not None:
            floating, integer = self._calibration.gamma
            seconds *= np.where(keys[:, Key._fields.index("bits")] == 8, integer, floating)
        return Cost(
            latency_s=seconds[where], traffic_bytes=least_traffic(table),
            fixed_s=0.0 if self._calibration is None else self._calibration.beta_s,
        )  # fmt: skip

    def prepare(self, table: LayerTable, progress: object = None) -> None:
        """Refuse rows of a pattern that the predictor has not seen; nothing is measured.

        Raises:
            InputError: there is one.
        """
        names = tuple(dict.fromkeys(self.unpriced(table)))
        if names:
            raise InputError(
                f"the predictor has seen no layer like {names[0]} ({len(names)} of {len(set(table.names))} layers) in "
                "its kind, activation and bits; measure some and fit it again"
            )

    def unpriced(self, table: LayerTable) -> tuple[str, ...]:
        """Names of the layers of a pattern that the predictor has not seen."""
        keys, where = unique_keys(keys_of(table))
        lacking = ~self._among(keys, self._known)[where]
        return tuple(table.names[i] for i in np.flatnonzero(lacking.reshape(-1, len(table)).any(axis=0)))

    def _among(self, keys: IntArray, patterns: IntArray) -> NDArray[np.bool_]:
        """Which keys ``(U, 14)`` are of one of the patterns ``(P, 4)``."""
        return np.asarray((keys[:, None, self._columns] == patterns[None]).all(axis=-1).any(axis=-1))


@register_target("predictor")
def predictor(argument: str = "", **options: Any) -> PredictorTarget:
    """``predictor:FILE``, ``predictor:FILE,quantile=0.9``."""
    words = argument.split(",")
    if not words[0]:
        raise InputError("target predictor needs a file: write predictor:FILE")
    for word in words[1:]:
        name, _, value = word.partition("=")
        if name != "quantile":
            hint = did_you_mean(name, ["quantile"])
            raise InputError(f"target predictor has no option {shown(word)}{hint}; write predictor:FILE,quantile=0.9")
        try:
            options["quantile"] = float(value)
        except ValueError:
            raise InputError(f"target predictor: quantile is a share such as 0.9, not {shown(value)}") from None
    return PredictorTarget(Path(words[0]), **options)
