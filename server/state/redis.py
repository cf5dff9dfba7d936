"""State in Redis or Valkey."""

from __future__ import annotations

import time
from collections import deque
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from anywasm.core.errors import ConfigError, StateStoreError
from anywasm.plugins.config.model import Model
from anywasm.plugins.config.units import Timeout

_SCHEMES = ("redis://", "rediss://", "unix://")
#: The field of a hash in which Dapr, and Layotto with it, saves a value.
_HASH_FIELD = b"data"


def _is_redis(url: str) -> str:
    if not url.startswith(_SCHEMES):
        raise ValueError(f"must start with one of {', '.join(_SCHEMES)}")
    return url


class RedisOptions(Model):
    """Options of the type `redis`."""

    url: Annotated[str, AfterValidator(_is_redis)] = Field(repr=False)
    """`redis://[[user]:password@]host[:port][/db]`, `rediss://` for TLS, `unix:///path`."""
    timeout: Timeout = 1.0
    """How long one read may take, connecting included."""
    key_prefix: str = ""
    """Put before each key that a guest asks for."""


class RedisStateStore:
    """Reads keys of a Redis server. Thread-safe; a connection serves one thread at a time.

    It connects when it is first asked, keeps as many connections as it was asked by threads at
    once, and connects again by itself after the server was away. It is for one process: a child
    process opens its own.

    A key may hold a string, or a hash as Dapr's and Layotto's state API writes it; of a hash the
    field `data` is the value.
    """

    def __init__(self, name: str, options: RedisOptions) -> None:
        try:
            import redis
            from redis.backoff import NoBackoff
            from redis.connection import parse_url
            from redis.retry import Retry
        except ImportError:
            raise ConfigError(
                "the type redis needs redis-py, which is not installed: "
                "pip install 'anywasm[redis]'"
            ) from None
        self._redis = redis
        self._name = name
        self._prefix = options.key_prefix.encode()
        self._timeout = options.timeout
        self._idle: deque[Any] = deque()
        self._closed = False
        try:
            self._settings: dict[str, Any] = parse_url(options.url)  # type: ignore[no-untyped-call]
            self._class: Any = self._settings.pop("connection_class", redis.Connection)
            # Here each call has its own deadline and makes its own second attempt.
            self._settings |= {
                "decode_responses": False,
                "health_check_interval": 0,
                "protocol": 2,
                "retry": Retry(NoBackoff(), 0),
            }
            self._connection(self._timeout)
        except (ValueError, TypeError, redis.RedisError):
            # Not the reason: the parser's words may repeat a part of the password.
            raise ConfigError(
                "url: is not understood; special characters of a password must be percent-encoded"
            ) from None
        path = self._settings.get("path")
        host = self._settings.get("host", "localhost")
        self._place = path or f"{host}:{self._settings.get('port', 6379)}"

    def get(self, key: bytes, timeout: float) -> bytes | None:
        """The value of `key`, or None where there is none.

        Args:
            key: Without the prefix of the store.
            timeout: Seconds for the answer, connecting included; the store's own timeout when that
                is less. A server that stops in the middle of an answer may take it twice.

        Raises:
            StateStoreError: When the server cannot be reached, refuses, or takes too long.
        """
        if self._closed:
            raise StateStoreError(f"state store {self._name!r} is closed")
        deadline = time.monotonic() + min(timeout, self._timeout)
        errors = self._redis.exceptions
        try:
            try:
                return self._get(self._prefix + key, deadline)
            except (errors.AuthenticationError, errors.BusyLoadingError):
                raise
            except errors.ConnectionError:
                # The server may have been restarted, which ends all connections to it.
                self._disconnect()
                return self._get(self._prefix + key, deadline)
        except errors.TimeoutError:
            raise self._error("took too long") from None
        except errors.AuthenticationError:
            raise self._error("refused the user name or password") from None
        except (errors.RedisError, OSError, ValueError) as error:
            raise self._error(str(error)) from None

    def close(self) -> None:
        """Close the connections; one that is in use, once its answer is there."""
        self._closed = True
        self._disconnect()

    def _error(self, reason: str) -> StateStoreError:
        return StateStoreError(f"state store {self._name!r} ({self._place}): {reason}")

    def _get(self, key: bytes, deadline: float) -> bytes | None:
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._connection(self._left(deadline))
        try:
            connection.connect()
            try:
                value: bytes | None = self._ask(connection, deadline, b"GET", key)
            except self._redis.ResponseError as error:
                if not str(error).startswith("WRONGTYPE"):
                    raise
                value = self._ask(connection, deadline, b"HGET", key, _HASH_FIELD)
        except BaseException:
            connection.disconnect()
            raise
        self._idle.append(connection)
        if self._closed:
            self._disconnect()
        return value

    def _ask(self, connection: Any, deadline: float, *command: bytes) -> Any:
        connection.send_command(*command)
        if not connection.can_read(timeout=self._left(deadline)):
            raise self._redis.TimeoutError
        return connection.read_response()

    def _connection(self, timeout: float) -> Any:
        settings = {"socket_timeout": timeout, "socket_connect_timeout": timeout}
        return self._class(**{**self._settings, **settings})

    def _left(self, deadline: float) -> float:
        left = deadline - time.monotonic()
        if left <= 0:
            raise self._redis.TimeoutError
        return left

    def _disconnect(self) -> None:
        while self._idle:
            try:
                self._idle.pop().disconnect()
            except IndexError:
                return
