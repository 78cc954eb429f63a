"""What every node of an ATen graph does for one sample: products, convolutions, or what nobody knows.

The graph is run once without values, on one sample. Each node is watched down to torch's primitive operators, so that
composite ones (einsum, recurrent layers, batched products in any layout) are counted by what they are made of, and what
folds tokens or heads into the batch is counted as it is.
"""

from __future__ import annotations

import contextlib
import logging
from dataclasses import dataclass, field
from math import prod
from typing import Any

import torch
from torch import fx
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from netsmith.data.batch import Batch
from netsmith.errors import InputError
from netsmith.network.cheap import is_cheap
from netsmith.network.recurrent import SEQUENCES, outputs, products
from netsmith.network.signature import ordered

aten = torch.ops.aten
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Product:
    """``count`` matrix products ``(m, k) x (k, n)``.

    Attributes:
        parameter: name of the parameter that is one operand, "" if both are computed from the sample.
        left: whether that is the first operand, ``(m, k)``.
        bias: whether a parameter is added.
    """

    count: int
    m: int
    k: int
    n: int
    parameter: str = ""
    left: bool = False
    bias: bool = False


@dataclass(frozen=True)
class Convolution:
    """A convolution of ``x`` to ``y``; its weight is ``(C_in, C_out / groups, ...)`` where it is transposed.

    Attributes:
        parameter: name of its weight, "" if that comes with the sample.
    """

    x: Shape
    weight: Shape
    y: Shape
    stride: int
    groups: int
    bias: bool
    transposed: bool
    parameter: str


@dataclass
class Operation:
    """What a node does.

    Attributes:
        value: its result for one sample, tensors without values.
        work: products and convolutions in order, each with how often it is done.
        unknown: primitive operators whose cost nobody here knows.
        constant: it depends on nothing but parameters: runtimes compute it once, when they load the network.
        batch: samples that the shapes are of; 1 unless the network takes no other number.
    """

    value: Any
    work: dict[Product | Convolution, int] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()
    constant: bool = False
    batch: int = 1


def operations(module: fx.GraphModule, example: Batch) -> dict[fx.Node, Operation]:
    """What each node of ``module`` does with an example: one sample, or as many as it takes if no other number will do.

    Raises:
        InputError: it does not run on that many.
    """
    log = logging.getLogger("torch._subclasses.fake_tensor")  # says on the terminal what is said in words below
    said, log.disabled = log.disabled, True
    try:
        return _Watched(module, example.size).watch(example)
    except Exception as error:
        raise InputError(
            f"the network was traced, but its operators do not run on a batch of {example.size}, as deployed; let "
            "its forward take every size from its input, as x.shape[0]"
        ) from error
    finally:
        log.disabled = said


class _Watched(fx.Interpreter):
    """Runs a graph on tensors without values and notes what each node does."""

    def __init__(self, module: fx.GraphModule, batch: int) -> None:
        super().__init__(module)
        self.graph_module, self.batch = module, batch
        self.fake = FakeTensorMode()
        self.origins = _Origins()
        self.found: dict[fx.Node, Operation] = {}

    def watch(self, example: Batch) -> dict[fx.Node, Operation]:
        with torch.no_grad(), self.fake:
            bare = example.map(lambda t: torch.zeros(t.shape, dtype=t.dtype), inputs_only=True)
            self.run(*ordered(self.graph_module, bare), enable_io_processing=False)
        return self.found

    def get_attr(self, target: Any, args: Any, kwargs: Any) -> Any:
        value = super().get_attr(target, args, kwargs)
        if not isinstance(value, torch.Tensor):
            return value
        tensor = self.fake.from_tensor(value)
        self.origins.add(tensor, str(target))
        return tensor

    def run_node(self, n: fx.Node) -> Any:
        if n.op != "call_function":
            value = super().run_node(n)
            self.found[n] = Operation(value, constant=n.op == "get_attr", batch=self.batch)
            return value
        watch = _Watch(self.origins)
        with contextlib.nullcontext() if _is_control_flow(n) else watch:
            value = self._recurrent(n, watch) if n.target in SEQUENCES else super().run_node(n)
        constant = all(self.found[i].constant for i in n.all_input_nodes)
        if constant:  # what is made of no parameter, an identity matrix for one, is a constant all the same
            self.origins.add_new(value, n.name)
        unknown = (*watch.unknown, *([str(n.target)] if _is_control_flow(n) else []))
        self.found[n] = Operation(value, watch.work, unknown, constant, self.batch)
        return value

    def _recurrent(self, n: fx.Node, watch: _Watch) -> Any:
        """A recurrent layer by its formulas, as its steps may be thousands."""
        args, _ = self.fetch_args_kwargs_from_env(n)
        for weight, rows, calls in products(args):
            name = self.origins.of(weight) or ""
            item = Product(1, rows, weight.shape[1], weight.shape[0], name, bias=bool(args[3]))
            watch.work[item] = watch.work.get(item, 0) + calls
        return outputs(args)


class _Origins:
    """Which tensors are parameters, or computed from parameters alone, and from which: storage -> name and size."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[str, int]] = {}
        self._alive: list[torch.Tensor] = []  # an address means a tensor only as long as that is alive

    def add(self, tensor: torch.Tensor, name: str, numel: int | None = None) -> None:
        self._known[tensor.untyped_storage()._cdata] = name, tensor.numel() if numel is None else numel
        self._alive.append(tensor)

    def add_new(self, values: Any, name: str, numel: int | None = None) -> None:
        """Add what there is no origin of yet among the tensors of ``values``."""
        for tensor in tree_leaves(values):
            if isinstance(tensor, torch.Tensor) and self.of(tensor) is None:
                self.add(tensor, name, numel)

    def of(self, tensor: torch.Tensor) -> str | None:
        return self._known.get(tensor.untyped_storage()._cdata, (None, 0))[0]

    def numel(self, tensor: torch.Tensor) -> int:
        """Elements of the parameter itself, however often a tensor repeats it."""
        return self._known.get(tensor.untyped_storage()._cdata, ("", 0))[1]


class _Watch(TorchDispatchMode):
    """Notes the primitive operators that run within it."""

    def __init__(self, origins: _Origins) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.origins = origins
        self.work: dict[Product | Convolution, int] = {}
        self.unknown: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is not torch.ops.prim.device.default:
            with self:  # a composite that comes whole is taken apart
                parts = func.decompose(*args, **(kwargs or {}))
            if parts is not NotImplemented:
                return parts
        out = func(*args, **(kwargs or {}))
        packet = func.overloadpacket
        for item in self._work(packet, args, out):
            self.work[item] = self.work.get(item, 0) + 1
        if packet not in _COMPUTES and not is_cheap(func):
            self.unknown.append(str(packet))
        tensors = [t for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)]
        origins = [self.origins.of(t) for t in tensors]
        if tensors and None not in origins:  # what is made of parameters alone is one as well, named after the first
            self.origins.add_new(out, origins[0] or "", self.origins.numel(tensors[0]))
        return out

    def _work(self, packet: Any, args: Any, out: Any) -> list[Product | Convolution]:
        if packet in _PRODUCTS:
            a, b = args[_PRODUCTS[packet]], args[_PRODUCTS[packet] + 1]
            bias = _PRODUCTS[packet] == 1 and self.origins.of(args[0]) is not None
            return [self._product(a, b, bias)]
        if packet in _CONVOLUTIONS:
            x, w, bias, stride = args[:4]
            transposed, groups = (args[6], args[8]) if packet in _CONVOLUTIONS[:2] else (False, args[6])
            shapes, name = (tuple(x.shape), tuple(w.shape), tuple(out.shape)), self.origins.of(w) or ""
            return [Convolution(*shapes, int(list(stride)[-1]), int(groups), bias is not None, bool(transposed), name)]
        if packet in _ATTENTIONS:
            q, k, v = (tuple(t.shape) for t in args[:3])
            count = prod(q[:-2])
            return [Product(count, q[-2], q[-1], k[-2]), Product(count, q[-2], k[-2], v[-1])]
        if packet is aten._trilinear:  # an outer product of two vectors times a weight
            x, w = args[0], args[1]
            name = self.origins.of(w) or ""
            return [Product(1, x.numel() // x.shape[-1], w.shape[-1] * w.shape[-2], w.shape[-3], name)]
        return []

    def _product(self, a: torch.Tensor, b: torch.Tensor, bias: bool) -> Product:
        first, second = self.origins.of(a), self.origins.of(b)
        count = a.shape[0] if a.dim() == 3 else 1
        m = a.shape[-2] if a.dim() > 1 else 1
        n = b.shape[-1] if b.dim() > 1 else 1
        left = second is None and first is not None
        weight = a if left else b
        name = first if left else second
        if name is None:
            return Product(count, m, a.shape[-1], n)
        if count > 1 and self.origins.numel(weight) * count == weight.numel():  # one weight, repeated for each product
            m, n, count = (m, n * count, 1) if left else (m * count, n, 1)
        return Product(count, m, a.shape[-1], n, name, left, bias)


def _packets(names: str) -> list[Any]:
    """Operators of these names, as far as this torch has them."""
    return [getattr(aten, name) for name in names.split() if hasattr(aten, name)]


#: Matrix products -> where the first factor stands among their arguments (behind what is added to the product, if any).
_PRODUCTS = dict.fromkeys(_packets("mm bmm mv dot vdot _int_mm"), 0) | dict.fromkeys(
    _packets("addmm baddbmm addmv addbmm _addmm_activation"), 1
)
_CONVOLUTIONS = _packets("convolution _convolution cudnn_convolution mkldnn_convolution")
_ATTENTIONS = _packets(
    "_scaled_dot_product_flash_attention_for_cpu _scaled_dot_product_flash_attention "
    "_scaled_dot_product_efficient_attention _scaled_dot_product_cudnn_attention _scaled_dot_product_attention_math "
    "_scaled_dot_product_fused_attention_overrideable _scaled_dot_product_attention_math_for_mps"
)
_COMPUTES = {*_PRODUCTS, *_CONVOLUTIONS, *_ATTENTIONS, aten._trilinear}


def _is_control_flow(node: fx.Node) -> bool:
    """Branches and loops whose course nobody knows; what merely wraps a part of the graph was watched inside."""
    is_operator = isinstance(node.target, torch._ops.HigherOrderOperator)
    return is_operator and not str(node.target).startswith("wrap")
