"""Options that several commands share, as types, and the words of the command line before and after typer."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL", help="file.py:callable, package.module:callable, timm:NAME, torchvision:NAME or zoo:NAME"
    ),
]
Data = Annotated[str, typer.Option(help="digits, a Hugging Face name, or a folder of images or parquet files")]
TargetName = Annotated[str, typer.Option(help="hardware; `netsmith targets` lists it")]
Input = Annotated[
    str | None, typer.Option("--input", metavar="C,H,W", help="shape of one sample, if the network does not say it")
]
Weights = Annotated[Path | None, typer.Option(help=".safetensors or .pth file")]
Seed = Annotated[int, typer.Option(help="equal seeds, equal results")]
Resume = Annotated[bool, typer.Option("--resume", help="go on with what was interrupted")]
AsJson = Annotated[bool, typer.Option("--json", help="print one JSON object, and nothing else, on standard output")]
Numbers = Annotated[str | None, typer.Option(metavar="R,G,B", help="normalisation a channel, on x/255")]
ImageSize = Annotated[int | None, typer.Option(help="side in pixels; default is that of the images")]
LabelColumn = Annotated[str | None, typer.Option(help="where the labels are, if not in `label`")]
SearchSize = Annotated[int | None, typer.Option(help="images held out of train to decide on")]
TrainLimit = Annotated[int | None, typer.Option(help="train on this many images only")]
Threads = Annotated[int, typer.Option(min=1, help="threads that the deployed network runs on")]


class Format(StrEnum):
    """What a run can be exported to."""

    onnx = "onnx"
    pt2 = "pt2"
    safetensors = "safetensors"
    nsw = "nsw"


def spread(arguments: list[str], option: str) -> list[str]:
    """Let an option take several words, ``--targets a b``: the option is written before each of them."""
    found: list[str] = []
    open_ = False
    for word in arguments:
        if open_ and not word.startswith("-") and found[-1] != option:
            found.append(option)
        elif word.startswith("-"):
            open_ = word == option
        found.append(word)
    return found


def usage_sentence(error: Exception) -> str:
    """A usage error, with the command whose help to read."""
    text = str(error.format_message()).replace("Value error, ", "").strip().rstrip(".")  # type: ignore[attr-defined]
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "netsmith"
    return f"{text[:1].lower()}{text[1:]}; see `{command} --help`"
