"""Weights at their bit-widths as bytes on disk: files, and their size in advance, to the byte."""

from netsmith.export.packed.file import (
    EXTENSION,
    decode_packed,
    read_packed,
    write_packed,
)
from netsmith.export.packed.size import Scheme, Stored, layer_bytes, packed_bytes, table_bytes
from netsmith.export.packed.tensors import CodebookTensor, LinearTensor, SparseTensor, Tensor, codebook_size, largest

__all__ = [
    "EXTENSION", "CodebookTensor", "LinearTensor", "Scheme", "SparseTensor", "Stored", "Tensor", "codebook_size",
    "decode_packed", "largest", "layer_bytes", "packed_bytes", "read_packed", "table_bytes",
    "write_packed",
]  # fmt: skip
