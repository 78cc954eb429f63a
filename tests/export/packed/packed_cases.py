"""Random tensors of every scheme, for hypothesis."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from netsmith.export.packed import CodebookTensor, LinearTensor, SparseTensor, Tensor, codebook_size

SHAPES = st.lists(st.integers(0, 9), min_size=1, max_size=5).map(tuple)
SPARSE_SHAPES = st.lists(st.integers(1, 12), min_size=1, max_size=4).map(tuple)
BITS = st.integers(1, 8)


def linear(rng: np.random.Generator, shape: tuple[int, ...], bits: int, per_tensor: bool = False) -> LinearTensor:
    """Mostly small integers, as trained weights have, so that Huffman coding is of use on long ones."""
    top = max(1, 2 ** (bits - 1) - 1)
    integers = np.clip(np.rint(rng.normal(0, top / 5, shape)), -top, top).astype(np.int8)
    if bits == 1:
        integers = np.where(rng.random(shape) < 0.5, -1, 1).astype(np.int8)
    scale = rng.random(1 if per_tensor else shape[0]).astype(np.float32)
    return LinearTensor(integers, scale, bits)


def codebook(rng: np.random.Generator, shape: tuple[int, ...], bits: int) -> CodebookTensor:
    """A codebook with as many values as it can use."""
    size = int(codebook_size(np.prod(shape, dtype=int), bits))
    index = rng.integers(0, max(size, 1), shape) if size else np.zeros(shape)
    return CodebookTensor(index.astype(np.uint8), rng.normal(size=size).astype(np.float32), bits)


def sparse(rng: np.random.Generator, shape: tuple[int, ...], bits: int, scheme: str, entries: int) -> SparseTensor:
    """Entries anywhere, of floats at 32 bits, on a grid or of as many shared values as they can use."""
    at = np.sort(rng.choice(np.prod(shape, dtype=int), entries, replace=False))
    if bits == 32:
        return SparseTensor(rng.normal(size=shape).astype(np.float32), at)
    if scheme != "kmeans":
        return SparseTensor(linear(rng, shape, bits, scheme == "linear-tensor"), at)
    size = int(codebook_size(entries, bits))
    index = rng.integers(0, size, shape).astype(np.uint8)
    return SparseTensor(CodebookTensor(index, rng.normal(size=size).astype(np.float32), bits), at)


@st.composite
def tensors(draw: st.DrawFn) -> Tensor:
    """Any tensor that a packed file stores."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kind = draw(
        st.sampled_from(["sparse", "linear", "one scale", "codebook", "long", "f4", "i8", "f2", "f8", "i4", "bool"])
    )
    shape = draw(SHAPES)
    if kind == "sparse":
        shape, scheme = draw(SPARSE_SHAPES), draw(st.sampled_from(["linear", "linear-tensor", "kmeans"]))
        count = int(np.prod(shape))
        entries = draw(st.integers(-(-count // 256), count))
        return sparse(rng, shape, draw(st.sampled_from([1, 2, 5, 8, 32])), scheme, entries)
    if kind == "long":  # more than one block of Huffman code
        return linear(rng, (5, draw(st.integers(100, 900))), draw(BITS))
    if kind in ("linear", "one scale"):
        return linear(rng, shape, draw(BITS), kind == "one scale")
    if kind == "codebook":
        return codebook(rng, shape, draw(BITS))
    shape = draw(st.sampled_from([shape, ()]))
    return np.asarray(rng.normal(size=shape) * 9).astype(kind)
