"""How a network is fed, in words: the names, steps and numbers that somebody needs who has the file alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from netsmith.data.feeding import PIXEL, Feeding, Port

_SHOWN = 20  #: labels that are listed; the file has them all
_KINDS = {1: "grey", 3: "RGB"}


def feeding_rows(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Names and texts of what a summary says of it; none of a run of an older netsmith, which did not say it.

    Raises:
        InputError: ``preprocessing`` of the summary is damaged.
    """
    said = summary.get("preprocessing")
    if said is None or (isinstance(said, Mapping) and "layout" not in said):
        return []
    feeding = Feeding.from_dict(said, "preprocessing of the summary")
    shape = " x ".join(("batch", *map(str, feeding.input_shape)))
    axes = " (samples, channels, height, width)" if feeding.layout else ""
    rows = [("input", f"{', '.join(feeding.inputs)}: float32, {shape}{axes}")]
    if feeding.takes:
        rows = [("input", _port(port) + (axes if len(feeding.takes) == 1 else "")) for port in feeding.takes]
    if feeding.size is not None and feeding.scale is not None:
        rows += _image(feeding, feeding.scale)
    elif not feeding.takes or any(port.dtype.startswith("float") for port in feeding.takes):
        rows.append(("values", "as they were given: no scaling is known"))
    rows += [("output", _port(port)) for port in feeding.gives]
    if not feeding.labels:
        return rows
    names = [f"{i} {label}" for i, label in enumerate(feeding.labels[:_SHOWN])]
    more = [f"... ({len(feeding.labels)} in all)"] if len(feeding.labels) > _SHOWN else []
    what = "classes, in the order of the outputs" if feeding.gives else "outputs, the greatest is the class"
    return [*rows, (what, ", ".join(names + more))]


def _port(port: Port) -> str:
    """``input_ids: int64, batch x length``."""
    return (
        f"{port.name}: {port.dtype}, {' x '.join('any' if n is None else str(n) for n in port.shape) or 'one number'}"
    )


def _image(feeding: Feeding, scale: float) -> list[tuple[str, str]]:
    assert feeding.size is not None
    height, width = feeding.size
    kind = _KINDS.get(feeding.channels or 0, f"{feeding.channels} channels")
    rows = [
        ("image", f"{kind}, {height} high and {width} wide; another size is resized (bilinear, antialiased) until it "
         "covers that, and the centre is cut out"),
    ]  # fmt: skip
    if feeding.pixel_range is not None:
        low, high = feeding.pixel_range
        rows.append(("depth", f"{low:g} to {high:g} of the file become 0 to 255, rounded and cut off"))
    factor = "1/255" if scale == PIXEL else f"{scale:.6g}"
    mean, std = (", ".join(f"{v:.4g}" for v in values or ()) for values in (feeding.mean, feeding.std))
    rows.append(("values", f"x = value * {factor}, then (x - mean) / std; mean {mean}; std {std}"))
    return rows
