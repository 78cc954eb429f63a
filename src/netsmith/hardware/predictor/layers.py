"""Predictors of single layers, fitted to a latency table."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from netsmith.errors import InputError
from netsmith.hardware.predictor.features import NAMES, layer_features
from netsmith.hardware.predictor.fit import fit_predictor
from netsmith.hardware.predictor.predictor import Predictor
from netsmith.hardware.table.keys import Key
from netsmith.hardware.table.latency import LatencyTable

PATTERN = ("kind", "activation", "bits", "context")
PATTERN_COLUMNS = [Key._fields.index(c) for c in PATTERN]


def fit_layers(
    table: LatencyTable, kind: str = "best", *, held_out: float = 0.2, folds: int = 5, seed: int = 0
) -> Predictor:
    """Fit a predictor of single layers to a latency table that ``cpu`` or an exchange has measured.

    Layers of a pattern (kind, activation, bits, context) that the runtime fuses into their neighbours cost nothing and
    are not trained on; the time of a network is the sum over the others, with the table's calibration (the form of
    nn-Meter, Zhang et al., MobiSys 2021, with patterns read off the table).

    Args:
        kind, held_out, folds, seed: see :func:`~netsmith.hardware.predictor.fit.fit_predictor`.

    Raises:
        InputError: the table has other columns, or too few rows.
    """
    if not table.measured_here:
        raise InputError(
            "layers can be predicted from a table that target cpu or read_timings made; this one has the columns "
            f"{', '.join(table.columns)}: fit its rows with fit_predictor"
        )
    fused = fused_patterns(table)
    rows = [(k, e.seconds) for k, e in table.entries.items() if e.seconds > 0 and _pattern(k) not in fused]
    if not rows:
        raise InputError("the latency table has no layer that takes time")
    keys = np.array([k for k, _ in rows], dtype=np.int64)
    calibration = table.calibration
    extra = {
        "layers": sorted(fused), "calibration": None if calibration is None else vars(calibration),
        "patterns": sorted({_pattern(k) for k in table.entries}), "threads": table.threads,
        "channel_multiple": table.channel_multiple,
    }  # fmt: skip
    # products of logarithms say little about layers; trees find what matters for which kind
    return fit_predictor(
        layer_features(keys), [t for _, t in rows], kind, names=NAMES, products="none" if kind == "ridge" else "auto",
        held_out=held_out, folds=folds, seed=seed, device=table.device, extra=extra,
    )  # fmt: skip


def fused_patterns(table: LatencyTable) -> set[tuple[int, ...]]:
    """Patterns whose layers mostly have no operator of their own."""
    nodes: dict[tuple[int, ...], list[float]] = defaultdict(list)
    for key, entry in table.entries.items():
        nodes[_pattern(key)].append(entry.nodes if entry.seconds > 0 else 0.0)
    return {pattern for pattern, counts in nodes.items() if np.median(counts) <= 0}


def _pattern(key: Key) -> tuple[int, ...]:
    return tuple(key[c] for c in PATTERN_COLUMNS)
