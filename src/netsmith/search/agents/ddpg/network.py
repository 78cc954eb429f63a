"""A perceptron with one output and Adam, in NumPy: no tape, and all parameters in one array."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from netsmith.search.agents.ddpg.packing import Float32, pack, unpack

Layers = list[tuple[Float32, Float32]]


class Mlp:
    """Linear layers with ReLU between them and one linear output.

    Attributes:
        values: all parameters, so that optimiser and moving targets are a few passes over one array.
        layers: weight ``(in, out)`` and bias ``(out,)`` of each layer, views of ``values``.
    """

    def __init__(self, inputs: int, hidden: tuple[int, ...], rng: np.random.Generator) -> None:
        self.sizes = (inputs, *hidden, 1)
        pairs = list(zip(self.sizes, self.sizes[1:]))
        self.values: Float32 = np.zeros(sum((i + 1) * o for i, o in pairs), dtype=np.float32)
        self.layers = self._views(self.values)
        self._gradient = np.zeros_like(self.values)
        self._slopes = self._views(self._gradient)
        for w, b in self.layers:  # uniform within 1/sqrt(fan-in), as linear layers of torch begin
            bound = 1.0 / np.sqrt(len(w))
            w[:], b[:] = rng.uniform(-bound, bound, w.shape), rng.uniform(-bound, bound, b.shape)

    def _views(self, flat: Float32) -> Layers:
        views, start = [], 0
        for i, o in zip(self.sizes, self.sizes[1:]):
            middle, end = start + i * o, start + (i + 1) * o
            views.append((flat[start:middle].reshape(i, o), flat[middle:end]))
            start = end
        return views

    def forward(self, x: Float32) -> list[Float32]:
        """What every layer saw and, last, the output: ``(n, inputs)``, ``(n, hidden)``..., ``(n, 1)``."""
        seen = [x]
        for number, (w, b) in enumerate(self.layers, 1):
            y = seen[-1] @ w
            y += b
            seen.append(np.maximum(y, 0.0, out=y) if number < len(self.layers) else y)
        return seen

    def gradient(self, seen: list[Float32], slope: Float32) -> Float32:
        """Gradient by the parameters, shaped as ``values``, for the slope ``(n, 1)`` at the output.

        The array is overwritten by the next call.
        """
        for i in reversed(range(len(self.layers))):
            w_slope, b_slope = self._slopes[i]
            np.dot(seen[i].T, slope, out=w_slope)
            slope.sum(axis=0, out=b_slope)
            if i:
                slope = self._below(i, seen, slope)
        return self._gradient

    def input_slope(self, seen: list[Float32], slope: Float32) -> Float32:
        """Gradient by the input, ``(n, inputs)``, for the slope ``(n, 1)`` at the output."""
        for i in reversed(range(len(self.layers))):
            slope = self._below(i, seen, slope)
        return slope

    def _below(self, i: int, seen: list[Float32], slope: Float32) -> Float32:
        lower = slope @ self.layers[i][0].T
        if i:
            lower *= seen[i] > 0
        return np.asarray(lower)


class Adam:
    """Adam (Kingma and Ba, 2015), in place on one array of parameters; beta 0.9 and 0.999, epsilon 1e-8."""

    def __init__(self, values: Float32, rate: float) -> None:
        self.values, self.rate, self.steps = values, rate, 0
        self.mean, self.square, self._buffer = np.zeros_like(values), np.zeros_like(values), np.empty_like(values)

    def step(self, gradient: Float32) -> None:
        self.steps += 1
        buffer = self._buffer
        np.subtract(gradient, self.mean, out=buffer)
        buffer *= 0.1
        self.mean += buffer
        np.multiply(gradient, gradient, out=buffer)
        buffer -= self.square
        buffer *= 0.001
        self.square += buffer
        np.sqrt(self.square, out=buffer)
        buffer *= 1.0 / np.sqrt(1.0 - 0.999**self.steps)
        buffer += 1e-8
        np.divide(self.mean, buffer, out=buffer)
        buffer *= self.rate / (1.0 - 0.9**self.steps)
        self.values -= buffer


class Learner:
    """A network, the slowly following copy that targets are made with, and the optimiser."""

    def __init__(self, inputs: int, hidden: tuple[int, ...], rate: float, rng: np.random.Generator) -> None:
        self.net, self.target = Mlp(inputs, hidden, rng), Mlp(inputs, hidden, rng)
        self.target.values[:] = self.net.values
        self.adam = Adam(self.net.values, rate)

    def follow(self, tau: float) -> None:
        """Move the copy towards the network by the share ``tau``."""
        gap = self.net.values - self.target.values
        gap *= tau
        self.target.values += gap

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self.adam.steps} | {name: pack(array) for name, array in self._arrays().items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.adam.steps = int(state["steps"])
        for name, array in self._arrays().items():
            array[:] = unpack(state[name])

    def _arrays(self) -> dict[str, Float32]:
        adam = self.adam
        return {"net": self.net.values, "target": self.target.values, "mean": adam.mean, "square": adam.square}
