"""Calls that a guest makes to the outside, and what comes back, as Protocols and values.

Everything here is used on the thread that drives the guest (see `Guest.post`). A call that was
accepted ends with exactly one of its final callbacks, unless it was cancelled: then with none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from anywasm.abi.pairs import Pair

#: What a message that waits to be sent counts beside its bytes, so that empty ones are bounded too.
MESSAGE_COST = 256


class Cancellable(Protocol):
    """A call or timer under way."""

    def cancel(self) -> None:
        """End it; nothing is called back any more. Idempotent, and harmless when it has ended."""


class Timers(Protocol):
    """A clock that calls back."""

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Cancellable:
        """Call `callback` once, after `seconds`, from any thread."""


# --- HTTP ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class HttpCall:
    """One `proxy_http_call`.

    Attributes:
        cluster: The upstream's name.
        headers: With `:method`, `:path` and `:authority`.
        body: The body.
        trailers: The trailers.
        timeout: Seconds, or None for no timeout of its own.
    """

    cluster: str
    headers: tuple[Pair, ...]
    body: bytes
    trailers: tuple[Pair, ...]
    timeout: float | None


@dataclass(frozen=True, slots=True)
class HttpCallResponse:
    """What the guest reads in `proxy_on_http_call_response`.

    A failure is a response too, as in Envoy: 504 `upstream request timeout`, or 503
    `upstream connect error or disconnect/reset before headers...`.

    Attributes:
        headers: With `:status`.
        body: The whole body.
        trailers: The trailers.
    """

    headers: tuple[Pair, ...]
    body: bytes = b""
    trailers: tuple[Pair, ...] = ()


class HttpCaller(Protocol):
    """Makes HTTP calls to named clusters."""

    def call(
        self, call: HttpCall, on_response: Callable[[HttpCallResponse], None]
    ) -> Cancellable | None:
        """Begin a call.

        Args:
            call: The call.
            on_response: Called once, later, from any thread; never from inside this method.

        Returns:
            The call, or None where there is no such cluster.
        """


# --- gRPC ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class GrpcTarget:
    """The method of a gRPC call.

    Attributes:
        upstream: As the guest gave it: a cluster's name, or Envoy's serialized `GrpcService`.
        service: The full service name.
        method: The method name.
        metadata: The initial metadata.
        time_left: Seconds that who waits for it has left; None where nothing bounds that.
    """

    upstream: bytes
    service: str
    method: str
    metadata: tuple[Pair, ...]
    time_left: float | None = None


class GrpcEvents(Protocol):
    """Told about a gRPC call. Called later, from any thread; never from inside the caller."""

    @property
    def full(self) -> bool:
        """Whether so much waits for the guest that a stream should not be read for now."""

    def on_initial_metadata(self, metadata: tuple[Pair, ...]) -> None:
        """The server's initial metadata (streams only)."""

    def on_message(self, message: bytes) -> None:
        """One message; for a unary call this ends it, with success."""

    def on_trailing_metadata(self, metadata: tuple[Pair, ...]) -> None:
        """The server's trailing metadata (streams only)."""

    def on_close(self, status: int, message: str) -> None:
        """The end: of a stream in any case, of a unary call where it failed."""


class GrpcStream(Cancellable, Protocol):
    """A gRPC stream under way."""

    @property
    def unsent(self) -> int:
        """Bytes of messages that wait to be sent, each with `MESSAGE_COST`; from any thread."""

    def send(self, message: bytes, end_stream: bool) -> None:
        """Send a message; with `end_stream` it is the last."""

    def half_close(self) -> None:
        """Send nothing more; what the server sends still comes."""


class GrpcCaller(Protocol):
    """Makes gRPC calls.

    Both methods return None where the upstream cannot be understood or is not configured. Nothing
    takes longer than the target's `time_left`, a stream as a whole neither.
    """

    def call(
        self, target: GrpcTarget, message: bytes, timeout: float | None, events: GrpcEvents
    ) -> Cancellable | None:
        """Begin a unary call; `timeout` in seconds, None for none."""

    def stream(self, target: GrpcTarget, events: GrpcEvents) -> GrpcStream | None:
        """Open a stream."""


# --- Redis (Higress) -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RedisServer:
    """What a guest says about a Redis cluster in `proxy_redis_init`.

    Attributes:
        cluster: The upstream's name.
        username: Empty for none.
        password: Empty for none.
        database: The number of the database.
        timeout: Seconds for a call.
    """

    cluster: str
    username: str
    password: str
    database: int
    timeout: float


class RedisCaller(Protocol):
    """Sends RESP commands to named clusters."""

    def configure(self, server: RedisServer, *, owner: str = "") -> bool:
        """Take a plugin's settings for a cluster; False where there is no such cluster.

        Args:
            server: The settings.
            owner: The plugin's name; other plugins may have other settings for the cluster.
        """

    def call(
        self,
        cluster: str,
        query: bytes,
        on_response: Callable[[int, bytes], None],
        *,
        owner: str = "",
        time_left: float | None = None,
    ) -> Cancellable | None:
        """Send one command.

        Args:
            cluster: The upstream's name, configured by `owner` before.
            query: The command as RESP, exactly as it goes over the wire.
            on_response: Called once, later, from any thread, with a status (0 for success) and the
                answer as RESP.
            owner: The plugin's name.
            time_left: Seconds after which nobody waits any more; None for the settings' timeout.

        Returns:
            The call, or None where the cluster is not configured.
        """
