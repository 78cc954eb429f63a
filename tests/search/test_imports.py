from __future__ import annotations

import subprocess
import sys

import pytest

import netsmith


def test_importing_netsmith_and_search_stays_light():
    code = (
        "import sys, netsmith, netsmith.search, netsmith.space\n"
        "heavy = {'torch', 'onnx', 'scipy', 'datasets'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "from netsmith import allocate, __version__\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="no attribute 'alocate'"):
        _ = netsmith.alocate
    with pytest.raises(AttributeError, match="no attribute 'solv'"):
        _ = netsmith.search.solv
    assert "allocate" in dir(netsmith)
