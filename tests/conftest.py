"""What holds for every test."""

from __future__ import annotations

from collections.abc import Iterator
from time import thread_time
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from torch import nn

    from netsmith.network.graph import Graph

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


@pytest.fixture(scope="session")
def digits_model() -> nn.Module:
    """A small residual network with data-like statistics in its batch norms."""
    from netsmith.network.load import load_model
    from warmed import warmed

    return warmed(load_model("zoo:digits").model, (1, 8, 8))


@pytest.fixture(scope="session")
def digits_graph(digits_model: nn.Module) -> Graph:
    """The same, traced."""
    from netsmith.network.graph import trace

    return trace(digits_model, (1, 8, 8))
