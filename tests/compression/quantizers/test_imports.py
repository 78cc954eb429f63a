"""The package's names, without torch until one is used."""

from __future__ import annotations

import subprocess
import sys


def test_the_package_alone_does_not_load_torch() -> None:
    code = "import sys, netsmith.compression.quantizers; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
