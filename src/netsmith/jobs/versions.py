"""What a result was made with."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from netsmith.hardware.target import Target

_PACKAGES = ("netsmith", "torch", "onnx", "onnxruntime", "onnxscript", "numpy", "scipy")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that a result depends on."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def device(target: Target, threads: int) -> dict[str, Any]:
    """What a result was measured on: this machine, or a target that only models one."""
    if not target.capabilities.runs_here:
        return {"name": target.name, "simulated": True}
    from netsmith.hardware.measured.fingerprint import fingerprint

    return fingerprint(threads).to_dict()
