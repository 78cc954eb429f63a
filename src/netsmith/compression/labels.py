"""Labels: which index of which dimension of which tensor must leave together with which other.

Every dimension of every tensor carries one label for each of its indices. An operator ties labels (an addition those of
its operands, a product those that it contracts) or fixes them (a position in an image cannot leave). What is tied
leaves together; what is tied to something fixed stays, for the reason that was noted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]

# labels of what never leaves, and what is said of channels that meet it
FIXED, GIVEN, CONSTANT = -1, -2, -3
_MEETS = {
    FIXED: "its channels meet an axis that cannot shrink: positions, tokens or the batch",
    GIVEN: "its channels meet those of the network's input",
    CONSTANT: "its channels meet a tensor of fixed size that the forward makes itself",
}


@dataclass(frozen=True)
class Reason:
    """Why something stays: of ``layer`` itself ``own`` is said, of layers whose channels are tied to it ``text``."""

    text: str
    layer: str = ""
    own: str = ""

    def said_of(self, layer: str) -> str:
        return self.own if self.own and layer == self.layer else self.text


@dataclass(frozen=True, eq=False)
class Product:
    """An axis ``whole`` of several others, row-major: an index leaves as one index of one of the ``factors`` does.

    Attributes:
        owner: path of the module whose forward laid the axes out; empty for the groups of a convolution or norm.
    """

    whole: IntArray
    factors: tuple[IntArray, ...]
    owner: str | None = None


@dataclass(frozen=True, eq=False)
class Cut:
    """A piece ``out`` of an axis ``whole``, from index ``start`` on: equal parts shrink alike, or the last alone."""

    whole: IntArray
    out: IntArray
    start: int


@dataclass(frozen=True, eq=False)
class Padding:
    """Channels of one value that a module lays before and behind those that it hands on. They leave with the channels
    that they are added to: the module's output is cut, or its forward counts them anew by itself.

    Attributes:
        owner: path of the module.
        dim: dimension of its output.
        front, behind: their labels.
    """

    owner: str
    dim: int
    front: IntArray
    behind: IntArray

    @property
    def whole(self) -> IntArray:
        """All of their labels."""
        return np.concatenate([self.front, self.behind])


@dataclass(frozen=True, eq=False)
class Alike:
    """Channels ``whole`` made from nothing, as many as ``others`` by chance, or because the forward counts those."""

    whole: IntArray
    others: IntArray


class Labels:
    """What was noted while a network ran once. Labels are integers, those below zero are of what never leaves."""

    def __init__(self) -> None:
        self.count = 0
        self.edges: list[tuple[IntArray, IntArray]] = []
        self.pins: list[tuple[IntArray, Reason]] = []
        self.open: list[Product | Cut | Padding | Alike] = []  #: what can be resolved in several ways
        self.meet: list[IntArray] = []  #: labels of channels that meet each other without a weight between

    def fresh(self, n: int) -> IntArray:
        """``n`` labels that nothing is known of."""
        self.count += n
        return np.arange(self.count - n, self.count)

    def pin(self, labels: IntArray, reason: str | Reason) -> None:
        """These stay."""
        free = labels[labels >= 0]
        if len(free):
            self.pins.append((free, Reason(reason) if isinstance(reason, str) else reason))

    def tie(self, a: IntArray, b: IntArray) -> None:
        """Index by index, these leave together, ``(n,)`` each."""
        if a is b or len(a) != len(b):
            return
        both = (a >= 0) & (b >= 0) & (a != b)
        if both.any():
            self.edges.append((a[both], b[both]))
        for one, other in ((a, b), (b, a)):
            met = other[(one >= 0) & (other < 0)]
            for code in np.unique(met):
                self.pin(one[(one >= 0) & (other == code)], _MEETS[int(code)])

    def join(self, dims: Sequence[IntArray]) -> IntArray:
        """Labels of one index, of several tied arrays: the first that can leave, and all are tied to it."""
        best = next((d for d in dims if (d >= 0).any()), dims[0])
        for d in dims:
            self.tie(best, d)
        return best if (best >= 0).any() else np.asarray(np.minimum.reduce(list(dims)))

    def padding(self, owner: str, dims: Sequence[IntArray], made: set[int]) -> None:
        """Note where the output of a module begins or ends with channels that it ``made`` itself."""
        for dim, labels in enumerate(dims):
            own = np.array([int(x) in made for x in labels])
            if own.all() or not own.any():
                continue
            front, behind = labels[: int(np.argmin(own))], labels[len(own) - int(np.argmin(own[::-1])) :]
            before = next((p for p in self.open if isinstance(p, Padding) and p.owner == owner), None)
            if before is None:
                self.open.append(Padding(owner, dim, front, behind))
            elif (before.dim, len(before.front), len(before.behind)) == (dim, len(front), len(behind)):
                self.tie(before.front, front)  # it runs more than once, and is cut once
                self.tie(before.behind, behind)
            else:
                for some in (before.whole, front, behind):
                    self.pin(some, f"{owner!r} pads its channels in one way here and in another there")

    def product(self, factors: Sequence[IntArray], owner: str | None = None) -> IntArray:
        """Labels of the axis that ``factors`` make when they are laid out as one, row-major."""
        free = [i for i, f in enumerate(factors) if (f >= 0).any()]
        if len(free) > 1:
            whole = self.fresh(int(np.prod([len(f) for f in factors])))
            self.open.append(Product(whole, tuple(factors), owner))
            return whole
        if not free:
            return np.asarray(np.minimum.reduce(np.meshgrid(*factors, indexing="ij"))).reshape(-1)
        return along(factors[free[0]], free[0], [len(f) for f in factors])

    def split(self, whole: IntArray, sizes: Sequence[int], owner: str | None = None) -> list[IntArray]:
        """Labels of the axes of ``sizes`` that ``whole`` falls into, row-major."""
        if not (whole >= 0).any():
            return [np.full(s, whole.min() if len(whole) else FIXED) for s in sizes]
        if sum(s > 1 for s in sizes) <= 1:
            return [whole if s == len(whole) else np.full(s, FIXED) for s in sizes]
        factors = [self.fresh(s) if s > 1 else np.full(1, FIXED) for s in sizes]
        self.open.append(Product(whole, tuple(factors), owner))
        return factors

    def reshape(self, dims: Sequence[IntArray], shape: Sequence[int], owner: str | None = None) -> list[IntArray]:
        """Labels after a view as ``shape``, row-major."""
        out: list[IntArray] = []
        left, i = list(shape), 0
        while left:
            inside, outside = [], [left.pop(0)]
            size, want = 1, outside[0]
            while size != want:
                if size < want:
                    inside.append(dims[i])
                    size *= len(dims[i])
                    i += 1
                else:
                    outside.append(left.pop(0))
                    want *= outside[-1]
            if not inside:  # sizes of one
                out.append(np.full(1, FIXED))
                continue
            real = [d for d in inside if len(d) > 1] or inside[:1]
            whole = real[0] if len(real) == 1 else self.product(real, owner)
            real_sizes = [s for s in outside if s > 1]
            parts = iter(self.split(whole, real_sizes, owner) if len(real_sizes) > 1 else [whole])
            out += [next(parts) if s > 1 else np.full(1, FIXED) for s in outside]
        return out


def along(factor: IntArray, position: int, sizes: Sequence[int]) -> IntArray:
    """The labels of one factor on the axis that it makes with others of ``sizes``."""
    shape = [1] * len(sizes)
    shape[position] = len(factor)
    return np.broadcast_to(factor.reshape(shape), tuple(sizes)).reshape(-1)
