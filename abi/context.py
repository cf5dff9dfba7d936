"""Contexts: what a guest's calls are about. One per plugin (root), one per stream."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from anywasm.abi.buffer import MAX_BUFFER, Buffer
from anywasm.abi.enums import BufferType, LogLevel, MapType, Status, StreamType
from anywasm.abi.headers import HeaderMap
from anywasm.abi.pairs import Pair
from anywasm.abi.plugin import PluginIdentity
from anywasm.abi.stream_info import StreamInfo
from anywasm.abi.ticker import RootTicker

if TYPE_CHECKING:
    from anywasm.abi.guest import Guest

#: Pieces of body that a guest may inject before its stream is driven on.
MAX_INJECTED = 1024

#: What streams begin with: a set that cannot be changed, so that all of them share it.
NO_DIRECTION: frozenset[StreamType] = frozenset()

_MAPS, _BUFFERS = len(MapType), len(BufferType)


class Context:
    """What host functions act on. This base class serves before any root context exists.

    Attributes:
        guest: The guest it lives in.
        id: Its number, unique in the guest and never reused; 0 for the base context.
        plugin: The plugin it works for.
        maps: The header maps by `MapType`; None where one is not available now.
        buffers: The buffers by `BufferType`; None where one is not available now.
        deadline: The `time.monotonic` second by which its work must be done.
    """

    __slots__ = ("__weakref__", "buffers", "deadline", "guest", "id", "maps", "plugin")

    def __init__(self, guest: Guest, id: int, plugin: PluginIdentity) -> None:
        self.guest = guest
        self.id = id
        self.plugin = plugin
        self.maps: list[HeaderMap | None] = [None] * _MAPS
        self.buffers: list[Buffer | None] = [None] * _BUFFERS
        self.deadline = math.inf

    @property
    def root(self) -> Context:
        """The root context that calls out for this one; itself unless this is a stream."""
        return self

    @property
    def chain(self) -> tuple[str, ...]:
        """The ids of the functions that wait for this one, itself last."""
        return ()

    def upstream_hosts(self) -> bytes | None:
        """The hosts of the stream's cluster, as pairs (Higress); None where there are none."""
        return None

    def log(self, level: LogLevel, message: str) -> None:
        """Log on behalf of the guest, if the host keeps lines of that level."""
        if level >= self.guest.services.log_level:
            self.guest.services.log(level, self.plugin.name, message)


class RootContext(Context):
    """The context of a plugin in a guest, made by `Guest.create_root`.

    Attributes:
        status: Code and message of the last gRPC call's end (`proxy_get_status`).
        ticker: Its ticks.
    """

    __slots__ = ("status", "ticker")

    def __init__(self, guest: Guest, id: int, plugin: PluginIdentity) -> None:
        super().__init__(guest, id, plugin)
        self.status = (0, b"")
        self.ticker = RootTicker(self)

    def queue_ready(self, token: int) -> None:
        """Tell the guest of a new item in a queue of this plugin; from any thread."""
        self.guest.post(lambda: self._on_queue_ready(token))

    def _on_queue_ready(self, token: int) -> None:
        callback = self.guest.callbacks.on_queue_ready
        if callback is not None and self.guest.failed is None:
            self.guest.call(self, callback, self.id, token)

    def close(self) -> None:
        """Tick no more, and listen to no queue."""
        self.ticker.close()
        self.guest.services.shared_queues.forget(self.queue_ready)


@dataclass(frozen=True, slots=True)
class LocalResponse:
    """An answer that the guest gives itself (`proxy_send_local_response`).

    Attributes:
        status: The HTTP status.
        details: Why, for the log (property `response.code_details`).
        body: The body.
        headers: Additional headers.
        grpc_status: The gRPC status, or None.
    """

    status: int
    details: bytes
    body: bytes
    headers: tuple[Pair, ...]
    grpc_status: int | None


class StreamDriver(Protocol):
    """Who drives a stream, as its guest's host functions see him."""

    def notify(self) -> None:
        """Look at the stream: a call for another one, which has ended, has asked for something.

        Called by the thread that uses the guest; must be quick.
        """

    def upstream_hosts(self) -> bytes | None:
        """The hosts of the stream's cluster, as pairs (Higress); None where it has no cluster."""


class StreamContext(Context):
    """One HTTP stream in a guest, driven by whoever made it with `Guest.create_stream`.

    The driver makes maps and buffers available, calls the guest through `Guest.call`, and looks at
    what the guest asked for afterwards: nothing is done inside a guest call.

    Attributes:
        info: What its guest may ask about it (`proxy_get_property`).
        local_response: The answer that the guest wants to give, or None.
        continued: The directions that the guest wants to go on.
        closed: The directions that the guest wants to end.
        responding: Whether the response has begun, so that it can be continued.
        injected: Pieces of body that the guest wants behind what it passed on (Higress): direction,
            bytes, whether they are the last.
        override_host: The host of the cluster that the guest has chosen (Higress).
        acted: Whether the guest has asked for something that its driver has yet to look at.
        driver: Who drives it, while that one wants to hear of it.
    """

    __slots__ = (
        "_chain",
        "_root",
        "acted",
        "closed",
        "continued",
        "driver",
        "info",
        "injected",
        "local_response",
        "override_host",
        "responding",
    )

    def __init__(
        self,
        guest: Guest,
        id: int,
        root: RootContext,
        deadline: float,
        chain: tuple[str, ...] = (),
        info: StreamInfo | None = None,
        driver: StreamDriver | None = None,
    ) -> None:
        # Not through super().__init__: one call less on every request.
        self.guest = guest
        self.id = id
        self.plugin = root.plugin
        self.maps = [None] * _MAPS
        self.buffers = [None] * _BUFFERS
        self.deadline = deadline
        self._root = root
        self._chain = chain
        self.info = StreamInfo() if info is None else info
        self.local_response: LocalResponse | None = None
        self.continued = NO_DIRECTION
        self.closed = NO_DIRECTION
        self.injected: tuple[tuple[StreamType, bytes, bool], ...] = ()
        self.responding = False
        self.override_host: str | None = None
        self.acted = False
        self.driver: StreamDriver | None = driver

    @property
    def root(self) -> RootContext:
        """The plugin's root context."""
        return self._root

    @property
    def chain(self) -> tuple[str, ...]:
        """The ids of the functions that wait for this one, itself last."""
        return self._chain

    def upstream_hosts(self) -> bytes | None:
        """See `StreamDriver.upstream_hosts`."""
        return None if self.driver is None else self.driver.upstream_hosts()

    def inject(self, direction: StreamType, body: bytes, last: bool) -> Status | None:
        """Note a piece of body that goes behind what the guest passes on (Higress).

        Returns:
            INTERNAL_FAILURE past `MAX_INJECTED` pieces or `MAX_BUFFER` bytes in one guest call.
        """
        held = sum(len(piece) for _, piece, _ in self.injected)
        if len(self.injected) >= MAX_INJECTED or held + len(body) > MAX_BUFFER:
            return Status.INTERNAL_FAILURE
        self.injected = (*self.injected, (direction, body, last))
        self.wake()
        return None

    def wake(self) -> None:
        """Have the driver look at it: after the running call, of another stream's by `notify`."""
        self.acted = True
        if self.guest.entered is not self:
            self.guest.woken.append(self)
