"""Redis calls of guests (Higress's `proxy_redis_init`, `proxy_redis_call`)."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

from anywasm.abi.calls import RedisServer
from anywasm.server.callouts.loop import soon
from anywasm.server.callouts.redis_client import RedisClient
from anywasm.server.callouts.redis_command import OK, RedisCommand
from anywasm.server.callouts.resp import command_words
from anywasm.server.upstream import UpstreamClusters

MAX_ANSWER_BYTES = 10 * 1024 * 1024

# Guests share connections, so nobody may change what it is, or what its answers
# are to the others' commands: they would get each other's.
_STATEFUL = frozenset(
    b"AUTH HELLO SELECT QUIT RESET MULTI EXEC DISCARD WATCH UNWATCH ASKING READONLY READWRITE "
    b"SUBSCRIBE PSUBSCRIBE SSUBSCRIBE UNSUBSCRIBE PUNSUBSCRIBE SUNSUBSCRIBE "
    b"MONITOR SYNC PSYNC REPLCONF SHUTDOWN".split()
)
# Nor may anybody make the others wait.
_BLOCKING = frozenset(
    b"BLPOP BRPOP BLMOVE BLMPOP BRPOPLPUSH BZPOPMIN BZPOPMAX BZMPOP WAIT WAITAOF".split()
)
_CLIENT = frozenset(b"REPLY TRACKING CACHING PAUSE".split())


class RedisCalls:
    """`RedisCaller` (`anywasm.abi.calls`) over one connection for all with the same settings.

    Calls begin from any thread; answers come on the loop's. A command reaches the server exactly
    as the guest wrote it, and the answer, an error of the server too, reaches the guest exactly as
    it came, with status 0. Without an answer the status is 2 and the answer empty: no connection,
    refused credentials, a lost connection, no answer in time, too many or too large ones. Guests
    built with Higress's wasm-go compare the status with 0 and nothing else.

    Settings are a plugin's: the last `configure` counts for all of its guests. A connection whose
    settings nobody has any more is closed after its last answer.

    Commands that change the shared connection (`SELECT`, `MULTI`, `SUBSCRIBE`...) or hold it up
    (`BLPOP`...) are answered with a RESP error here; scripts (`EVAL`) do what transactions would.

    Args:
        clusters: What may be called.
        loop: The event loop.
        max_answer_bytes: A longer answer is a failure, and ends the connection.
    """

    def __init__(
        self,
        clusters: UpstreamClusters,
        loop: asyncio.AbstractEventLoop,
        max_answer_bytes: int = MAX_ANSWER_BYTES,
    ) -> None:
        self._clusters = clusters
        self._loop = loop
        self._max_answer_bytes = max_answer_bytes
        #: What each plugin, by its name and the cluster's, has said.
        self._settings: dict[tuple[str, str], RedisServer] = {}
        self._clients: dict[RedisServer, RedisClient] = {}
        self._lock = threading.Lock()

    def configure(self, server: RedisServer, *, owner: str = "") -> bool:
        """Take a plugin's settings, without connecting yet; False for an unknown cluster.

        A timeout of 0 means `redis_client.DEFAULT_TIMEOUT`.
        """
        pool = self._clusters.get(server.cluster)
        if pool is None:
            return False
        with self._lock:
            before = self._settings.get((owner, server.cluster))
            self._settings[owner, server.cluster] = server
            if server not in self._clients:
                self._clients[server] = RedisClient(
                    self._loop, pool.cluster, server, self._max_answer_bytes
                )
            retiring = None
            if before is not None and before not in self._settings.values():
                retiring = self._clients.pop(before, None)
        if retiring is not None:
            soon(self._loop, retiring.retire)
        return True

    def call(
        self,
        cluster: str,
        query: bytes,
        on_response: Callable[[int, bytes], None],
        *,
        owner: str = "",
        time_left: float | None = None,
    ) -> RedisCommand | None:
        """Send one command; None also where `query` is not exactly one RESP command."""
        server = self._settings.get((owner, cluster))
        client = None if server is None else self._clients.get(server)
        words = command_words(query)
        if client is None or words is None:
            return None
        command = RedisCommand(self._loop, query, on_response)
        name, option = words
        if name in _STATEFUL or name in _BLOCKING or (name == b"CLIENT" and option in _CLIENT):
            refusal = b"-ERR %b is not allowed on a connection that guests share\r\n" % name
            soon(self._loop, lambda: command.finish(OK, refusal))
        else:
            soon(self._loop, lambda: client.send(command, time_left))
        return command

    async def close(self) -> None:
        """Close all connections; the commands under way fail. On the loop."""
        with self._lock:
            clients, self._clients = self._clients, {}
            self._settings = {}
        for client in clients.values():
            await client.close()
