"""What holds for every test."""

from __future__ import annotations

from collections.abc import Iterator
from time import thread_time

import pytest
from hypothesis import HealthCheck, settings

# The same examples on every machine, and neither a busy machine's clock nor a file of earlier failures decides.
settings.register_profile(
    "netsmith", derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("netsmith")


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Latency tables and decoded images of a user's cache are neither read nor written."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NETSMITH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def processor_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measurements are in seconds of this thread on a processor, for ONNX Runtime runs in it with one thread.

    Waiting for a busy machine is not among them: what is more work takes longer, however busy the machine is.
    """
    for module in ("microbench", "timing"):
        monkeypatch.setattr(f"netsmith.hardware.measured.{module}.perf_counter", thread_time)
