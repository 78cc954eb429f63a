"""Registers the packaged Bit Fusion arrays; nothing of them is imported or read before one is asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from netsmith.errors import InputError, did_you_mean
from netsmith.hardware.target import Target, register_target

NAMES = ("bitfusion", "bitfusion-cloud", "bitfusion-small")


def _factory(name: str) -> Callable[..., Target]:
    def build(argument: str = "", **options: Any) -> Target:
        import dataclasses

        from netsmith.hardware.bitfusion.config import BitFusionConfig, published
        from netsmith.hardware.bitfusion.target import BitFusion

        known = [f.name for f in dataclasses.fields(BitFusionConfig)]
        changes = _assignments(name, argument) | options
        for key in changes:
            if key not in known:
                raise InputError(
                    f"target {name} has no parameter {key!r}{did_you_mean(key, known)}; known ones: {', '.join(known)}"
                )
        try:
            return BitFusion(dataclasses.replace(published(name), **changes), name)
        except InputError as error:
            raise InputError(f"target {name}: {error}") from error

    build.__doc__ = f"``{name}``, or ``{name}:dram_pj_per_bit=6,clock_hz=1e9`` with parameters of its file changed."
    return build


def _assignments(name: str, text: str) -> dict[str, Any]:
    import tomllib

    found: dict[str, Any] = {}
    for item in filter(None, text.split(",")):
        key, _, value = (part.strip() for part in item.partition("="))
        try:
            found[key] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            raise InputError(
                f"target {name}: {item!r} sets no parameter; write {name}:dram_pj_per_bit=6,extensions=false"
            ) from None
    return found


for _name in NAMES:
    register_target(_name)(_factory(_name))
