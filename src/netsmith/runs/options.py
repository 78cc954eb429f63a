"""The options of a run, in its config.json: read, and compared with those that it is resumed with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from netsmith.errors import InputError, one_line, shown
from netsmith.files import read_json
from netsmith.runs.names import ARTEFACTS, CONFIG, refuse_link

FORMAT = 1
_NAMES = {"model": "MODEL", "run": "RUN", "job": "the command"}  #: what is no option


def read_config(folder: Path) -> dict[str, Any]:
    """The options that the run in ``folder`` was started with.

    Raises:
        InputError: it is no run folder, or its config.json is damaged, a link, or of another netsmith.
    """
    refuse_link(folder, CONFIG)
    if not (folder / CONFIG).exists():
        raise InputError(f"{folder} is no run folder, it has no config.json; give the --out of a run")
    record = read_json(folder / CONFIG, "start again in another folder")
    options = record.get("options") if isinstance(record, dict) else None
    if not isinstance(options, dict):
        raise InputError(f"{folder / CONFIG} is damaged, it holds no options; start again in another folder")
    if record.get("artefacts") and not (folder / ARTEFACTS).exists():
        raise InputError(
            f"{folder / ARTEFACTS} is missing, so the run's files cannot be checked; start again in another folder"
        )
    if record.get("format") != FORMAT:
        raise InputError(
            f"{folder / CONFIG} has format {shown(record.get('format'))}, this netsmith reads {FORMAT}; "
            "use the netsmith that wrote it"
        )
    return options


def check_same(folder: Path, known: dict[str, Any], given: dict[str, Any]) -> None:
    """Check that a run is resumed with its own options.

    Raises:
        InputError: names the first that differs.
    """
    known, given = _flat(known), _flat(given)
    for name in sorted({*known, *given}):
        if known.get(name) != given.get(name):
            option = _NAMES.get(name) or "--" + name.replace("_", "-")
            raise InputError(
                f"{folder} was started with {option} {_show(known.get(name))}, not {_show(given.get(name))}; "
                "resume with the same options or choose another --out"
            )


def _flat(options: dict[str, Any]) -> dict[str, Any]:
    """Options that lie in groups (``{"budgets": {"latency": ..}}``) by their own names."""
    flat: dict[str, Any] = {}
    for name, value in options.items():
        flat |= _flat(value) if isinstance(value, dict) else {name: value}
    return flat


def _show(value: Any) -> str:
    text = "unset" if value is None else value if isinstance(value, str) else json.dumps(value)
    return one_line(text, 100)
