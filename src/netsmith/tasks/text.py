"""Texts of classes: which of them a text is of. Networks take numbers of tokens, and a mask of those that are none."""

from __future__ import annotations

import copy
import hashlib
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import nn

from netsmith.data.batch import Batch
from netsmith.data.classes import names_from_metadata, read_classes
from netsmith.data.collected import collected
from netsmith.data.naming import describe
from netsmith.data.parted import Parted, parted
from netsmith.data.texts import read_texts
from netsmith.data.tokens import Tokens
from netsmith.errors import InputError
from netsmith.metrics import FloatArray
from netsmith.network.outputs import logits_among
from netsmith.tasks.logits import LogitsTask, accuracies, answers

IDS, MASK = "input_ids", "attention_mask"  #: arguments by which networks usually take tokens and what is no padding


class TextClassification(LogitsTask):
    """Top-1 accuracy ranks; cross-entropy is lowered.

    Args:
        data: examples, whose rows are ``(ids, mask, labels)``: int64 ``(N, length)`` twice and ``(N,)``.
        name: what they were loaded from.
        names: of the classes.
        tokens: what makes numbers of texts.
        sentences: for the user.
    """

    kind: ClassVar[str] = "text-classification"
    each, read_words = "texts", "its logits are"
    misfit = "let it take numbers of tokens, and as `attention_mask` 1 for each that is no padding"

    def __init__(
        self, data: Parted, name: str, names: Sequence[str], tokens: Tokens, sentences: Sequence[str] = ()
    ) -> None:
        self.name, self.note, self.sentences, self.names = name, data.note, tuple(sentences), tuple(names)
        self.classes, self.tokens, self.metrics = len(names), tokens, accuracies(len(names))
        self.arguments: tuple[str | None, ...] = (None, None)
        self._place(data.train, data.search, data.test)

    def _place(self, train: Any, search: Any, test: Any) -> None:
        self.train = None if train is None else train.made(self._batch)
        self.search, self.test = search.made(self._batch), test.made(self._batch)

    def _batch(self, tree: Any) -> Batch:
        ids, mask, labels = tree
        given = list(zip(self.arguments, (ids, mask)))  # of which a network may take the first alone
        args = tuple(value for name, value in given if name is None)
        return Batch(args, {n: v for n, v in given if n is not None}, labels, len(labels), mask.bool())

    def for_network(self: Self, model: nn.Module) -> Self:
        """The same task as a network takes it: by the names of its arguments, or by how many it needs."""
        parameters = [p for p in inspect.signature(model.forward).parameters.values() if p.kind.name[:3] != "VAR"]
        names = [p.name for p in parameters]
        if IDS in names:
            return self._taking(tuple(name for name in (IDS, MASK) if name in names))
        masked = len(parameters) > 1 and ("mask" in names[1] or parameters[1].default is inspect.Parameter.empty)
        return self._taking((None, None) if masked else (None,))

    def for_weights(self: Self, metadata: Mapping[str, str], given: bool = False) -> Self:
        """As the network took it that the weights are of."""
        if "arguments" not in metadata:
            return self
        return self._taking(tuple(json.loads(metadata["arguments"])))

    def _taking(self: Self, arguments: tuple[str | None, ...]) -> Self:
        other = copy.copy(self)
        other.arguments = arguments
        other._place(self.train, self.search, self.test)
        return other

    def partial(self, outputs: Any, batch: Batch) -> FloatArray:
        return answers(self.read(outputs, batch), batch.target)

    def augmentation(self, wanted: Any) -> None:
        """Nothing is known that leaves the meaning of a text as it is."""

    def encode(self, texts: Sequence[str]) -> Batch:
        """What the network takes for texts; without labels."""
        ids, mask = self.tokens(texts)
        return self._batch((ids, mask, torch.zeros(len(ids), dtype=torch.int64)))

    def decode(self, outputs: Any) -> list[str]:
        """The name of the class of each text."""
        return [self.names[i] for i in logits_among(outputs)[:, : self.classes].argmax(1).tolist()]

    @property
    def built_with(self) -> dict[str, Any]:
        return {"num_classes": self.classes}

    @property
    def tokenizer(self) -> str:
        return self.tokens.contents

    @property
    def metadata(self) -> dict[str, str]:
        """With the tokenizer itself, so that the weights can be used without the file of it."""
        names = {"classes": json.dumps(list(self.names)), "num_classes": str(self.classes)}
        tokens = {"tokenizer": self.tokens.contents, "max_length": str(self.tokens.length)}
        return {**super().metadata, **names, **tokens, "arguments": json.dumps(list(self.arguments))}

    def describe(self) -> dict[str, Any]:
        digest = hashlib.sha256(self.tokens.contents.encode()).hexdigest()[:16]
        tokens = {"tokens": self.tokens.length, "padding": self.tokens.padding, "tokenizer": digest}
        return {**super().describe(), "each": self.each, "names": list(self.names), **tokens}


def load(
    data: Any, header: Mapping[str, str] | None = None, *, seed: int = 0, tokenizer: Any = None,
    text_column: str | None = None, label_column: str | None = None, max_length: int | None = None,
    classes: str | Path | Sequence[str] | None = None, search_size: int | None = None, train_limit: int | None = None,
    record: Path | None = None, report: Callable[..., None] | None = None, **pictures: Any,
) -> TextClassification:  # fmt: skip
    """The task of texts and their labels.

    Args:
        data: tables with a column of texts and one of labels (parquet, CSV, JSON lines, folders of these, what
            ``datasets`` saves or holds), or pairs ``(text, label)`` in memory, or a dict of these by part.
        header: of the file of the network's weights, which has the tokenizer where netsmith wrote it.
        tokenizer: a file of ``tokenizers``, or one in memory.
        max_length: tokens of a text; longer ones are cut, shorter ones padded. Left out, it is that of the longest text
            to train on, at most 512.
        pictures: how pictures are read, which mean nothing here.

    Raises:
        InputError: it cannot be read, there is no tokenizer, or an option for pictures is given.
    """
    for option, value in pictures.items():
        if value is not None:
            raise InputError(f"--{option.replace('_', '-')} is for pictures, and these are texts; drop it")
    name, header = describe(data), header or {}
    given = tokenizer if tokenizer is not None else header.get("tokenizer")
    if given is None:
        raise InputError(
            "text-classification needs the tokenizer of the network; give its tokenizer.json by --tokenizer"
        )
    length = max_length if max_length is not None else int(header["max_length"]) if "max_length" in header else None
    tokens = Tokens(given, length)
    known = read_classes(classes) if classes is not None else names_from_metadata(header)
    parts, names = read_texts(data, text_column, label_column, known)
    if len(names) < 2:
        raise InputError(f"data {name!r} has one class, {names[0]!r}; give texts of two or more classes")
    cut = tokens.fit((parts.get("train") or next(iter(parts.values()))).texts)
    notes = [
        f"texts of {tokens.length} tokens; longer ones are cut, {cut} of those to train on, and shorter ones padded"
    ]
    found = {
        key: collected([(*tokens(part.texts), torch.from_numpy(part.labels))], lambda tree: Batch(tree), name)
        for key, part in parts.items()
    }
    labels = {key: np.asarray(part.labels) for key, part in parts.items()}
    return TextClassification(parted(found, name, seed, search_size, train_limit, labels), name, names, tokens, notes)
