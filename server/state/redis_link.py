"""Connections to one Redis or Valkey server, for threads that wait for its answers."""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from anywasm.core.errors import ConfigError, StateStoreError
from anywasm.server.state.redis_options import RedisOptions

if TYPE_CHECKING:
    from anywasm.server.state.redis_wire import RedisWire

T = TypeVar("T")

#: Sends one command and returns its answer.
Ask = Callable[..., Any]


class Script:
    """A Lua script, which the server runs at one go."""

    def __init__(self, text: str) -> None:
        self.text = text.encode()
        self.sha = hashlib.sha1(self.text, usedforsecurity=False).hexdigest()


class RedisLink:
    """Thread-safe; a connection serves one thread at a time.

    It connects when it is first asked, keeps as many connections as it was asked by threads at
    once, and connects again by itself after the server was away. It is for one process: a child
    process opens its own.

    Args:
        what: What it is for, in messages.
        options: Where the server is.

    Raises:
        ConfigError: When redis-py is missing, or the URL is not understood.
    """

    def __init__(self, what: str, options: RedisOptions) -> None:
        try:
            import redis
            from redis.backoff import NoBackoff
            from redis.connection import parse_url
            from redis.retry import Retry

            from anywasm.server.state import redis_wire
            from anywasm.server.state.redis_deadline import with_deadline
        except ImportError:
            raise ConfigError(
                "the type redis needs redis-py, which is not installed: "
                "pip install 'anywasm[redis]'"
            ) from None
        self.errors = redis.exceptions
        self._wire = redis_wire.RedisWire
        self._what = what
        #: Seconds for all of a piece of work.
        self.timeout = options.timeout
        self._idle: deque[RedisWire] = deque()
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
            tried = self.connection(self.timeout)
            self._deadlined = with_deadline(self._class)
        except (ValueError, TypeError, redis.RedisError):
            # Not the reason: the parser's words may repeat a part of the password.
            raise ConfigError(
                "url: is not understood; special characters of a password must be percent-encoded"
            ) from None
        #: Whether an event loop can take connected sockets over, and read answers.
        self.hands_over = (
            redis_wire.hiredis is not None
            and hasattr(tried, "_sock")
            and not isinstance(tried, redis.SSLConnection)
        )
        path = self._settings.get("path")
        host = self._settings.get("host", "localhost")
        self._place = path or f"{host}:{self._settings.get('port', 6379)}"

    def run(self, timeout: float, work: Callable[[Ask], T], *, again: bool) -> T:
        """Do some work over one connection.

        Args:
            timeout: Seconds for all of it, connecting included; the link's own when that is less.
            work: Called with what sends a command and returns the answer.
            again: Whether it may be done a second time, when the connection broke the first time.

        Raises:
            StateStoreError: When the server cannot be reached, refuses, or takes too long.
        """
        if self._closed:
            raise self.closed_error()
        deadline = time.monotonic() + min(timeout, self.timeout)
        errors = self.errors
        try:
            try:
                return self._run(work, deadline, sure=not again)
            except (errors.AuthenticationError, errors.BusyLoadingError):
                raise
            except errors.ConnectionError:
                # The server may have been restarted, which ends all connections to it.
                self._disconnect()
                if not again:
                    raise
                return self._run(work, deadline, sure=True)
        except (errors.RedisError, OSError, ValueError) as error:
            raise self.translate(error) from None

    def translate(self, error: Exception) -> StateStoreError:
        """What redis-py, or the system, raised, in this project's words."""
        if isinstance(error, self.errors.TimeoutError):
            return self._error("took too long")
        if isinstance(error, self.errors.AuthenticationError):
            return self._error("refused the user name or password")
        return self._error(str(error))

    def script(self, timeout: float, script: Script, keys: list[str], *values: Any) -> Any:
        """Run a script; not a second time, since it may have been run when the connection broke.

        Raises:
            StateStoreError: As `run`.
        """

        def work(ask: Ask) -> Any:
            rest = (len(keys), *keys, *values)
            try:
                return ask(b"EVALSHA", script.sha, *rest)
            except self.errors.NoScriptError:
                return ask(b"EVAL", script.text, *rest)

        return self.run(timeout, work, again=False)

    def close(self) -> None:
        """Close the connections; one that is in use, once its answer is there."""
        self._closed = True
        self._disconnect()

    def connection(self, timeout: float) -> Any:
        """A connection of the caller's own, not connected yet."""
        settings = {"socket_timeout": timeout, "socket_connect_timeout": timeout}
        return self._class(**{**self._settings, **settings})

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._closed

    def closed_error(self) -> StateStoreError:
        """What is told to whoever asks after that."""
        return StateStoreError(f"{self._what} is closed")

    def _error(self, reason: str) -> StateStoreError:
        return StateStoreError(f"{self._what} ({self._place}): {reason}")

    def _run(self, work: Callable[[Ask], T], deadline: float, *, sure: bool) -> T:
        wire = self._take(deadline, sure=sure)

        def ask(*command: Any) -> Any:
            return wire.ask(deadline, command)

        try:
            result = work(ask)
        except BaseException:
            wire.close()
            raise
        if wire.in_step:
            self._idle.append(wire)
        else:
            wire.close()
        if self._closed:
            self._disconnect()
        return result

    def _take(self, deadline: float, *, sure: bool) -> RedisWire:
        """An idle connection, or a new one.

        Args:
            deadline: Until when to connect.
            sure: Whether to look first if the server has closed it meanwhile. Who may try again
                finds that out for less.
        """
        while self._idle:
            try:
                wire = self._idle.pop()
            except IndexError:
                break
            if not sure or wire.alive:
                return wire
            wire.close()
        return self.open(deadline)

    def open(self, deadline: float) -> RedisWire:
        """A new connection, which is the caller's; it waits for the server.

        Args:
            deadline: The `time.monotonic` second by which it must be there.

        Raises:
            redis.RedisError, OSError: When it is not.
        """
        return self._wire(self._deadlined(**self._settings), deadline)

    def _disconnect(self) -> None:
        while self._idle:
            try:
                self._idle.pop().close()
            except IndexError:
                return
