"""Layout "blocks": the tables of ProxylessNAS and once-for-all, one entry a layer or inverted residual block.

Keys are ``TYPE-input:HxWxC-output:HxWxC`` with, for ``expanded_conv``, ``-expand:E-kernel:K-stride:S-idskip:I`` and in
once-for-all's tables also ``-se:0-hs:1``; there E is the number of middle channels, in ProxylessNAS' tables their ratio
to the input channels. Values hold ``mean`` and ``count``, and ``std`` or ``variance``; times are in milliseconds.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from netsmith.errors import InputError, did_you_mean, shown
from netsmith.hardware.devices.readers.assemble import Time, assemble
from netsmith.hardware.devices.readers.raw import Raw
from netsmith.hardware.devices.readers.units import seconds_per
from netsmith.hardware.table.columns import ANY, COLUMNS
from netsmith.hardware.table.latency import LatencyTable
from netsmith.hardware.table.mbconv import MBCONV
from netsmith.hardware.table.numbers import number, whole
from netsmith.network.layers import KIND

_KEY = re.compile(
    r"^(?P<type>[A-Za-z0-9_]+)-input:(?P<input>[\dx]+)-output:(?P<output>[\dx]+)(?P<rest>(-[a-z]+:\d+)*)$"
)
_TYPES = {
    "Conv": KIND["conv"], "Conv_1": KIND["conv"], "Conv_2": KIND["conv"], "Conv_3": KIND["conv"],
    "expanded_conv": MBCONV, "Logits": KIND["linear"], "AvgPool2D": KIND["avgpool"],
}  # fmt: skip
_FLAGS = ("idskip", "se", "hs")
_IQR = 1.349  #: interquartile range of a normal distribution over its standard deviation


def is_blocks(tree: dict[str, Any]) -> bool:
    """Whether a mapping's keys are of this layout."""
    return any("-input:" in key for key in tree)


def read_blocks(raw: Raw) -> LatencyTable:
    """A mapping from such keys to times as a latency table.

    Raises:
        InputError: a key or a time cannot be read, or the ratio and the number of middle channels are mixed.
    """
    parsed = [_parse(raw, key) for key in raw.tree]
    wide = {("middle" if "se" in p or "hs" in p else "expand") for p in parsed if p["kind"] == MBCONV}
    if len(wide) > 1:
        raise InputError(
            f"{raw.path} mixes blocks with and without se and hs; expand means channels in one and a ratio in the other"
        )
    for p in parsed:
        if p["kind"] == MBCONV:
            p[wide.copy().pop()] = p.pop("expanded")
    given = {name for p in parsed for name in p}
    columns = tuple(c for c in COLUMNS if c in given)
    keys = np.array([[p.get(c, ANY) for c in columns] for p in parsed], dtype=np.int64)
    raw = Raw(raw.path, {"unit": "ms", **raw.meta}, tree=raw.tree)
    times = [_time(raw, key, value) for key, value in raw.tree.items()]
    return assemble(raw, columns, (), keys, times)


def _parse(raw: Raw, key: str) -> dict[str, int]:
    found = _KEY.match(key)
    if found is None:
        raise InputError(
            f"{raw.path}: {shown(key)} is no key of the form TYPE-input:HxWxC-output:HxWxC-kernel:K-stride:S"
        )
    if found["type"] not in _TYPES:
        hint = did_you_mean(found["type"], list(_TYPES))
        raise InputError(
            f"{raw.path}: {shown(found['type'])} in {shown(key)} is no type of layer{hint}; known: {', '.join(_TYPES)}"
        )
    kind = _TYPES[found["type"]]
    into, out = (
        [whole(v, f"{raw.path}, {shown(key)}") for v in found[side].split("x") if v] for side in ("input", "output")
    )
    if len(into) not in (1, 3) or len(out) not in (1, 3):
        raise InputError(f"{raw.path}: the sizes in {shown(key)} are not HxWxC")
    row = {"kind": kind, "c_in": into[-1], "c_out": out[-1]}
    if kind != KIND["linear"]:
        for side, size in (("in", into), ("out", out)):
            if len(size) == 3:
                row |= {f"h_{side}": size[0], f"w_{side}": size[1]}
    parts = [part.split(":") for part in found["rest"].split("-") if part]
    rest = {k: whole(v, f"{raw.path}, {k} of {shown(key)}", least=int(k not in _FLAGS)) for k, v in parts}
    if kind == MBCONV:
        lacking = [k for k in ("expand", "kernel", "stride", "idskip") if k not in rest]
        if lacking:
            raise InputError(f"{raw.path}: {shown(key)} lacks {', '.join(lacking)}")
        row |= {"expanded": rest["expand"], "kernel_h": rest["kernel"], "kernel_w": rest["kernel"]}
        row |= {"stride": rest["stride"], "skip": rest["idskip"]} | {k: rest[k] for k in ("se", "hs") if k in rest}
    return row


def _time(raw: Raw, key: str, value: Any) -> Time:
    scale = seconds_per(str(raw.meta["unit"]), str(raw.path))
    cells = value if isinstance(value, dict) else {"mean": value}

    def given(name: str) -> float | None:
        return None if cells.get(name) is None else number(cells[name], f"{raw.path}, {name} of {shown(key)}")

    mean = given("mean")
    if mean is None:
        raise InputError(f"{raw.path}: {shown(key)} has no mean; it has {', '.join(map(str, cells)) or 'nothing'}")
    std, variance = given("std"), given("variance")
    if std is None and variance is not None:
        std = variance**0.5
    runs = 0 if cells.get("count") is None else whole(cells["count"], f"{raw.path}, count of {shown(key)}")
    return Time(key, mean * scale, None if std is None else _IQR * std * scale, runs)
