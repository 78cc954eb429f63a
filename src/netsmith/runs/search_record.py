"""What a search over a supernet writes of itself: ``search.json``, and ``specialization`` of a summary at its end."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from netsmith.errors import InputError
from netsmith.files import read_json

SEARCH_FILE = "search.json"
STAGES = ("search", "done")
COSTS = ("latency", "energy", "size", "macs")
_TEXTS = ("space", "system", "target")
_COMPARED = (
    "accuracy", "latency_measured_s", "latency_predicted_s", "macs", "params", "search_seconds", "train_seconds",
)  # fmt: skip

Fail = Callable[[str], InputError]


def check_search(found: Any, where: str, fail: Fail) -> None:
    """Check what a search wrote; further keys are allowed.

    ``space``, ``system`` and ``target`` are names, ``stage`` is one of :data:`STAGES`, ``epochs`` how many there will
    be, ``limits`` are the budgets in SI units by cost. ``blocks`` are those of the network in their order, each
    ``{"name", "stage", "channels", "stride", "side", "choices", "chosen", "latency_s"}``: the side of its output map in
    pixels, the choices (one where nothing is chosen), of which ``skip`` is no block, and what each takes in seconds, as
    predicted. ``history`` is of ``{"epoch", "warmup", "loss", "entropy", "expected", "multipliers", "probabilities"}``
    with expected costs by name (and ``"allowed"`` ones, while budgets tighten), and one list of probabilities a block
    that has a choice. ``compared``, at the end, has ``{"system", "label", "blocks"}`` and figures, its own network
    first; ``blocks`` are choices or null.

    Args:
        where: what to call it in messages.
        fail: makes the error of a problem.

    Raises:
        InputError: by ``fail``, names the field at fault.
    """
    if not isinstance(found, Mapping):
        raise fail(f"{where} is no mapping")
    for key in _TEXTS:
        if not isinstance(found.get(key), str):
            raise fail(f"{where}.{key} is {found.get(key)!r}, not a text")
    if found.get("stage") not in STAGES:
        raise fail(f"{where}.stage is {found.get('stage')!r}, not one of {', '.join(STAGES)}")
    if not is_number(found.get("epochs")) or found["epochs"] <= 0:
        raise fail(f"{where}.epochs is {found.get('epochs')!r}, not a number above 0")
    limits = found.get("limits")
    if not isinstance(limits, Mapping) or not all(c in COSTS and is_number(v) and v > 0 for c, v in limits.items()):
        raise fail(f"{where}.limits must have a number above 0 for some of {', '.join(COSTS)}")
    blocks = _mappings(found, "blocks", where, fail)
    if not blocks:
        raise fail(f"{where}.blocks is empty")
    for i, block in enumerate(blocks):
        _check_block(block, f"{where}.blocks[{i}]", fail)
    searched = [len(block["choices"]) for block in blocks if len(block["choices"]) > 1]
    for i, row in enumerate(_mappings(found, "history", where, fail)):
        _check_row(row, searched, f"{where}.history[{i}]", fail)
    for i, row in enumerate(_mappings(found, "compared", where, fail) if found.get("compared") is not None else []):
        _check_compared(row, blocks, f"{where}.compared[{i}]", fail)


def read_search(folder: Path) -> dict[str, Any] | None:
    """The checked ``search.json`` of a run; None if it has none.

    Raises:
        InputError: the file is damaged.
    """
    path = folder / SEARCH_FILE
    if not path.exists():
        return None
    remedy = "repeat the run's command with --resume, which writes it again"
    found = read_json(path, remedy)
    check_search(found, "the search", lambda problem: InputError(f"{path} is damaged, {problem}; {remedy}"))
    return dict(found)


def built_blocks(found: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """The blocks with what was built of them; None where the network is none of their choices, as a width multiplier.

    Args:
        found: what :func:`check_search` lets pass.
    """
    compared = found.get("compared") or []
    return None if compared and compared[0].get("blocks") is None else list(found["blocks"])


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _mappings(found: Mapping[str, Any], key: str, where: str, fail: Fail) -> list[Mapping[str, Any]]:
    rows = found.get(key)
    if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows):
        raise fail(f"{where}.{key} is no list of mappings")
    return rows


def _check_block(block: Mapping[str, Any], name: str, fail: Fail) -> None:
    if not isinstance(block.get("name"), str):
        raise fail(f"{name} has no name")
    for key in ("stage", "channels", "side"):
        if not isinstance(block.get(key), int) or isinstance(block[key], bool) or block[key] < 0:
            raise fail(f"{name}.{key} is {block.get(key)!r}, not a whole number of 0 or more")
    choices = block.get("choices")
    if not isinstance(choices, list) or not choices or not all(isinstance(c, str) for c in choices):
        raise fail(f"{name}.choices is no list of names")
    if block.get("chosen") not in choices:
        raise fail(f"{name}.chosen is {block.get('chosen')!r}, not one of {', '.join(choices)}")
    latency = block.get("latency_s")
    if latency is not None and not _numbers(latency, len(choices)):
        raise fail(f"{name}.latency_s must have {len(choices)} numbers, one a choice")


def _check_row(row: Mapping[str, Any], searched: Sequence[int], name: str, fail: Fail) -> None:
    if not is_number(row.get("epoch")) or row["epoch"] < 0:
        raise fail(f"{name}.epoch is {row.get('epoch')!r}, not a number of 0 or more")
    if row.get("entropy") is not None and not is_number(row["entropy"]):
        raise fail(f"{name}.entropy is {row['entropy']!r}, not a number")
    expected = row.get("expected")
    if not isinstance(expected, Mapping) or not all(map(is_number, expected.values())):
        raise fail(f"{name}.expected must have numbers by cost")
    lists = row.get("probabilities")
    if not isinstance(lists, list) or len(lists) != len(searched):
        raise fail(f"{name}.probabilities must have {len(searched)} lists, one a block with a choice")
    for i, (shares, count) in enumerate(zip(lists, searched, strict=True)):
        if not _numbers(shares, count) or not all(0 <= share <= 1 for share in shares):
            raise fail(f"{name}.probabilities[{i}] must have {count} numbers of 0 to 1, one a choice")


def _check_compared(row: Mapping[str, Any], blocks: Sequence[Mapping[str, Any]], name: str, fail: Fail) -> None:
    if not isinstance(row.get("label"), str):
        raise fail(f"{name} has no label")
    for key in _COMPARED:
        if row.get(key) is not None and (not is_number(row[key]) or row[key] < 0):
            raise fail(f"{name}.{key} is {row[key]!r}, not a number of 0 or more")
    chosen = row.get("blocks")
    if chosen is None:
        return
    if not isinstance(chosen, list) or len(chosen) != len(blocks):
        raise fail(f"{name}.blocks must have {len(blocks)} choices, one a block")
    for choice, block in zip(chosen, blocks, strict=True):
        if choice not in block["choices"]:
            raise fail(f"{name}.blocks has {choice!r} for {block['name']}, not one of {', '.join(block['choices'])}")


def _numbers(values: Any, count: int) -> bool:
    return isinstance(values, list) and len(values) == count and all(map(is_number, values))
