"""Classes of texts: what a sentence asks for, by an embedding, a convolution over tokens and a mean without padding.

    python examples/text.py

The tokenizer is one of the library ``tokenizers`` (``pip install 'netsmith[text]'``); here it is made of the training
texts, of a network from elsewhere it is its ``tokenizer.json``.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import nn

import netsmith
from netsmith.tasks import text

ASKS = {
    "weather": ("will it rain in {} {}", "how warm is it {1} in {0}", "do i need an umbrella {1} in {0}"),
    "travel": ("book a train to {} {}", "how long is the way to {0} {1}", "is there a bus to {0} {1}"),
    "food": ("where can i eat in {} {}", "find me a restaurant in {0} {1}", "i am hungry in {0} {1}"),
}
PLACES, TIMES = (
    ("oslo", "rome", "paris", "vienna", "lisbon"),
    ("today", "tomorrow", "on monday", "next week", "now please"),
)


def sentences(count: int, seed: int) -> list[tuple[str, str]]:
    """Sentences with what they ask for."""
    random = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        kind = str(random.choice(list(ASKS)))
        words = str(random.choice(ASKS[kind])).format(random.choice(PLACES), random.choice(TIMES)).split()
        kept = [word for word in words if random.random() < 0.5]  # people leave words out
        found.append((" ".join(kept or words), kind))
    return found


def make_tokenizer(texts: list[str]) -> object:
    """Words by their numbers."""
    import tokenizers

    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(unk_token="[UNK]"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.train_from_iterator(texts, tokenizers.trainers.WordLevelTrainer(special_tokens=["[PAD]", "[UNK]"]))
    return made


class Reader(nn.Module):
    """Takes numbers of tokens, and 1 for each that is no padding."""

    def __init__(self, words: int = 64, width: int = 48) -> None:
        super().__init__()
        self.table = nn.Embedding(words, width)
        self.conv = nn.Conv1d(width, 2 * width, 3, padding=1)
        self.hidden, self.head = nn.Linear(2 * width, width), nn.Linear(width, len(ASKS))

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        there = attention_mask.unsqueeze(1).to(torch.float32)
        found = self.conv((self.table(input_ids).transpose(1, 2)) * there).relu() * there
        return self.head(self.hidden(found.sum(dim=2) / there.sum(dim=2)).relu())


def main(folder: str | Path | None = None, epochs: int = 10) -> netsmith.Result:
    """Train, and compress."""
    place = Path(folder or tempfile.mkdtemp())
    data = {"train": sentences(800, 0), "search": sentences(200, 1), "test": sentences(400, 2)}
    task = text.load(data, tokenizer=make_tokenizer([words for words, _ in data["train"]]))
    weights = str(place / "reader.safetensors")
    netsmith.train(Reader, task, epochs=epochs, batch_size=32, out=weights)
    return netsmith.compress(
        Reader, task, weights=weights, target="roofline-edge", macs="0.6x", epochs=2, out=place / "run"
    )


if __name__ == "__main__":
    found = main().summary
    before, after = (found[side]["accuracy"] for side in ("baseline", "result"))
    print(f"accuracy {before:.1%} -> {after:.1%}; {found['certificate']['says']}")
