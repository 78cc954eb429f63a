"""What a network must be before it is judged: the same output for the same example, whatever comes with it, every time.

Scores are measured on batches, and the deployed network sees one example at a time; so an output that depends on its
company, or on chance, has no accuracy that could be promised. One probe finds both, and names the modules at fault.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from netsmith.data.batch import Batch
from netsmith.errors import InputError
from netsmith.network.batch import written_batch
from netsmith.network.copying import copy_network
from netsmith.network.outputs import tensors_of
from netsmith.usercode import words_of

_LOUD = (1.0, 4.0, 1.0)  #: factors of the images of a batch: company is louder, so that a maximum over it shows
#: share of its range by which an output may differ: kernels for another batch never do by as much, in float64 (where a
#: forward may go through float32 in places) and in float32
_ROUNDING = {torch.float64: 1e-4, torch.float32: 2e-3}
_SAME = 1e-3  #: share of that by which two runs of the same kernels on the same batch may differ
_ZERO = 1e-4  #: largest weight of a tensor that is as good as zero, such as a layer scale at its start
_SHOWN = 4
Rows = Callable[[torch.Tensor], torch.Tensor]
Check = Callable[[Any, Batch], object]


def check_network(
    model: nn.Module, inputs: torch.Tensor | Batch, remedy: str, check: Check = lambda outputs, batch: None,
    each: str = "examples",
) -> Any:  # fmt: skip
    """Check that a network in eval mode gives finite outputs that depend on each example alone.

    Args:
        inputs: two examples or more that it takes.
        remedy: what to do where it does not run on them, such as an option that gives it another size.
        check: called with the outputs for one example and that example; refuses what its task cannot read.
        each: what an example is called, in the plural.

    Returns:
        The outputs for one example.

    Raises:
        InputError: it does not run, or on one size of batches alone, or what it returns is not finite, differs between
            two calls or depends on the batch; says so with the modules at fault.
    """
    inputs = Batch.of(inputs)
    probe, one, name = copy_network(model).eval(), inputs.take(slice(0, 1)), each.removesuffix("s")
    if written := written_batch(probe, inputs):
        raise InputError(written)
    try:
        output = _run(probe, one)
    except Exception as error:
        shape, why = " and ".join(str(tuple(t.shape[1:])) for t in inputs.inputs), failure_of(probe, one, error)
        try:
            _run(probe, inputs)
        except Exception:
            kinds = {str(p.dtype) for p in probe.parameters() if p.is_floating_point()} - {"torch.float32"}
            if kinds:
                remedy = f"its weights are {', '.join(sorted(kinds))}: make them float32, with .float()"
            raise InputError(f"the network does not run on {each} of shape {shape}: {why}; {remedy}") from error
        raise InputError(
            f"the network runs on {inputs.size} {each} of shape {shape} at once but not on one alone, as it is "
            f"deployed: {why}; let it treat each {name} alone"
        ) from error
    check(output, one)
    if found := fault_of(model, inputs, each):
        raise InputError(found)
    return output


def fault_of(model: nn.Module, inputs: torch.Tensor | Batch, each: str = "images") -> str | None:
    """Why outputs are not those of each example alone, in one sentence, or None.

    It is tried on a copy, in float64 where the forward allows that: as given and, where some weights are zero and so
    hide what stands before them, with weights moved at random. A network that does not run says nothing here.
    """
    probe, x = _wide(model, Batch.of(inputs))
    name, one = each.removesuffix("s"), x.take(slice(0, 1))
    try:
        alone = [tensors_of(_run(probe, one)) for _ in range(2)]
        found = (
            _not_finite(probe, one, alone[0]) or _by_chance(probe, one, alone[0], alone[1], name)
            or _by_company(probe, x, alone[0], name)
        )  # fmt: skip
        if not found and _hides(probe):
            moved = _moved(probe)
            found = _by_company(moved, x, tensors_of(_run(moved, one)), name)
    except Exception:
        return None
    return found


def _wide(model: nn.Module, inputs: Batch) -> tuple[nn.Module, Batch]:
    """A copy in eval mode with a batch of inputs, in float64 if it runs in that."""

    def loud(t: torch.Tensor) -> torch.Tensor:
        if not t.is_floating_point() or len(t) != len(_LOUD) or is_mask(t):
            return t
        return t * torch.tensor(_LOUD).view(-1, *[1] * (t.dim() - 1))

    x = inputs.take(torch.arange(len(_LOUD)) % inputs.size).map(loud, inputs_only=True)
    probe = copy_network(model).eval()
    try:
        double = copy_network(probe).double()
        wide = x.map(lambda t: t.double() if t.is_floating_point() else t, inputs_only=True)
        _run(double, wide.take(slice(0, 1)))
        return double, wide
    except Exception:  # a forward that insists on its own dtype
        return probe, x


def _hides(probe: nn.Module) -> bool:
    """Whether weights of zero, or nearly so, may hide what stands before them; biases do not."""
    weights = (p for n, p in probe.named_parameters() if not n.endswith("bias") and p.is_floating_point() and p.numel())
    return any(float(p.detach().abs().max()) <= _ZERO for p in weights)


def _moved(probe: nn.Module) -> nn.Module:
    """A copy whose weights are moved at random, by a tenth of what is usual."""
    moved, rng = copy_network(probe), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in moved.parameters():
            if p.is_floating_point():
                noise = torch.randn(p.shape, generator=rng).to(p.dtype)
                p.add_(0.1 * noise / (p[0].numel() ** 0.5 if p.dim() > 1 else 1.0))
    return moved


def _not_finite(probe: nn.Module, one: Batch, output: list[torch.Tensor]) -> str | None:
    if all(bool(torch.isfinite(t).all()) for t in output):
        return None
    seen = _record(probe, one)
    wrong = [
        path for (path, _), (given, made) in seen.items()
        if all(bool(torch.isfinite(t).all()) for t in given) and not all(bool(torch.isfinite(t).all()) for t in made)
    ]  # fmt: skip
    return f"the network's output is not finite: {_names(probe, wrong)} makes NaN or infinite values of finite ones"


def _by_chance(
    probe: nn.Module, one: Batch, first: list[torch.Tensor], again: list[torch.Tensor], name: str
) -> str | None:
    if _alike(first, again, again, _SAME):
        return None
    drawn: list[str] = []
    with _random_operators(drawn):
        a, b = _record(probe, one), _record(probe, one)
    wrong = _at_fault(probe, a, b, _SAME)
    cause = (
        f"draws random numbers ({', '.join(dict.fromkeys(drawn))}); is it a dropout that nobody told of self.training?"
        if drawn else "keeps a counter or draws random numbers of its own"
    )  # fmt: skip
    return (
        f"the network's output for the same {name} differs from call to call in evaluation, so no accuracy can be "
        f"promised: {wrong} {cause}"
    )


def _by_company(probe: nn.Module, x: Batch, first: list[torch.Tensor], name: str) -> str | None:
    """The first example and the last are compared with themselves alone: what goes along a batch sees only one side."""
    try:
        together = tensors_of(_run(probe, x))
    except Exception:  # a batch that is written into the forward
        return None
    count = x.size
    for place in (0, count - 1):
        own = slice(place, place + 1)
        alone = first if place == 0 else tensors_of(_run(probe, x.take(own)))
        if any(not t.dim() or len(t) != count for t in together) or _alike(alone, [t[own] for t in together], together):
            continue

        def rows(t: torch.Tensor, place: int = place) -> torch.Tensor:
            """Those of the example, where examples are laid side by side along the first dimension."""
            each = len(t) // count if t.dim() and len(t) % count == 0 else 0
            return t[place * each : (place + 1) * each] if each else t

        wrong = _at_fault(probe, _record(probe, x.take(own)), _record(probe, x, rows))
        an = "an" if name[0] in "aeiou" else "a"
        return (
            f"the network's output for {an} {name} depends on what else is in its batch, so accuracies measured on "
            f"batches do not hold for one {name} at a time: {wrong} mixes the {name}s of a batch; let it treat each "
            f"{name} alone"
        )
    return None


def is_mask(t: torch.Tensor) -> bool:
    """Whether floats are a mask: zeros and ones alone, which are no values to be made larger or drawn at random."""
    return bool(((t == 0) | (t == 1)).all())


def _run(model: nn.Module, x: Batch) -> Any:
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.seed()  # another draw each time
        return x(model)


Seen = dict[tuple[str, int], tuple[list[torch.Tensor], list[torch.Tensor]]]


def _record(probe: nn.Module, x: Batch, rows: Rows = lambda t: t) -> Seen:
    """(Path, number of the call) -> tensors that a module was given and made."""
    seen: Seen = {}
    count: dict[str, int] = {}

    def watch(path: str) -> Callable[..., None]:
        def note(_: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            count[path] = count.get(path, 0) + 1
            given = tensors_of([*args, *kwargs.values()])
            seen[path, count[path]] = [rows(t).clone() for t in given], [rows(t).clone() for t in tensors_of(output)]

        return note

    hooks = [m.register_forward_hook(watch(path), with_kwargs=True) for path, m in probe.named_modules()]
    try:
        _run(probe, x)
    finally:
        for hook in hooks:
            hook.remove()
    return seen


def _at_fault(probe: nn.Module, a: Seen, b: Seen, share: float = 1.0) -> str:
    """Modules that made something else of the same, in words."""

    def alike(key: tuple[str, int], side: int) -> bool:
        return _alike(a[key][side], b[key][side], a[key][side], share)

    return _names(probe, [key[0] for key in a if key in b and alike(key, 0) and not alike(key, 1)])


def _names(probe: nn.Module, paths: list[str]) -> str:
    """The innermost of some modules, by path and type."""
    paths = list(dict.fromkeys(paths))
    inner = [p for p in paths if not any(q != p and (not p or q.startswith(f"{p}.")) for q in paths)]
    words = []
    for path in sorted(inner, key=[n for n, _ in probe.named_modules()].index):
        module = probe.get_submodule(path)
        kind = type(module).__name__
        if getattr(module, "track_running_stats", None) is False:
            kind += " without running statistics"
        words.append(f"{path} ({kind})" if path else f"the forward of {kind}")
    return (", ".join(words[:_SHOWN]) + (", ..." if len(words) > _SHOWN else "")) or "its forward"


def _alike(a: list[torch.Tensor], b: list[torch.Tensor], of: list[torch.Tensor], share: float = 1.0) -> bool:
    """Whether tensors agree to rounding, or a share of what that may be, by the range of others."""
    if [t.shape for t in a] != [t.shape for t in b]:
        return False
    for p, q, r in zip(a, b, of, strict=True):
        if not p.numel():
            continue
        if not p.is_floating_point():
            if not torch.equal(p, q):
                return False
            continue
        spread = (r.max() - r.min() if r.numel() > 1 else r.abs().max()).clamp(min=1e-30)
        if not bool((p - q).abs().max() <= share * _ROUNDING.get(p.dtype, 2e-2) * spread):
            return False
    return True


@contextmanager
def _random_operators(found: list[str]) -> Iterator[None]:
    """Within it, names of operators that draw random numbers are noted."""

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if torch.Tag.nondeterministic_seeded in func.tags:
                found.append(func.overloadpacket.__name__)
            return func(*args, **(kwargs or {}))

    with Watch():  # type: ignore[no-untyped-call]
        yield


def failure_of(probe: nn.Module, x: Batch, error: BaseException) -> str:
    """In which module the forward of a network fails in the mode that it is in, and how; ``error`` if it does not."""
    inside: list[str] = []
    hooks = []
    for path, module in probe.named_modules():
        hooks.append(module.register_forward_pre_hook(lambda *_, path=path: inside.append(path)))
        hooks.append(module.register_forward_hook(lambda *_: inside.pop() and None))
    try:
        _run(probe, x)
    except Exception as again:
        error = again
    finally:
        for hook in hooks:
            hook.remove()
    text = words_of(error, 120).rstrip(".")
    return f"{_names(probe, inside[-1:])} fails ({text})"
