"""What every test gets."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from anywasm.core.artifact_cache import CACHE_DIR

# How long examples take says more of the machine than of the code.
settings.register_profile("anywasm", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("anywasm")


@pytest.fixture(scope="session", autouse=True)
def _own_artifact_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Servers that tests start share a cache of this run, and leave the user's alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_DIR, str(tmp_path_factory.mktemp("artifacts")))
        yield


@pytest.fixture(autouse=True)
def _signals_as_they_were() -> Iterator[None]:
    """A test that keeps a signal's handler would fail another one, which needs Python's own."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    yield
    assert [signal.getsignal(number) for number in numbers] == before


@pytest.fixture(scope="session", autouse=True)
def _not_workers() -> Iterator[None]:
    """Commands that tests start are no workers of this run, where it has some.

    pytest-benchmark measures nothing where it takes itself for one.
    """
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("PYTEST_XDIST")]:
            patch.delenv(name)
        yield


@pytest.fixture(scope="session")
def nested_loops() -> bytes:
    """A module of 60 KB that takes the compilers of wasmtime and wasmer more than a minute."""
    depth = 20_000
    body = b"\0" + b"\x03\x40" * depth + b"\x0b" * (depth + 1)

    def sized(content: bytes) -> bytes:
        size = len(content)  # three groups of seven bits hold it
        return bytes((size & 0x7F | 0x80, size >> 7 & 0x7F | 0x80, size >> 14)) + content

    types, functions = b"\1\4\1\x60\0\0", b"\3\2\1\0"
    return b"\0asm\1\0\0\0" + types + functions + b"\x0a" + sized(b"\1" + sized(body))
