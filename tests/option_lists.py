"""Random lists of options for the command line, from a seed: good ones with a few that are odd, doubled or left out."""

from __future__ import annotations

from random import Random

from netsmith.jobs.assembly import Option, options_of
from netsmith.jobs.config import (
    CompressConfig,
    Config,
    MeasureConfig,
    ProfileConfig,
    SpecializeConfig,
    TrainConfig,
)

#: command -> its configuration, and words with which it is over within a second or two
COMMANDS: dict[str, tuple[type[Config], dict[str, str]]] = {
    "compress": (CompressConfig, {
        "MODEL": "zoo:digits?channels=8&blocks=1", "--data": "digits", "--macs": "0.8x", "--target": "roofline-edge",
        "--epochs": "0", "--evaluations": "0", "--out": "run",
    }),
    "train": (TrainConfig, {
        "MODEL": "zoo:digits?channels=8&blocks=1", "--data": "digits", "--epochs": "1", "--train-limit": "64",
        "--out": "w.safetensors",
    }),
    "profile": (ProfileConfig, {"MODEL": "zoo:digits?channels=8&blocks=1", "--target": "bitfusion"}),
    "specialize": (SpecializeConfig, {
        "--data": "digits", "--space": "tiny", "--target": "roofline-edge", "--macs": "0.8x", "--search-epochs": "1",
        "--warmup-epochs": "0", "--epochs": "0", "--train-limit": "64", "--evaluations": "2", "--width": "0.25",
        "--system": "random", "--out": "run",
    }),
    "targets measure": (MeasureConfig, {"MODEL": "zoo:digits?channels=8&blocks=1", "--write": "layers"}),
}  # fmt: skip
ODD = (
    "", " ", "-1", "0", "1", "2", "7", "1.5", "1e309", "-1e-320", "nan", "inf", "-inf", "0x10", "1_000", "²", "３", "½",
    "9" * 25, "9" * 400, "9" * 5000, "true", "None", "null", "[]", "{}", "'", '"', "a\nb", "a\tb", "\x1b[31m", "💥",
    "\udcff", "x" * 300, ",", "1,2,3", "0.5,0.5", "1,,2", "0,4095", "4095,0", "nan,nan", "0.5x", "1x", "50%", "3ms",
    "3", "1e400ms", "30M", "300KB", "2mJ", ".", "..", "/", "/dev/null", "/dev/zero", "/proc/self/mem", "~nosuchuser/x",
    "nowhere.pth", "no.py:net", "design:no.json", "zoo:nothing", "zoo:digits?channels=0",
    "zoo:digits?channels=" + "9" * 30, "zoo:digits?blocks=²", "timm:nothing", "torchvision:", "os:system", "math:sqrt",
    "cpu", "cpu:threads=0", "table:",
    "table:no.json", "predictor:no", "bitfusion", "bismo-edge", "roofline-edge", "exact", "netadapt", "amc", "share",
    "prune", "quantize", "prune,quantize,share", "oneshot", "3,8,8", "1,8,8", "0,0,0", "--json", "--", "-",
)  # fmt: skip


def option_list(seed: int) -> list[str]:
    """The words of one command."""
    rng = Random(seed)
    command = rng.choice(list(COMMANDS))
    config, usual = COMMANDS[command]
    words, known = dict(usual), list(options_of(config).values())
    doubled: list[str] = []
    for _ in range(rng.choice((1, 1, 2, 3, 5))):
        what, o = rng.random(), rng.choice(known)
        name = "MODEL" if o.name == "model" else o.flag
        if what < 0.1 and words:
            words.pop(rng.choice(list(words)), None)
        elif what < 0.15 and name != "MODEL":
            doubled += [name, _value(o, rng)]
        else:
            words[name] = _value(o, rng)
    listed = command.split()
    for name, value in rng.sample(list(words.items()), len(words)):
        flag = {o.flag: o for o in known}.get(name)
        if name == "MODEL":
            listed.append(value)
        elif flag is not None and flag.kind is bool:
            listed.append(name if rng.random() < 0.7 else name.replace("--", "--no-", 1))
        else:
            listed += [f"{name}={value}"] if rng.random() < 0.3 else [name, value]
    return [*listed, *doubled, *(["--json"] * (rng.random() < 0.3)), *(["--resume"] * (rng.random() < 0.1))]


def _value(o: Option, rng: Random) -> str:
    choices = o.meaning.limits.choices
    if choices and rng.random() < 0.5:
        return rng.choice(choices)
    return rng.choice(ODD)
