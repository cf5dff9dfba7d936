"""What keeps a connection to the Redis behind a cluster."""

from __future__ import annotations

import asyncio
import logging
import ssl

from anywasm.abi.calls import RedisServer
from anywasm.core.errors import AnyWasmError
from anywasm.server.callouts.redis_command import FAILED, OK, RedisCommand
from anywasm.server.callouts.redis_connection import RedisConnection
from anywasm.server.callouts.resp import encode_command
from anywasm.server.upstream.cluster import Cluster
from anywasm.server.upstream.endpoints import Endpoints

_log = logging.getLogger("anywasm.server.callouts")

#: Seconds for a command where the guest has set none: without a bound a server that hangs would
#: hold all commands for ever.
DEFAULT_TIMEOUT = 5.0
# Seconds in which nothing is tried after a failed attempt: first, and at most.
_BACKOFF = 0.1, 5.0


class RedisRefusedError(AnyWasmError):
    """The server did not accept the user or the database."""


class RedisClient:
    """One connection with one user and database, made when it is needed. Used on the loop.

    Commands wait while it connects. When no endpoint of the cluster can be reached they fail, and
    those that come within the next moments fail at once.

    Args:
        loop: The loop.
        cluster: Where the server is.
        server: How to talk to it.
        max_answer_bytes: The longest answer, and how many unsent bytes may wait.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        cluster: Cluster,
        server: RedisServer,
        max_answer_bytes: int,
    ) -> None:
        self.server = server
        self._loop = loop
        self._cluster = cluster
        self._max_answer_bytes = max_answer_bytes
        self._endpoints = Endpoints(cluster.addresses)
        self._connection: RedisConnection | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._waiting: list[RedisCommand] = []
        self._failures = 0
        self._retry_at = 0.0
        self._retired = False

    def send(self, command: RedisCommand, time_left: float | None = None) -> None:
        """Send a command, now or once there is a connection.

        Args:
            command: The command.
            time_left: Seconds after which it fails, if that is sooner than the settings' timeout.
                The server is not held to that: it has not promised to be so quick.
        """
        if command.done:
            return
        connection = self._connection
        under_way = len(self._waiting) if connection is None else len(connection)
        if under_way >= self._cluster.max_pending or (
            connection is not None and connection.unsent > self._max_answer_bytes
        ):
            command.finish(FAILED)
            return
        timeout = self.server.timeout or DEFAULT_TIMEOUT
        if time_left is None or time_left >= timeout:
            command.expire_after(timeout, self._expired)
        else:
            command.expire_after(time_left, lambda late: late.finish(FAILED))
        if connection is not None:
            connection.send(command)
        elif self._connecting is not None:
            self._waiting.append(command)
        elif self._loop.time() < self._retry_at:
            command.finish(FAILED)
        else:
            self._waiting.append(command)
            self._connecting = self._loop.create_task(self._connect())

    def retire(self) -> None:
        """Take no more; close when everything is answered."""
        self._retired = True
        if self._connection is not None:
            self._connection.retire()

    async def close(self) -> None:
        """Close at once; the commands under way fail."""
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait([self._connecting])
        self._fail_waiting()
        if self._connection is not None:
            self._connection.end(None)

    def _expired(self, command: RedisCommand) -> None:
        command.finish(FAILED)
        if self._connection is not None:
            self._connection.expired(command)

    # --- connecting ------------------------------------------------------------------------------

    async def _connect(self) -> None:
        reason = ""
        try:
            for _ in range(len(self._endpoints)):
                endpoint = self._endpoints.pick(self._loop.time())
                try:
                    connection = await asyncio.wait_for(
                        self._open(endpoint), self._cluster.connect_timeout
                    )
                except (OSError, AnyWasmError, asyncio.TimeoutError) as error:
                    self._endpoints.failed(endpoint, self._loop.time())
                    reason = str(error) or "it takes too long"
                else:
                    self._endpoints.connected(endpoint)
                    self._connected(connection)
                    return
            self._failed(reason)
        finally:
            self._connecting = None

    async def _open(self, endpoint: tuple[str, int] | str) -> RedisConnection:
        tls = self._cluster.tls
        context: ssl.SSLContext | None = None
        if tls is not None:
            context = tls.context()
            context.set_alpn_protocols([])  # this is not HTTP
        name = None if tls is None else tls.server_name

        def protocol() -> RedisConnection:
            return RedisConnection(self._max_answer_bytes, self._ended)

        if isinstance(endpoint, str):
            _, connection = await self._loop.create_unix_connection(
                protocol, endpoint, ssl=context, server_hostname=name
            )
        else:
            _, connection = await self._loop.create_connection(
                protocol, *endpoint, ssl=context, server_hostname=name
            )
        try:
            await self._greet(connection)
        except BaseException:
            connection.end(None)
            raise
        return connection

    async def _greet(self, connection: RedisConnection) -> None:
        server = self.server
        if server.password:
            user = (server.username.encode(),) if server.username else ()
            await self._ask(connection, b"AUTH", *user, server.password.encode())
        if server.database:
            await self._ask(connection, b"SELECT", b"%d" % server.database)

    async def _ask(self, connection: RedisConnection, *words: bytes) -> None:
        future: asyncio.Future[tuple[int, bytes]] = self._loop.create_future()

        def answered(status: int, answer: bytes) -> None:
            if not future.done():
                future.set_result((status, answer))

        connection.send(RedisCommand(self._loop, encode_command(*words), answered))
        status, answer = await future
        if status != OK or answer.startswith(b"-"):
            # The first word only: what follows may repeat what was sent.
            code = answer[1:].split(None, 1)[0].decode(errors="replace") if answer else "no answer"
            raise RedisRefusedError(f"it refuses {words[0].decode()} ({code})")

    def _connected(self, connection: RedisConnection) -> None:
        if connection.closed:
            self._failed("it closes connections")
            return
        self._failures = 0
        self._connection = connection
        waiting, self._waiting = self._waiting, []
        for command in waiting:
            connection.send(command)
        if self._retired:
            connection.retire()

    def _failed(self, reason: str) -> None:
        if not self._failures:
            _log.warning("no connection to Redis of cluster %s: %s", self._cluster.name, reason)
        first, most = _BACKOFF
        self._retry_at = self._loop.time() + min(first * 2.0 ** min(self._failures, 16), most)
        self._failures += 1
        self._fail_waiting()

    def _fail_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        for command in waiting:
            command.finish(FAILED)

    def _ended(self, connection: RedisConnection, reason: str | None) -> None:
        if connection is self._connection:
            self._connection = None
            if reason is not None:
                _log.warning("the Redis of cluster %s was left: %s", self._cluster.name, reason)
