"""Texts as the numbers of their tokens."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from netsmith.errors import InputError, shown
from netsmith.optional import require
from netsmith.usercode import words_of

_PADDING = ("[PAD]", "<pad>", "<|pad|>", "<|endoftext|>")  #: what is added to the end of short texts
_LONGEST = 512  #: tokens that are kept of a text where nobody says otherwise


class Tokens:
    """Makes numbers of texts, all of one length.

    Args:
        tokenizer: a file of ``tokenizers``, its contents, or one in memory.
        length: tokens of a text; longer ones are cut, shorter ones padded. None until :meth:`fit` found it.

    Raises:
        InputError: it cannot be read.
    """

    def __init__(self, tokenizer: Any, length: int | None = None) -> None:
        self.length = length
        self._tokenizer = _read(tokenizer)
        theirs = self._tokenizer.padding
        named = (self._tokenizer.token_to_id(word) for word in _PADDING)
        self.padding = int(theirs["pad_id"]) if theirs else next((n for n in named if n is not None), 0)
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()

    @property
    def contents(self) -> str:
        """What a file of it holds."""
        return str(self._tokenizer.to_str())

    @property
    def size(self) -> int:
        """How many tokens there are."""
        return int(self._tokenizer.get_vocab_size(with_added_tokens=True))

    def fit(self, texts: Sequence[str]) -> int:
        """Choose the length by the longest of some texts, a multiple of 8 that is at most 512; how many are longer."""
        lengths = np.array([len(found.ids) for found in self._tokenizer.encode_batch(list(texts))])
        if self.length is None:
            self.length = int(min(_LONGEST, -(-lengths.max() // 8) * 8))
        return int((lengths > self.length).sum())

    def __call__(self, texts: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """Numbers of tokens, and 1 for each that is no padding: int64 ``(N, length)`` both."""
        assert self.length is not None
        self._tokenizer.enable_truncation(self.length)  # which keeps the tokens that end a text
        ids = torch.full((len(texts), self.length), self.padding)
        mask = torch.zeros_like(ids)
        for row, kept, found in zip(ids, mask, self._tokenizer.encode_batch(list(texts)), strict=True):
            row[: len(found.ids)] = torch.tensor(found.ids)
            kept[: len(found.ids)] = 1
        self._tokenizer.no_truncation()
        return ids, mask


def _read(tokenizer: Any) -> Any:
    tokenizers: Any = require("tokenizers", "text")
    backend = getattr(tokenizer, "backend_tokenizer", tokenizer)  # what transformers wraps
    try:
        if isinstance(backend, tokenizers.Tokenizer):
            return tokenizers.Tokenizer.from_str(backend.to_str())
        if isinstance(tokenizer, str) and tokenizer.lstrip().startswith("{"):
            return tokenizers.Tokenizer.from_str(tokenizer)
        path = Path(tokenizer).expanduser()
        return tokenizers.Tokenizer.from_str((path / "tokenizer.json" if path.is_dir() else path).read_text("utf-8"))
    except Exception as error:  # its readers raise plain ones
        raise InputError(
            f"--tokenizer {shown(tokenizer)} is no file of tokenizers ({words_of(error)}); give its tokenizer.json"
        ) from error
