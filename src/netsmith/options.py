"""Options that several commands share, as types, and the words of the command line before and after typer."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="file.py:callable, package.module:callable, timm:NAME, torchvision:NAME, zoo:NAME or design:FILE.json",
    ),
]
Data = Annotated[str, typer.Option(help="digits, a Hugging Face name, or a folder of images or parquet files")]
TargetName = Annotated[str, typer.Option(help="hardware; `netsmith targets` lists it")]
Input = Annotated[
    str | None, typer.Option("--input", metavar="C,H,W", help="shape of one sample, if the network does not say it")
]
Weights = Annotated[Path | None, typer.Option(help=".safetensors or .pth file; FILE#KEY takes those under a key of it")]
Seed = Annotated[int, typer.Option(help="equal seeds, equal results")]
Resume = Annotated[bool, typer.Option("--resume", help="go on with what was interrupted")]
AsJson = Annotated[bool, typer.Option("--json", help="print one JSON object, and nothing else, on standard output")]
Numbers = Annotated[str | None, typer.Option(metavar="R,G,B", help="normalisation a channel, on x/255")]
ImageSize = Annotated[int | None, typer.Option(help="side in pixels; default is that of the images")]
LabelColumn = Annotated[str | None, typer.Option(help="where the labels are, if not in `label`")]
Classes = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="class names in the order of the network's outputs: one a line, or JSON"),
]
PixelRange = Annotated[
    str | None,
    typer.Option(metavar="LOW,HIGH", help="values that become 0 and 255 in images of more than 8 bits"),
]
SearchSize = Annotated[int | None, typer.Option(help="images held out of train to decide on")]
TrainLimit = Annotated[int | None, typer.Option(help="train on this many images only")]
Threads = Annotated[int, typer.Option(min=1, max=1024, help="threads that the deployed network runs on")]

# --- what `compress` takes, in panels of its help ---------------------------------------------------------------------
_BUDGETS, _SEARCH, _CHANNELS, _BITS, _TRAINING = "Budgets", "Search", "Channels", "Bits", "Training"

Latency = Annotated[
    str | None,
    typer.Option(metavar="BUDGET", help="3ms, or 0.5x of the network as given", rich_help_panel=_BUDGETS),
]
Energy = Annotated[str | None, typer.Option(metavar="BUDGET", help="2mJ, or 0.5x", rich_help_panel=_BUDGETS)]
Size = Annotated[str | None, typer.Option(metavar="BUDGET", help="300KB, or 0.25x", rich_help_panel=_BUDGETS)]
Macs = Annotated[str | None, typer.Option(metavar="BUDGET", help="30M, or 0.5x", rich_help_panel=_BUDGETS)]
Methods = Annotated[
    str,
    typer.Option(help="prune, quantize, or both with a comma; or share, for --size", rich_help_panel=_SEARCH),
]
StrategyName = Annotated[
    str,
    typer.Option(
        help="exact (proves its bound), amc, compactnet, ddpg, deep, evolution, greedy, netadapt, random, shallow, "
        "uniform",
        rich_help_panel=_SEARCH,
    ),
]
Evaluations = Annotated[
    int | None,
    typer.Option(
        min=0,
        help="designs to run on the search split; 0 trusts the sums of single choices alone",
        rich_help_panel=_SEARCH,
    ),
]
Sensitivity = Annotated[
    str,
    typer.Option(
        help="what one choice alone loses: loss, output (both measured), fisher or hessian", rich_help_panel=_SEARCH
    ),
]
EpisodeImages = Annotated[
    int,
    typer.Option(
        min=0,
        help="train each evaluated design on so many images first, as HAQ and NetAdapt do",
        rich_help_panel=_SEARCH,
    ),
]
Widths = Annotated[
    int, typer.Option(min=2, help="most channel counts of a group to choose from", rich_help_panel=_CHANNELS)
]
Importance = Annotated[
    str,
    typer.Option(help="which channels stay, by: l1, l2, taylor, fpgm, bn or reconstruction", rich_help_panel=_CHANNELS),
]
Reconstruct = Annotated[
    bool,
    typer.Option(
        help="repair layers that read pruned channels, by least squares on their outputs", rich_help_panel=_CHANNELS
    ),
]
LeastBits = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=8,
        help="fewest bits of a layer where there is a choice; default 2, of shared weights 1",
        rich_help_panel=_BITS,
    ),
]
Calibration = Annotated[
    str, typer.Option(help="ranges of integers: minmax, percentile, mse or entropy", rich_help_panel=_BITS)
]
Huffman = Annotated[
    bool,
    typer.Option(
        "--huffman",
        help="code the packed file; the search goes by its size without, an upper bound",
        rich_help_panel=_BITS,
    ),
]
Epochs = Annotated[
    int | None,
    typer.Option(min=0, help="fine-tuning; default by the size of the data", rich_help_panel=_TRAINING),
]
LearningRate = Annotated[
    float | None, typer.Option(help="peak learning rate; default by what is fine-tuned", rich_help_panel=_TRAINING)
]


class Format(StrEnum):
    """What a run can be exported to."""

    onnx = "onnx"
    pt2 = "pt2"
    safetensors = "safetensors"
    nsw = "nsw"


#: what the parser of options says, and what is meant
_WORDS = {
    r"Input should be greater than or equal to (\S+)": r"it must be at least \1",
    r"Input should be less than or equal to (\S+)": r"it must be at most \1",
    r"Input should be a valid integer, .*": "it must be a whole number",
    r"Input should be a valid number, .*": "it must be a number",
    r"Input should be a finite number": "it must be finite",
}


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
    for theirs, ours in _WORDS.items():
        text = re.sub(theirs, ours, text)
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "netsmith"
    return f"{text[:1].lower()}{text[1:]}; see `{command} --help`"
