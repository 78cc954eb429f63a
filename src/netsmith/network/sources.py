"""Where networks come from: the zoo, timm, torchvision, a user's file or package."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from netsmith.errors import InputError, did_you_mean, shown
from netsmith.network.userfile import importing, load_file
from netsmith.usercode import FORMS, failure

if TYPE_CHECKING:
    from torch import nn

_SHOWN = 12  #: names of a file


@dataclass(frozen=True)
class Hints:
    """What a source knows about its network without running it."""

    num_classes: int | None = None
    input_shape: tuple[int, ...] | None = None


def _no_hints(model: nn.Module, options: Mapping[str, Any]) -> Hints:
    return Hints(options.get("num_classes"))


@dataclass(frozen=True)
class Source:
    """A callable that builds a network, and the names it has for the common options.

    Attributes:
        spec: the words that named it.
        call: builds the network.
        options: arguments from the spec.
        channels: what ``call`` names the input channels.
        hint: what is known of a built network and its options.
    """

    spec: str
    call: Callable[..., Any]
    options: Mapping[str, Any] = field(default_factory=dict)
    channels: str = "in_channels"
    accepts: tuple[str, ...] | None = None  #: common options that it takes; None asks its signature
    hint: Callable[[nn.Module, Mapping[str, Any]], Hints] = _no_hints

    def bind(self, *, num_classes: int | None, in_channels: int | None) -> dict[str, Any]:
        """Return all arguments for ``call``; common options that it has no name for are left out.

        Raises:
            InputError: the spec says otherwise, or arguments are missing or unknown.
        """
        options = dict(self.options)
        for name, value in (("num_classes", num_classes), (self.channels, in_channels)):
            if value is None or not self._takes(name):
                continue
            if options.get(name, value) != value:
                raise InputError(f"{self.spec} says {name}={options[name]}, but {value} is needed here")
            options[name] = value
        if self.accepts is None:
            _check_arguments(self.call, options, self.spec)
        return options

    def _takes(self, name: str) -> bool:
        if self.accepts is not None:
            return name in self.accepts
        signature = _signature(self.call)
        return signature is not None and name in signature.parameters


def find_source(spec: str) -> Source:
    """Parse ``spec``, one of the forms of ``load_model``.

    Raises:
        InputError: no such form, file, callable or name.
    """
    text, _, query = spec.strip().partition("?")
    text = os.path.expanduser(text)
    options = _options(query, spec)
    place, _, name = text.rpartition(":")
    if text.startswith("design:"):
        return _design(spec, os.path.expanduser(text.removeprefix("design:")), options)
    if place in ("zoo", "timm", "torchvision"):
        return {"zoo": _zoo, "timm": _timm, "torchvision": _torchvision}[place](spec, name, options)
    if place.endswith(".py") or text.endswith(".py"):
        return _file(spec, text, options)
    if not place or not name:
        raise InputError(_no_form(spec, text))
    return _package(spec, place, name, options)


def _no_form(spec: str, text: str) -> str:
    from netsmith.network.zoo import zoo_names

    near = did_you_mean(text.strip(":"), [f"zoo:{n}" for n in zoo_names()] + zoo_names()) if text else ""
    near = near if "zoo:" in near else near.replace("mean '", "mean 'zoo:")
    return f"{spec!r} names no network{near}: write {FORMS}"


def _options(query: str, spec: str) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for part in filter(None, query.split("&")):
        key, equals, value = part.partition("=")
        if not equals or not key.isidentifier() or not value:
            raise InputError(f"{spec!r} has an option {part!r} that cannot be read: write name=value")
        if key in options:
            raise InputError(f"{spec!r} gives the option {key!r} twice")
        options[key] = _literal(value)
    return options


def _literal(text: str) -> Any:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):  # the last two of thousands of brackets
        return text


#: options of ``timm.create_model`` and ``torchvision.models.get_model`` that are netsmith's to set
_OWN = {
    "timm": ("model_name", "pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "cache_dir",
             "scriptable", "exportable", "no_jit"),
    "torchvision": ("name", "weights", "pretrained", "weights_backbone", "pretrained_backbone", "progress"),
}  # fmt: skip


def _refuse_own(spec: str, library: str, options: Mapping[str, Any]) -> None:
    """Refuse what netsmith sets itself: networks are built without weights, and these come from a file by name."""
    for option in options:
        if option in _OWN[library]:
            raise InputError(
                f"{spec}: netsmith sets {option} itself and loads no weights from elsewhere; drop the option, save the "
                "weights that are meant to a .safetensors or .pth file and give it with --weights"
            )


def _zoo(spec: str, name: str, options: dict[str, Any]) -> Source:
    from netsmith.network.zoo import build, zoo_entry

    entry = zoo_entry(name)

    def hint(model: nn.Module, options: Mapping[str, Any]) -> Hints:
        shape = (options.get("in_channels", entry.input_shape[0]), *entry.input_shape[1:])
        return Hints(options.get("num_classes", entry.num_classes), shape)

    return Source(spec, lambda **kw: build(name, **kw), options, accepts=("num_classes", "in_channels"), hint=hint)


def _timm(spec: str, name: str, options: dict[str, Any]) -> Source:
    from netsmith.optional import require

    _refuse_own(spec, "timm", options)
    timm = require("timm", "timm")
    if not timm.is_model(name.partition(".")[0]):
        raise InputError(f"timm has no network {name!r}{did_you_mean(name, timm.list_models())}")

    def hint(model: nn.Module, options: Mapping[str, Any]) -> Hints:
        config = getattr(model, "pretrained_cfg", None) or {}
        shape = config.get("input_size")
        if shape and "in_chans" in options:
            shape = (options["in_chans"], *shape[1:])
        return Hints(getattr(model, "num_classes", None), tuple(shape) if shape else None)

    def call(**kw: Any) -> Any:
        return timm.create_model(name, pretrained=False, **kw)

    return Source(spec, call, options, "in_chans", ("num_classes", "in_chans"), hint)


def _torchvision(spec: str, name: str, options: dict[str, Any]) -> Source:
    from netsmith.optional import require

    _refuse_own(spec, "torchvision", options)
    models = require("torchvision.models", "torchvision")
    known = models.list_models(module=models)
    if name not in known:
        raise InputError(f"torchvision has no network {name!r}{did_you_mean(name, known)}")

    def hint(model: nn.Module, options: Mapping[str, Any]) -> Hints:
        return Hints(options.get("num_classes", 1000), (3, 224, 224))

    def call(**kw: Any) -> Any:
        return models.get_model(name, weights=None, **kw)

    return Source(spec, call, options, accepts=("num_classes",), hint=hint)


def _design(spec: str, path: str, options: dict[str, Any]) -> Source:
    from netsmith.network.zoo.blueprint import read_blueprint

    if options:
        raise InputError(f"{spec}: a network that was found takes no options, its file says all; drop what follows '?'")
    found = read_blueprint(path)

    def call(num_classes: int = found.classes, in_channels: int = found.input_shape[0]) -> Any:
        if (num_classes, in_channels) != (found.classes, found.input_shape[0]):
            raise InputError(
                f"{path} describes a network of {found.classes} classes and {found.input_shape[0]} input channels, but "
                f"{num_classes} and {in_channels} are needed here; search on this data set"
            )
        return found.build()

    return Source(spec, call, hint=lambda model, options: Hints(found.classes, found.input_shape))


def _file(spec: str, text: str, options: dict[str, Any]) -> Source:
    where, _, name = text.rpartition(":") if not text.endswith(".py") else (text, "", "")
    path = Path(where)
    if not os.path.isfile(path):
        raise InputError(f"there is no file {where}")
    module = load_file(path)
    thing = _find(module, name, where, spec)
    with_folder = _in_folder(thing, path) if not _is_module(thing) else thing
    return _from_thing(spec, with_folder, options)


def _package(spec: str, place: str, name: str, options: dict[str, Any]) -> Source:
    try:
        module = importlib.import_module(place)
    except ModuleNotFoundError as error:
        if error.name is not None and (place == error.name or place.startswith(error.name + ".")):
            raise InputError(f"there is no Python package {error.name}: write {FORMS}") from error
        raise InputError(f"{place} cannot be imported: it needs {error.name}, which is not installed") from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # also SystemExit: a user's code may raise anything
        raise InputError(f"{place} cannot be imported: {failure(error)}") from error
    return _from_thing(spec, _find(module, name, place, spec), options)


def _from_thing(spec: str, thing: Any, options: dict[str, Any]) -> Source:
    if _is_module(thing):
        from netsmith.network.copying import copy_network

        if options:
            raise InputError(f"{spec} is a network that is already built: it takes no options")
        return Source(spec, lambda: copy_network(thing))
    return Source(spec, thing, options)


def _is_module(thing: Any) -> bool:
    from torch import nn

    return isinstance(thing, nn.Module)


def _find(module: ModuleType, name: str, where: str, spec: str) -> Any:
    """The attribute ``name`` (dots allowed) of a user's module, with a list of what there is if it is not there."""
    here = [
        k
        for k, v in vars(module).items()
        if not k.startswith("_")
        and (_is_module(v) or (callable(v) and getattr(v, "__module__", None) == module.__name__))
    ]
    more = f" and {len(here) - _SHOWN} more" if len(here) > _SHOWN else ""
    has = f"it has {', '.join(here[:_SHOWN])}{more}" if here else "it has none of its own"
    if not name:
        raise InputError(f"{spec} is a file alone; write {where}:NAME, of what builds the network: {has}")
    thing: Any = module
    for part in name.split("."):
        try:
            thing = getattr(thing, part)
        except AttributeError as error:
            raise InputError(f"{where} has no callable {shown(name)}{did_you_mean(name, here)}: {has}") from error
        except (Exception, SystemExit) as error:  # of a property, or of a __getattr__
            raise InputError(f"{shown(name)} of {where} cannot be read: {failure(error)}") from error
    if not callable(thing):
        raise InputError(f"{name} in {where} is {type(thing).__name__}, not a callable: {has}")
    return thing


def _in_folder(function: Callable[..., Any], path: Path) -> Callable[..., Any]:
    """``function`` with the file's folder importable while it runs, for imports inside of it."""

    def call(*args: Any, **kwargs: Any) -> Any:
        with importing(path.parent):
            return function(*args, **kwargs)

    signature = _signature(function)
    if signature is not None:
        call.__signature__ = signature  # type: ignore[attr-defined]
    return call


def _signature(function: Callable[..., Any]) -> inspect.Signature | None:
    try:
        return inspect.signature(function)
    except (ValueError, TypeError):
        return None  # built in C


def _check_arguments(function: Callable[..., Any], options: Mapping[str, Any], spec: str) -> None:
    signature = _signature(function)
    if signature is None:
        return
    parameters = signature.parameters
    if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        for name in options:
            if name not in parameters:
                known = ", ".join(parameters) or "none"
                hint = did_you_mean(name, list(parameters))
                raise InputError(f"{spec} does not take the option {name!r}{hint}; its options are {known}")
    needed = [
        p.name
        for p in parameters.values()
        if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) and p.name not in options
    ]
    if needed:
        word = "the argument" if len(needed) == 1 else "the arguments"
        raise InputError(
            f"{spec} needs {word} {', '.join(needed)}: give them as ?{needed[0]}=VALUE "
            "or write a function without arguments that returns the network"
        )
