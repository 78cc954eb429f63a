"""Products and convolutions as rows of the layer table."""

from __future__ import annotations

from math import prod
from typing import Any

from netsmith.errors import InputError
from netsmith.network.layers import KIND
from netsmith.network.operations import Convolution, Product, Shape

Row = dict[str, Any]


def work_row(item: Product | Convolution, batch: int = 1, x: Shape | None = None) -> Row:
    """The columns of a product or convolution, and ``parameter``, the name of its weight ("" if it has none).

    Args:
        batch: samples that it is of; the row is of one.
        x: the input before it was padded.

    Raises:
        InputError: its work is no multiple of the batch.
    """
    return _product(item, batch) if isinstance(item, Product) else _convolution(item, batch, x or item.x)


def attention(q: Shape, k: Shape, v: Shape) -> dict[Product | Convolution, int]:
    """The work of an attention: ``(T, d) x (d, S)`` and ``(T, S) x (S, e)`` for each head, in one row if d = e."""
    heads, (t, d), (s, e) = prod(q[:-2]), q[-2:], v[-2:]
    if d == e:
        return {Product(heads, t, d, 2 * s): 1}
    return {Product(heads, t, d, s): 1, Product(heads, t, s, e): 1}


def _convolution(item: Convolution, batch: int, x: Shape) -> Row:
    spatial = len(item.weight) - 2
    kernel = (1,) * max(0, 2 - spatial) + item.weight[2:]
    first, second = item.weight[0], item.weight[1] * item.groups
    c_in, c_out = (first, second) if item.transposed else (second, first)
    row = {
        "kind": KIND["conv_transpose" if item.transposed else "conv"], "c_in": c_in, "c_out": c_out,
        "kernel_h": prod(kernel[:-1]), "kernel_w": kernel[-1], "stride": item.stride, "groups": item.groups,
        "bias": int(item.bias), "parameter": item.parameter,
    }  # fmt: skip
    # samples, or what stands in their place where none are: a map without a batch, windows folded into it
    one, out = ((prod(shape[: -spatial - 1]), *shape[-spatial:]) for shape in (x, item.y))
    return row | sides(one, out, batch)


def _product(item: Product, batch: int) -> Row:
    count, m, n = item.count, item.m, item.n
    if batch > 1:  # whatever holds the samples of a network with its batch written into it
        if count % batch == 0:
            count //= batch
        elif (n if item.left else m) % batch == 0:
            m, n = (m, n // batch) if item.left else (m // batch, n)
        else:
            raise _no_share(batch)
    weight = {"kind": KIND["linear"], "bias": int(item.bias)} if item.parameter else {"kind": KIND["matmul"]}
    width, tokens = (m, n) if item.left else (n, m)
    return weight | {
        "groups": count, "c_in": item.k * count, "c_out": width * count, "h_in": tokens, "h_out": tokens,
        "parameter": item.parameter,
    }  # fmt: skip


def sides(x: Shape, y: Shape, batch: int = 1) -> Row:
    """Heights and widths of one sample: the last axis is the width, all before it, and what is left of the samples,
    the height.

    Args:
        x, y: samples and what else there is beside channels.
    """

    def two(shape: Shape) -> tuple[int, int]:
        axes = [int(n) for n in shape] or [batch]
        holder = next((i for i, n in enumerate(axes) if n % batch == 0), None)
        if holder is None:
            raise _no_share(batch)
        axes[holder] //= batch
        return (prod(axes[:-1]), axes[-1]) if len(axes) > 1 else (axes[0], 1)

    (h_in, w_in), (h_out, w_out) = two(x), two(y)
    return {"h_in": h_in, "w_in": w_in, "h_out": h_out, "w_out": w_out}


def _no_share(batch: int) -> InputError:
    return InputError(
        f"the network runs on {batch} samples at a time and on no other number, and what one of them costs cannot be "
        "told: let its forward take the size of the batch from its input, x.shape[0]"
    )
