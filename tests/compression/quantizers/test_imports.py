"""The package's names, without torch until one is used."""

from __future__ import annotations

import subprocess
import sys

import pytest

import netsmith.compression.quantizers as quantizers


def test_the_package_alone_does_not_load_torch() -> None:
    code = "import sys, netsmith.compression.quantizers; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_name_resolves_and_no_other() -> None:
    for name in quantizers.__all__:
        assert getattr(quantizers, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = quantizers.nothing
