"""What a search over a supernet writes of itself: ``search.json``, and ``specialization`` of a summary at its end."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from netsmith.errors import InputError, shown
from netsmith.files import read_json
from netsmith.metrics import ACCURACY, Metric
from netsmith.shapes import MOST, Anything, Flag, List, Named, Number, Record, Text

SEARCH_FILE = "search.json"
STAGES = ("search", "done")
COSTS = ("latency", "energy", "size", "macs", "memory")

_AMOUNT, _WHOLE = Number(low=0), Number(low=0, whole=True)
_MANY = 10**9  #: more epochs than anybody trains for


def _block_rule(block: Mapping[str, Any]) -> str | None:
    choices, costs = block["choices"], block.get("latency_s")
    if block["chosen"] not in choices:
        return f"chosen is {shown(block['chosen'])}, not one of {shown(', '.join(choices))}"
    if costs is not None and len(costs) != len(choices):
        return f"latency_s must have {len(choices)} numbers, one a choice"
    return None


def _together(found: Mapping[str, Any]) -> str | None:
    """Lists that do not fit the blocks: probabilities of those that have a choice, choices of compared networks."""
    blocks = found["blocks"]
    searched = [len(block["choices"]) for block in blocks if len(block["choices"]) > 1]
    for i, row in enumerate(found["history"]):
        lists, where = row["probabilities"], f"history[{i}].probabilities"
        if len(lists) != len(searched):
            return f"{where} must have {len(searched)} lists, one a block with a choice"
        for j, (shares, count) in enumerate(zip(lists, searched, strict=True)):
            if len(shares) != count:
                return f"{where}[{j}] must have {count} numbers, one a choice"
    for i, row in enumerate(found.get("compared") or []):
        chosen, where = row.get("blocks"), f"compared[{i}].blocks"
        if chosen is None:
            continue
        if len(chosen) != len(blocks):
            return f"{where} must have {len(blocks)} choices, one a block"
        for choice, block in zip(chosen, blocks, strict=True):
            if choice not in block["choices"]:
                return f"{where} has {shown(choice)} for {shown(block['name'])}, which has no such choice"
    return None


_BLOCK = Record(
    {"name": Text(), "stage": _WHOLE, "channels": _WHOLE, "side": _WHOLE, "choices": List(Text(), least=1),
     "chosen": Text()},
    {"latency_s": List(Number())}, _block_rule,
)  # fmt: skip
_ROW = Record(
    {"epoch": Number(low=0, high=_MANY), "expected": Named(Number()),
     "probabilities": List(List(Number(low=0, high=1)))},
    {"warmup": Flag(), "entropy": Number(), "allowed": Named(Number()), "loss": Anything(), "multipliers": Anything()},
)  # fmt: skip


@lru_cache(maxsize=16)
def search_schema(metric: Metric) -> Record:
    """What a search over a supernet says of itself, by the metric of its networks' scores.

    ``space``, ``system`` and ``target`` are names, ``reference`` says what the network before is, ``stage`` is one of
    :data:`STAGES`, ``epochs`` how many there will be, ``limits`` are the budgets in SI units by cost. ``blocks`` are
    those of the network in their order, each
    ``{"name", "stage", "channels", "stride", "side", "choices", "chosen", "latency_s"}``: the side of its output map in
    pixels, the choices (one where nothing is chosen), of which ``skip`` is no block, and what each takes in seconds, as
    predicted. ``history`` is of ``{"epoch", "warmup", "loss", "entropy", "expected", "multipliers", "probabilities"}``
    with expected costs by name (and ``"allowed"`` ones, while budgets tighten), and one list of probabilities a block
    that has a choice. ``compared``, at the end, has ``{"system", "label", "blocks"}`` and figures, its own network
    first; ``blocks`` are choices or null.
    """
    compared = Record(
        {"label": Text()},
        {
            metric.key: _AMOUNT if metric.unit == "%" else Number(),
            **dict.fromkeys(("latency_measured_s", "latency_predicted_s", "macs", "params"), _AMOUNT),
            "search_seconds": _AMOUNT, "train_seconds": _AMOUNT, "blocks": List(Text()),
        },
    )  # fmt: skip
    return Record(
        {
            "space": Text(), "system": Text(), "target": Text(), "stage": Text(STAGES),
            "epochs": Number(low=1e-9, high=_MANY), "limits": Named(Number(low=1 / MOST), COSTS),
            "blocks": List(_BLOCK, least=1), "history": List(_ROW),
        },
        {"search_seconds": _AMOUNT, "train_seconds": _AMOUNT, "compared": List(compared), "reference": Text()},
        _together,
    )  # fmt: skip


def read_search(folder: Path) -> dict[str, Any] | None:
    """The ``search.json`` of a run, checked against :func:`search_schema`; None if it has none.

    Raises:
        InputError: the file is damaged.
    """
    path = folder / SEARCH_FILE
    if not path.exists():
        return None
    remedy = "repeat the run's command with --resume, which writes it again"
    found = read_json(path, remedy)
    problem = search_schema(ACCURACY).problem(found, "")
    if problem:
        raise InputError(f"{path} is damaged, {problem}; {remedy}")
    return dict(found)


def built_blocks(found: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """The blocks with what was built of them; None where the network is none of their choices, as a width multiplier.

    Args:
        found: what :func:`search_schema` lets pass.
    """
    compared = found.get("compared") or []
    return None if compared and compared[0].get("blocks") is None else list(found["blocks"])
