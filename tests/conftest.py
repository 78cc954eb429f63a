"""What holds for every test."""

from __future__ import annotations

from collections.abc import Iterator

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
