"""What a network must be before it is judged: the same output for the same image, whatever comes with it, every time.

Accuracies are measured on batches, and the deployed network sees one image at a time; so an output that depends on its
company, or on chance, has no accuracy that could be promised. One probe finds both, and names the modules at fault.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from netsmith.errors import InputError
from netsmith.network.batch import written_batch
from netsmith.network.copying import copy_network
from netsmith.network.outputs import describe_output, tensors_of
from netsmith.usercode import words_of

_LOUD = (1.0, 4.0, 1.0)  #: factors of the images of a batch: company is louder, so that a maximum over it shows
#: share of its range by which an output may differ: kernels for another batch never do by as much, in float64 (where a
#: forward may go through float32 in places) and in float32
_ROUNDING = {torch.float64: 1e-4, torch.float32: 2e-3}
_SAME = 1e-3  #: share of that by which two runs of the same kernels on the same batch may differ
_ZERO = 1e-4  #: largest weight of a tensor that is as good as zero, such as a layer scale at its start
_SHOWN = 4
Rows = Callable[[torch.Tensor], torch.Tensor]


def check_network(model: nn.Module, images: torch.Tensor, remedy: str) -> int:
    """Check that a classifier in eval mode gives finite logits that depend on each image alone.

    Args:
        images: two or more that it takes, normalised, ``(N, ...)``.
        remedy: what to do where it does not run on them, such as an option that gives it another size.

    Returns:
        The number of logits.

    Raises:
        InputError: it does not run, or on one size of batches alone, does not return one tensor ``(batch, classes)``,
            or what it returns is not finite, differs between two calls or depends on the batch; says so with the
            modules at fault.
    """
    probe = copy_network(model).eval()
    if written := written_batch(probe, images):
        raise InputError(written)
    try:
        output = _run(probe, images[:1])
    except Exception as error:
        shape, why = tuple(images.shape[1:]), failure_of(probe, images[:1], error)
        try:
            _run(probe, images)
        except Exception:
            kinds = {str(p.dtype) for p in probe.parameters() if p.is_floating_point()} - {"torch.float32"}
            if kinds:
                remedy = f"its weights are {', '.join(sorted(kinds))}: make them float32, with .float()"
            raise InputError(f"the network does not run on images of shape {shape}: {why}; {remedy}") from error
        raise InputError(
            f"the network runs on {len(images)} images of shape {shape} at once but not on one alone, as it is "
            f"deployed: {why}; let it treat each image alone"
        ) from error
    if not isinstance(output, torch.Tensor) or output.ndim != 2 or len(output) != 1:
        raise InputError(
            f"for one image the network returns {describe_output(output)}, but one tensor of logits (1, classes) is "
            "needed; let its forward return that alone"
        )
    if found := fault_of(model, images):
        raise InputError(found)
    return int(output.shape[1])


def fault_of(model: nn.Module, images: torch.Tensor) -> str | None:
    """Why outputs are not those of each image alone, in one sentence, or None.

    It is tried on a copy, in float64 where the forward allows that: as given and, where some weights are zero and so
    hide what stands before them, with weights moved at random. A network that does not run says nothing here.
    """
    probe, x = _wide(model, images)
    try:
        alone = [tensors_of(_run(probe, x[:1])) for _ in range(2)]
        found = _not_finite(probe, x, alone[0]) or _by_chance(probe, x, *alone) or _by_company(probe, x, alone[0])
        if not found and _hides(probe):
            moved = _moved(probe)
            found = _by_company(moved, x, tensors_of(_run(moved, x[:1])))
    except Exception:
        return None
    return found


def _wide(model: nn.Module, images: torch.Tensor) -> tuple[nn.Module, torch.Tensor]:
    """A copy in eval mode with a batch of inputs, in float64 if it runs in that."""
    factors = torch.tensor(_LOUD).view(-1, *[1] * (images.dim() - 1))
    x = images[torch.arange(len(_LOUD)) % len(images)] * factors
    probe = copy_network(model).eval()
    try:
        double = copy_network(probe).double()
        _run(double, x[:1].double())
        return double, x.double()
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


def _not_finite(probe: nn.Module, x: torch.Tensor, output: list[torch.Tensor]) -> str | None:
    if all(bool(torch.isfinite(t).all()) for t in output):
        return None
    seen = _record(probe, x[:1])
    wrong = [
        path for (path, _), (given, made) in seen.items()
        if all(bool(torch.isfinite(t).all()) for t in given) and not all(bool(torch.isfinite(t).all()) for t in made)
    ]  # fmt: skip
    return f"the network's output is not finite: {_names(probe, wrong)} makes NaN or infinite values of finite ones"


def _by_chance(probe: nn.Module, x: torch.Tensor, first: list[torch.Tensor], again: list[torch.Tensor]) -> str | None:
    if _alike(first, again, again, _SAME):
        return None
    one = x[:1]
    drawn: list[str] = []
    with _random_operators(drawn):
        a, b = _record(probe, one), _record(probe, one)
    wrong = _at_fault(probe, a, b, _SAME)
    cause = (
        f"draws random numbers ({', '.join(dict.fromkeys(drawn))}); is it a dropout that nobody told of self.training?"
        if drawn else "keeps a counter or draws random numbers of its own"
    )  # fmt: skip
    return (
        "the network's output for the same image differs from call to call in evaluation, so no accuracy can be "
        f"promised: {wrong} {cause}"
    )


def _by_company(probe: nn.Module, x: torch.Tensor, first: list[torch.Tensor]) -> str | None:
    """The first image and the last are compared with themselves alone: what goes along a batch sees only one side."""
    try:
        together = tensors_of(_run(probe, x))
    except Exception:  # a batch that is written into the forward
        return None
    for place in (0, len(x) - 1):
        own = slice(place, place + 1)
        alone = first if place == 0 else tensors_of(_run(probe, x[own]))
        if any(len(t) != len(x) for t in together) or _alike(alone, [t[own] for t in together], together):
            continue

        def rows(t: torch.Tensor, place: int = place) -> torch.Tensor:
            """Those of the image, where images are laid side by side along the first dimension."""
            each = len(t) // len(x) if t.dim() and len(t) % len(x) == 0 else 0
            return t[place * each : (place + 1) * each] if each else t

        wrong = _at_fault(probe, _record(probe, x[own]), _record(probe, x, rows))
        return (
            "the network's output for an image depends on what else is in its batch, so accuracies measured on batches "
            f"do not hold for one image at a time: {wrong} mixes the images of a batch; let it treat each image alone"
        )
    return None


def _run(model: nn.Module, x: torch.Tensor) -> Any:
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.seed()  # another draw each time
        return model(x)


Seen = dict[tuple[str, int], tuple[list[torch.Tensor], list[torch.Tensor]]]


def _record(probe: nn.Module, x: torch.Tensor, rows: Rows = lambda t: t) -> Seen:
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


def failure_of(probe: nn.Module, x: torch.Tensor, error: BaseException) -> str:
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
