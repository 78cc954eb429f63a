"""A 1-D convolution net: which of ten spoken-like words is in a second of noise.

No recording is at hand, so words are made as speech is: a source of pulses (or of noise) through resonances. A word is
three of six sounds, and several words have the same sounds in another order. Pitch, speed, loudness, the resonances of
the speaker, the place in the second and the noise differ in each example.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import netsmith

from .row import Row, Splits, mean
from .text import constant, loss, noted

RATE = 4000  # samples of a second
#: two resonances in Hz of each sound, of Peterson and Barney 1952 for the vowels; the last is a hiss
SOUNDS = ((270, 1290), (530, 1840), (730, 1090), (300, 870), (440, 1020), None)
#: sounds of the ten words
SAID = ((0, 2, 3), (3, 2, 0), (2, 0, 3), (5, 1, 4), (4, 1, 5), (5, 4, 1), (1, 5, 2), (2, 5, 1), (0, 5, 3), (3, 5, 0))


def _sound(sound: int, n: int, pitch: float, tract: float, rng: np.random.Generator) -> np.ndarray:
    """``n`` samples of one sound."""
    from scipy.signal import lfilter

    hertz = SOUNDS[sound]
    if hertz is None:
        return lfilter([1, -0.9], [1], rng.normal(0, 0.6, n))
    phase = np.cumsum(pitch * (1 + 0.02 * rng.normal(0, 1, n)) / RATE)
    wave = (np.diff(np.floor(phase), prepend=0) > 0).astype(float) + rng.normal(0, 0.02, n)
    for f in hertz:
        r = np.exp(-np.pi * 90 / RATE)  # 90 Hz wide
        wave = lfilter([1 - r], [1, -2 * r * np.cos(2 * np.pi * f * tract / RATE), r * r], wave)
    return wave / (wave.std() + 1e-9)


def spoken(word: int, rng: np.random.Generator) -> np.ndarray:
    """A second with the word in it, ``(4000,)`` float32."""
    pitch, tract, speed = rng.uniform(90, 240), rng.uniform(0.85, 1.18), rng.uniform(0.7, 1.3)
    parts = [
        _sound(s, int(RATE * 0.18 * speed * rng.uniform(0.7, 1.3)), pitch * rng.uniform(0.9, 1.1), tract, rng)
        for s in SAID[word]
    ]
    parts = [part * np.hanning(len(part)) ** 0.5 * rng.uniform(0.6, 1.4) for part in parts]
    wave = np.concatenate(parts)[:RATE]
    second = rng.normal(0, rng.uniform(0.3, 1.2), RATE)
    start = int(rng.integers(0, RATE - len(wave) + 1))
    second[start : start + len(wave)] += wave
    return (second * rng.uniform(0.5, 1.5)).astype(np.float32)


def data(folder: Path, rng: np.random.Generator) -> Splits:
    found = {}
    for split, count in (("train", 10000), ("search", 1500), ("test", 4000)):
        words = rng.integers(0, len(SAID), count)
        waves = torch.from_numpy(np.stack([spoken(int(word), rng) for word in words]))
        found[split] = (waves.unsqueeze(1), torch.from_numpy(words))
    return found


def _layer(before: int, after: int, size: int, stride: int = 1) -> list[nn.Module]:
    conv = nn.Conv1d(before, after, size, stride=stride, padding=size // 2, bias=False)
    return [conv, nn.BatchNorm1d(after), nn.ReLU()]


class Waves(nn.Module):
    """Convolutions over the samples themselves, as M5 of Dai et al. 2016 (arXiv:1610.00087)."""

    def __init__(self, width: int = 40) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *_layer(1, width, 65, 8), *_layer(width, 2 * width, 5), nn.MaxPool1d(4),
            *_layer(2 * width, 2 * width, 5), *_layer(2 * width, 4 * width, 5), nn.MaxPool1d(4),
            *_layer(4 * width, 4 * width, 5), *_layer(4 * width, 4 * width, 5), nn.AdaptiveAvgPool1d(1), nn.Flatten(),
        )  # fmt: skip
        self.head = nn.Linear(4 * width, len(SAID))

    def forward(self, wave: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(wave))


def compress(network: nn.Module, data: Splits, **run: Any) -> Any:
    task = netsmith.Task(**data, loss=loss, score=noted, metric="accuracy")
    return netsmith.compress(network, task, target="cpu", epochs=3, **run)


ROW = Row(
    "signal", "signals: the word in a second of made speech and noise, of ten; 1-D CNN", "accuracy", "%", data, Waves,
    lambda b: b[:1], loss, noted, mean, constant, compress, (compress,), epochs=5, rate=3e-3,
)  # fmt: skip
