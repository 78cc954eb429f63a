"""Commands from configurations: an option's range, default, help and panel come from the field of the job."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from netsmith.files import to_path
from netsmith.jobs.assembly import Option, assemble, options_of
from netsmith.jobs.config import Config

Call = Callable[[dict[str, Any], bool], None]
AsJson = Annotated[bool, typer.Option("--json", help="print one JSON object, and nothing else, on standard output")]
Resume = Annotated[bool, typer.Option("--resume", help="go on with what was interrupted")]


def command(
    app: typer.Typer, config: type[Config], call: Call, *, example: str,
    place: tuple[str, Any] | None = None, resumable: bool = False,
) -> None:  # fmt: skip
    """Add a command to ``app`` that takes the options of ``config``.

    Args:
        call: the command; its name, its docstring for the help. It gets the values of the options by name, checked, and
            whether the result is printed as JSON.
        example: the line that ends the help.
        place: help and default of ``--out``, where the job writes; ``...`` where it must be given.
        resumable: whether it has ``--resume``.
    """
    parameters = [_parameter(o) for o in options_of(config).values()]
    if place is not None:
        text, default = place
        hint = str if default is ... else str | None
        empty = inspect.Parameter.empty if default is ... else default
        parameters.append(_keyword("out", Annotated[hint, typer.Option(help=text, metavar="PATH")], empty))
    if resumable:
        parameters.append(_keyword("resume", Resume, False))
    parameters.append(_keyword("as_json", AsJson, False))
    own = {p.name for p in parameters} & {"out", "resume", "as_json"} - set(options_of(config))

    def run(**given: Any) -> None:
        options = {k: v for k, v in given.items() if k not in own}
        for name, o in options_of(config).items():
            if o.meaning.read is not None and isinstance(options[name], str):
                options[name] = o.meaning.read(options[name])
        if given.get("out") is not None:
            given["out"] = to_path(given["out"])
        assemble(config, options)  # whatever is wrong with options is said before anything slow is imported
        call(options | {k: given[k] for k in own if k != "as_json"}, given["as_json"])

    run.__name__, run.__doc__ = call.__name__, call.__doc__
    # what must be given comes first, as in any signature; the help keeps the order of the fields
    run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        sorted(parameters, key=lambda p: p.default is not inspect.Parameter.empty)
    )
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    app.command(epilog=f"Example:  {example}")(run)


def _keyword(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _parameter(o: Option) -> inspect.Parameter:
    """An option as typer wants it."""
    m = o.meaning
    if m.metavar.strip("[]") == "MODEL" and o.name == "model":
        hint: Any = str if o.required else str | None
        argument = typer.Argument(metavar=m.metavar, help=m.doc)
        return _keyword(o.name, Annotated[hint, argument], inspect.Parameter.empty if o.required else o.default)
    kind = o.kind if o.kind in (int, float, bool) else str
    names = [m.flag] if m.flag else []
    if kind is bool and o.default is False:
        names = [o.flag]  # without a --no-NAME that would say nothing
    limits: dict[str, Any] = {"min": m.limits.low, "max": m.limits.high} if kind in (int, float) else {}
    if kind is int:
        limits = {k: None if v is None else int(v) for k, v in limits.items()}
    setting = typer.Option(*names, help=_help(o), metavar=m.metavar or None, rich_help_panel=o.panel or None, **limits)
    default = ",".join(o.default) if isinstance(o.default, tuple) else o.default
    return _keyword(
        o.name,
        Annotated[kind | None if o.optional or o.default is None else kind, setting],
        inspect.Parameter.empty if o.required else default,
    )


def _help(o: Option) -> str:
    """The text of the help, with the choices that there are."""
    choices = o.meaning.limits.choices
    named = choices and not all(choice in o.meaning.doc for choice in choices)
    unit = f" ({o.meaning.unit})" if o.meaning.unit else ""
    return o.meaning.doc + unit + (f": {', '.join(choices)}" if named else "")
