"""What a row of the table of tasks is, and what rows share: pictures of parquet files, training in plain PyTorch."""

from __future__ import annotations

import inspect
import io
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

Split = tuple[torch.Tensor, ...]  #: columns of examples, each with a row an example; the inputs come first
Splits = dict[str, Split]  #: train, search and test
SPLITS = ("train", "search", "test")


@dataclass(frozen=True)
class Row:
    """A row of the table: a task, its data and the network as given.

    Attributes:
        name: of the row, and of its folder.
        what: the task and its data in a few words.
        metric, unit: how the score is called, and what it is shown in; ``%`` of a share, ``""`` of a plain number.
        data: makes the splits of the folder of data sets, with a generator.
        network: with fresh weights; called with the columns that ``inputs`` picks.
        inputs: what the network takes, of a batch of columns.
        loss: the mean loss of a batch of columns, of the network's outputs.
        noted: what the score is made of: a number or a row of numbers of every example of a batch of columns.
        finish: the score, from the rows ``(N, F)`` of a whole split.
        constant: outputs for a whole split that do not look at its inputs, as good as they can be; of train and test.
        compress: what a user writes: the network, the splits and options of the run to a ``netsmith.Result``.
        user: the functions that a user writes for it, which are counted.
        epochs, rate, batch: of the training of the network as given.
        augment: what is done to a batch of columns while training.
        higher_is_better: which way the score is better.
    """

    name: str
    what: str
    metric: str
    unit: str
    data: Callable[[Path, np.random.Generator], Splits]
    network: Callable[[], nn.Module]
    inputs: Callable[[Split], tuple[torch.Tensor, ...]]
    loss: Callable[[Any, Split], torch.Tensor]
    noted: Callable[[Any, Split], torch.Tensor]
    finish: Callable[[np.ndarray], float]
    constant: Callable[[Split, Split], Any]
    compress: Callable[..., Any]
    user: tuple[Callable[..., Any], ...]
    epochs: int
    rate: float
    batch: int = 64
    augment: Callable[[Split], Split] | None = None
    higher_is_better: bool = True

    def score(self, outputs: Any, split: Split) -> float:
        """The score of all outputs for a split, joined along the batch."""
        return float(self.finish(self.noted(outputs, split).double().reshape(len(split[0]), -1).numpy()))

    def lines(self) -> int:
        """Lines of a user's code: all of the functions but blank ones, comments and docstrings."""
        return len(self.code())

    def code(self) -> list[str]:
        """A user's code."""
        return [line for function in self.user for line in code_of(function)]

    def settings(self, seed: int) -> dict[str, Any]:
        """What the network as given follows from: when it changes, it is trained anew."""
        parts = [self.data, self.network, self.loss, *([self.augment] if self.augment else [])]
        code = sha256("".join(map(inspect.getsource, parts)).encode()).hexdigest()[:12]
        return {"seed": seed, "epochs": self.epochs, "rate": self.rate, "batch": self.batch, "code": code}


def code_of(function: Callable[..., Any]) -> list[str]:
    source = inspect.getsource(function)
    if function.__doc__:
        source = source.replace(f'"""{function.__doc__}"""', "")
    return [line for line in source.splitlines() if line.strip() and not line.strip().startswith("#")]


def pictures(folder: Path, count: int | None = None, skip: int = 0) -> torch.Tensor:
    """Pictures of a folder's parquet files, ``(N, 3, H, W)`` uint8, in the order of the files."""
    import pyarrow.parquet as parquet
    from PIL import Image

    found = []
    for file in sorted(folder.parent.glob(folder.name)):
        for image in parquet.read_table(file, columns=["image"]).column("image").to_pylist()[skip:]:
            found.append(np.asarray(Image.open(io.BytesIO(image["bytes"])).convert("RGB")))
            if len(found) == count:
                break
        skip = 0
        if len(found) == count:
            break
    return torch.from_numpy(np.stack(found)).permute(0, 3, 1, 2).contiguous()


def mean(rows: np.ndarray) -> float:
    return float(rows.mean())


def scaled(images: torch.Tensor) -> torch.Tensor:
    """Bytes to about zero mean and unit variance."""
    return (images.float() / 255 - 0.45) / 0.25


def flipped(batch: Split, axis: int = -1, columns: tuple[int, ...] = (0,)) -> Split:
    """Half of the examples mirrored, in the same columns."""
    turn = torch.rand(len(batch[0])) < 0.5
    out = list(batch)
    for i in columns:
        shape = (-1, *[1] * (batch[i].dim() - 1))
        out[i] = torch.where(turn.view(shape), batch[i].flip(axis), batch[i])
    return tuple(out)


def outputs_of(row: Row, model: Callable[..., Any], split: Split, batch: int = 256) -> Any:
    """All outputs of a network for a split, joined along the batch, as a tree like its own."""
    from torch.utils._pytree import tree_flatten, tree_unflatten

    found, spec = [], None
    with torch.inference_mode():
        for start in range(0, len(split[0]), batch):
            columns = tuple(column[start : start + batch] for column in split)
            leaves, spec = tree_flatten(model(*row.inputs(columns)))
            found.append(leaves)
    return tree_unflatten([torch.cat(column) for column in zip(*found, strict=True)], spec)


def fit(row: Row, model: nn.Module, splits: Splits, folder: Path, seed: int) -> Mapping[str, Any]:
    """Train a network in a loop of plain PyTorch; each epoch is saved, and a training that was killed goes on.

    Returns:
        ``seconds``, and the score on the search split after each epoch.
    """
    torch.manual_seed(seed)
    train = splits["train"]
    steps = -(-len(train[0]) // row.batch)
    optimizer = torch.optim.AdamW(model.parameters(), lr=row.rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, row.rate, total_steps=row.epochs * steps)
    state: dict[str, Any] = {"epoch": 0, "seconds": 0.0, "scores": [], "settings": row.settings(seed)}
    file = folder / "training.pt"
    known = torch.load(file, weights_only=True) if file.is_file() else state
    if known["epoch"] and known.get("settings") == state["settings"]:
        state = known
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
    for epoch in range(state["epoch"], row.epochs):
        start = time.perf_counter()
        model.train()
        rng = torch.Generator().manual_seed(1000 * seed + epoch)
        torch.manual_seed(1000 * seed + epoch)
        for index in torch.randperm(len(train[0]), generator=rng).split(row.batch):
            batch = tuple(column[index] for column in train)
            batch = row.augment(batch) if row.augment else batch
            optimizer.zero_grad()
            row.loss(model(*row.inputs(batch)), batch).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
        model.eval()
        score = row.score(outputs_of(row, model, splits["search"]), splits["search"])
        state |= {
            "epoch": epoch + 1, "seconds": state["seconds"] + time.perf_counter() - start,
            "scores": [*state["scores"], score], "model": model.state_dict(), "optimizer": optimizer.state_dict(),
            "schedule": schedule.state_dict(),
        }  # fmt: skip
        torch.save(state, file.with_suffix(".tmp"))
        file.with_suffix(".tmp").replace(file)
        print(f"{row.name}: epoch {epoch + 1}/{row.epochs}, search {score:.4g}, {state['seconds']:.0f} s", flush=True)
    model.eval()
    return {"seconds": state["seconds"], "scores": state["scores"]}
