"""From the words of a user (``zoo:NAME``, ``file.py:callable``, ...) to a network."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netsmith.errors import InputError, shown
from netsmith.network.checkpoint import check_file, split_key
from netsmith.network.memory import limited
from netsmith.network.sources import Source, find_source
from netsmith.network.weights import Loaded, check_finite_parameters, check_parameters, load_weights
from netsmith.usercode import failure, lacks_memory

if TYPE_CHECKING:
    from torch import Tensor, nn

_MOST_VALUES = 2**28  #: of one sample, a gigabyte


@dataclass(frozen=True)
class LoadedModel:
    """A network and how to get it again.

    Attributes:
        model: the network in eval mode, on the CPU, with its weights.
        spec: the words that named it.
        factory: builds the same network with fresh weights, in eval mode; replaying a recipe starts from it. For a
            network that was handed over as a module, a copy of it as it was.
        metadata: header of the weights file.
        notes: which of its tensors were taken and what was left, a sentence each.
        num_classes: number of logits, where known.
        input_shape: ``(C, H, W)`` that it was made for, where known.
    """

    model: nn.Module
    spec: str
    factory: Callable[[], nn.Module]
    metadata: dict[str, str] = field(default_factory=dict)
    num_classes: int | None = None
    input_shape: tuple[int, ...] | None = None
    notes: tuple[str, ...] = ()

    def example_input(self) -> Tensor:
        """A random input of two samples, ``(2, C, H, W)``, the same at every call.

        Raises:
            InputError: the network does not say what it takes, and nobody else did.
        """
        from netsmith.network.graph import random_input

        if self.input_shape is None:
            raise InputError(f"{self.spec} does not say what input it takes; give it with --input C,H,W")
        return random_input(2, *self.input_shape)


def load_model(
    spec: str | nn.Module | Callable[[], nn.Module],
    *,
    weights: str | Path | None = None,
    num_classes: int | None = None,
    input_shape: tuple[int, ...] | None = None,
    seed: int = 0,
) -> LoadedModel:
    """Load a network.

    Args:
        spec: ``file.py:callable``, ``package.module:callable``, ``timm:NAME``, ``torchvision:NAME``, ``zoo:NAME`` or
            ``design:FILE.json``, most with options behind a question mark (``zoo:mobilenet_v2?width=0.5``); or, in
            Python, a module (which is copied and left as it is) or a function without arguments that returns one.
        weights: ``.safetensors`` or ``.pth`` file, perhaps with the key of the weights that are meant (``FILE#KEY``).
        num_classes: logits wanted; passed on to libraries, the zoo and callables with a parameter of that name.
        input_shape: ``(C, H, W)`` wanted; its channels are passed on in the same way (``in_channels``, ``in_chans``).
        seed: of the fresh weights.

    Raises:
        InputError: anything about ``spec`` or ``weights`` that cannot be used, in one sentence.
    """
    source = find_source(spec) if isinstance(spec, str) else _python_source(spec)
    options = source.bind(num_classes=num_classes, in_channels=input_shape[0] if input_shape else None)

    def factory() -> nn.Module:
        return _build(lambda: source.call(**options), source.spec, seed)

    if weights is not None:
        check_file(split_key(weights)[0])
    if input_shape is not None and math.prod(input_shape) > _MOST_VALUES:
        raise InputError(f"an input of shape {shown(tuple(input_shape))} has too many values; give a smaller one")
    with limited(source.spec):
        model = factory()
    found = Loaded({})
    if weights is not None:
        found = load_weights(model, weights)
    check_finite_parameters(model, source.spec)
    hints = source.hint(model, options)
    return LoadedModel(
        model=model,
        spec=source.spec,
        factory=factory,
        metadata=found.metadata,
        notes=found.notes,
        num_classes=hints.num_classes,
        input_shape=tuple(input_shape) if input_shape else hints.input_shape,
    )


def _python_source(thing: nn.Module | Callable[[], nn.Module]) -> Source:
    from torch import nn

    if isinstance(thing, nn.Module):
        from netsmith.network.copying import copy_network

        thing = _unwrapped(thing)
        snapshot = copy_network(thing)  # what happens to the caller's network later must not change the factory
        return Source(type(thing).__qualname__, lambda: copy_network(snapshot))
    if callable(thing):
        return Source(named(thing).__qualname__, thing)
    raise InputError(f"a network is expected as text, torch.nn.Module or callable, not as {type(thing).__name__}")


def named(thing: Callable[..., Any]) -> Any:
    """The function or class behind a callable, which has a name and code that are the same in the next process."""
    while isinstance(thing, partial):
        thing = thing.func
    return thing if hasattr(thing, "__qualname__") else type(thing)


def _unwrapped(model: nn.Module) -> nn.Module:
    """The network that ``torch.compile`` or a parallel wrapper stands around: its weights have the names of a file."""
    from torch import nn

    parallel = (nn.DataParallel, nn.parallel.DistributedDataParallel)
    while isinstance(model, parallel) or type(model).__name__ == "OptimizedModule":
        model = model.module if isinstance(model, parallel) else model._orig_mod  # type: ignore[assignment]
    return model


def _build(build: Callable[[], Any], spec: str, seed: int) -> nn.Module:
    import torch
    from torch import nn

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            model = build()
            if isinstance(model, nn.Module):
                model = _unwrapped(model)
                check_parameters(model, spec)
                model.cpu()
                model.eval()
        except (InputError, KeyboardInterrupt):
            raise
        except RecursionError as error:
            raise InputError(f"{spec} has modules within modules too deeply, or one within itself") from error
        except BaseException as error:  # also SystemExit: a user's code may raise anything
            if lacks_memory(error):
                raise InputError(f"{spec} needs more memory than there is; make the network smaller") from error
            raise InputError(f"{spec} failed while it built the network: {failure(error)}") from error
    if not isinstance(model, nn.Module):
        raise InputError(f"{spec} returned {type(model).__name__}, not a torch.nn.Module")
    return model
