"""A folder of single-layer ONNX files for another device, with a list of what to time."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from netsmith.errors import InputError
from netsmith.files import check_place, to_json, write_atomic
from netsmith.hardware.devices.exchange.readme import README, TIMINGS
from netsmith.hardware.devices.readers import EXCHANGE
from netsmith.hardware.measured.microbench import CONTROL
from netsmith.hardware.table.keys import Key, describe, keys_of, unique_keys
from netsmith.network.layers import KIND, KINDS, LayerTable

_MOST_COPIES, _MODEL_BYTES = 16, 8e6
_CONTROL_EVERY = 25  #: files between two rows of the control layer


def write_layers(
    table: LayerTable,
    folder: Path,
    *,
    bits: tuple[int, ...] = (),
    calibrate: bool = True,
    channel_multiple: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Write what has to be timed on a device so that it can price ``table``.

    Args:
        table: a network, or a population of designs of a space, ``(..., L)``.
        folder: empty or new; gets ``layers/*.onnx``, ``manifest.json``, ``README.md`` and ``timings.csv``.
        bits: precisions to write every row at, 32 (floating point) or 8 (QDQ); none for the table's own.
        channel_multiple: granularity of the channel counts in ``table``, for ``compress`` to keep to.
        calibrate: add small whole networks, so that the sum over layers can be fitted to what networks take.
        progress: called with (done, all) files.

    Returns:
        How many distinct layers there are.

    Raises:
        InputError: the folder holds other files, or a precision is neither 32 nor 8.
    """
    new_folder(folder)
    if not set(bits) <= {32, 8}:
        raise InputError(f"layers are written with 32 bits (floating point) or 8 (QDQ), not {sorted(set(bits))}")
    tables = [table.replace(w_bits=b, a_bits=b) for b in bits] or [table]
    rows = np.concatenate([unique_keys(keys_of(t))[0] for t in tables])
    wanted = dict.fromkeys(Key(*row) for row in rows.tolist())
    for key in list(wanted):  # what quantizing takes is part of what is timed for dequantizing
        if KINDS[key.kind] == "dequantize":
            wanted.setdefault(key._replace(kind=KIND["quantize"]))
    count = len(wanted)
    networks = _networks({k.bits for k in wanted if k.computes}) if calibrate else {}
    for keys in (keys for keys, _ in networks.values()):
        wanted |= dict.fromkeys(keys)
    files = _Files(folder / "layers", progress, len(wanted) + 1 + len(networks))
    control = files.layer(CONTROL, 0)
    layers = [files.layer(key, number) | {"wanted": number <= count} for number, key in enumerate(wanted, 1)]
    whole = []
    for name, (keys, model) in networks.items():
        whole.append({"file": files.write(f"network-{name}.onnx", model), "keys": [list(k) for k in keys]})
    manifest = {
        "format": EXCHANGE, "batch": 1, "columns": list(Key._fields), "report": "seconds of one run of each file",
        "channel_multiple": channel_multiple,
        "control": control, "layers": layers, "networks": whole,
    }  # fmt: skip
    size = sum(p.stat().st_size for p in (folder / "layers").iterdir())
    text = README.format(layers=count, others=len(wanted) - count, files=len(files.written), megabytes=size / 1e6)
    write_atomic(folder / "README.md", text)
    order = _order(manifest)
    write_atomic(folder / "timings.csv", TIMINGS + "".join(f"{name},,,\n" for name in order))
    write_atomic(folder / "manifest.json", to_json(manifest))  # last: a folder with it is complete
    return count


def new_folder(folder: Path) -> None:
    """Refuse a folder that layers cannot be written to.

    Raises:
        InputError: it is a file, not empty, or cannot be made.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} exists and is not empty; name a new folder for the layers")
    check_place(folder / "manifest.json", "--write")


def quantizing(key: Key) -> Key:
    """The key whose time is within that of the dequantizer ``key``."""
    return key._replace(kind=KIND["quantize"])


class _Files:
    """The files written so far; models without a layer are shared by all layers that read the same."""

    def __init__(self, folder: Path, progress: Callable[[int, int], None] | None, total: int) -> None:
        self.folder, self.progress, self.total = folder, progress, total
        self.written: list[str] = []
        self.done = 0

    def layer(self, key: Key, number: int) -> dict[str, Any]:
        from netsmith.hardware.devices.exchange.copies import build

        copies = _copies(key)
        try:
            with_layer, inputs = build(key, copies, layer=True)
            without, _ = build(key, copies, layer=False)
        except (ValueError, TypeError, ZeroDivisionError, AssertionError) as error:
            raise InputError(f"{describe(key)} cannot be written as ONNX ({error}); check the layer table") from error
        base = f"without-{hashlib.sha256(without).hexdigest()[:10]}.onnx"
        name = "control.onnx" if number == 0 else f"{number:04d}-{_slug(key)}.onnx"
        return {
            "key": list(key), "layer": describe(key), "file": self.write(name, with_layer, count=True),
            "without": self.write(base, without), "copies": copies, "inputs": inputs,
        }  # fmt: skip

    def write(self, name: str, content: bytes, count: bool = False) -> str:
        if f"layers/{name}" not in self.written:
            write_atomic(self.folder / name, content)
            self.written.append(f"layers/{name}")
        if count or name.startswith("network"):
            self.done += 1
            if self.progress is not None:
                self.progress(self.done, self.total)
        return f"layers/{name}"


def _copies(key: Key) -> int:
    """As many copies as fit into a file of moderate size."""
    return int(np.clip(_MODEL_BYTES / max(1, key.weights * key.bits // 8), 2, _MOST_COPIES))


def _slug(key: Key) -> str:
    return (
        f"{KINDS[key.kind]}-{key.c_in}x{key.h_in}x{key.w_in}-{key.c_out}x{key.h_out}x{key.w_out}-"
        f"k{key.kernel_h}s{key.stride}g{key.groups}-{'int8' if key.bits == 8 else 'fp32'}"
    )


def _networks(bits: set[int]) -> dict[str, tuple[list[Key], bytes]]:
    """Small residual networks of two depths and two widths at each precision, and their layers."""
    from netsmith.hardware.measured.calibrate import LENGTHS, WIDTHS, chain, chain_keys

    cases = [(b, n, w) for b in sorted(bits, reverse=True) for n in LENGTHS for w in WIDTHS]
    return {f"int{b}-{n}-{w:g}" if b == 8 else f"fp{b}-{n}-{w:g}": (chain_keys(b, n, w), chain(b, n, w))
            for b, n, w in cases}  # fmt: skip


def _order(manifest: dict[str, Any]) -> list[str]:
    """Files in the order of timing: each model without a layer before those with it, the control over and over."""
    control = [manifest["control"]["without"], manifest["control"]["file"]]
    by_base: dict[str, list[str]] = {}
    for layer in manifest["layers"]:
        by_base.setdefault(layer["without"], []).append(layer["file"])
    files = [name for base, members in by_base.items() for name in (base, *members)]
    files += [network["file"] for network in manifest["networks"]]
    order = []
    for start in range(0, len(files), _CONTROL_EVERY):
        order += [*control, *files[start : start + _CONTROL_EVERY]]
    return order + control
