"""The names of the zoo: which function builds a network, and what input it expects. Imports no torch by itself."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from netsmith.errors import InputError, did_you_mean, shown

if TYPE_CHECKING:
    from torch import nn

_MOST, _WIDEST = 100_000, 100.0  #: of an option that counts something, and of one that multiplies


@dataclass(frozen=True)
class ZooEntry:
    """A reference network.

    Attributes:
        module, function: where its builder is.
        input_shape: ``(C, H, W)`` that it was made for.
        num_classes: logits unless told otherwise.
        fixed: arguments that make it a variant of the builder; the user may not change them.
        about: one line for lists.
    """

    module: str
    function: str
    input_shape: tuple[int, ...]
    num_classes: int
    about: str
    fixed: Mapping[str, Any] = field(default_factory=dict)

    def builder(self) -> Callable[..., nn.Module]:
        """The function that builds it."""
        function: Callable[..., nn.Module] = getattr(importlib.import_module(self.module), self.function)
        return function

    def options(self) -> dict[str, Any]:
        """Option name to default, of what a user may set."""
        parameters = inspect.signature(self.builder()).parameters.values()
        return {p.name: p.default for p in parameters if p.name not in self.fixed}


def _entry(module: str, function: str, shape: tuple[int, ...], classes: int, about: str, **fixed: Any) -> ZooEntry:
    return ZooEntry(f"netsmith.network.zoo.{module}", function, shape, classes, about, MappingProxyType(fixed))


_CIFAR, _IMAGENET = (3, 32, 32), (3, 224, 224)
_FOLDED = {"folded": True, "same_padding": True}

ZOO: Mapping[str, ZooEntry] = MappingProxyType(
    {
        **{
            f"cifar_resnet{d}": _entry(
                "cifar_resnet", "cifar_resnet", _CIFAR, 10, f"ResNet-{d} for 32x32 images (option A shortcuts)", depth=d
            )
            for d in (20, 32, 44, 56)
        },
        "plain20": _entry(
            "cifar_resnet", "cifar_resnet", _CIFAR, 10, "ResNet-20 without shortcuts", depth=20, shortcut="none"
        ),
        "mobilenet_v1": _entry("mobilenet", "mobilenet_v1", _IMAGENET, 1000, "MobileNet (Howard et al. 2017)"),
        "mobilenet_v2": _entry("mobilenet", "mobilenet_v2", _IMAGENET, 1000, "MobileNetV2, names of torchvision"),
        "mobilenet_v2_tf": _entry(
            "mobilenet",
            "mobilenet_v2",
            _IMAGENET,
            1000,
            "MobileNetV2 as TensorFlow has it, batch norm folded",
            **_FOLDED,
        ),
        "squeezenet1_1": _entry("squeezenet", "squeezenet1_1", _IMAGENET, 1000, "SqueezeNet 1.1, names of torchvision"),
        "digits": _entry("digits", "digits", (1, 8, 8), 10, "a small residual network for 8x8 digits"),
    }
)


def zoo_names() -> list[str]:
    """Names of all reference networks."""
    return list(ZOO)


def zoo_entry(name: str) -> ZooEntry:
    """Return the entry ``name``.

    Raises:
        InputError: unknown name; the nearest known one is proposed.
    """
    if name not in ZOO:
        raise InputError(
            f"the zoo has no network {name!r}{did_you_mean(name, zoo_names())}; it has {', '.join(zoo_names())}"
        )
    return ZOO[name]


def build(name: str, /, **options: Any) -> nn.Module:
    """Build the reference network ``name`` with fresh weights, in training mode.

    Args:
        name: one of ``zoo_names()``.
        **options: what the builder takes, for instance ``num_classes`` or ``width``.

    Raises:
        InputError: unknown name, unknown option or a value of the wrong type.
    """
    entry = zoo_entry(name)
    known = entry.options()
    for option, value in options.items():
        if option not in known:
            hint = did_you_mean(option, list(known))
            raise InputError(f"zoo:{name} has no option {option!r}{hint}; its options are {', '.join(known)}")
        options[option] = _cast(name, option, value, known[option])
    # builders default to their published number of classes, so an entry never needs to pass it
    return entry.builder()(**entry.fixed, **options)


def _cast(name: str, option: str, value: Any, default: Any) -> Any:
    """Check ``value`` against the type of the default, so that ``width=abc`` is an error here and not deep inside."""
    if isinstance(default, bool):
        if isinstance(value, bool):
            return value
        wanted = "true or false"
    elif isinstance(default, int):
        if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= _MOST:
            return value
        wanted = f"a whole number of 1 to {_MOST}"
    elif isinstance(default, float):
        if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= _WIDEST:
            return float(value)
        wanted = f"a number above 0, at most {_WIDEST:g}"
    else:
        if isinstance(value, str):
            return value
        wanted = "a word"
    raise InputError(f"zoo:{name} cannot take {option}={shown(value)}: {option} must be {wanted}")
