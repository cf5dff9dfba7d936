"""Contexts: what a guest's calls are about. One per plugin (root), one per stream."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from anywasm.abi.buffer import Buffer
from anywasm.abi.enums import BufferType, LogLevel, MapType, StreamType
from anywasm.abi.headers import HeaderMap
from anywasm.abi.pairs import Pair
from anywasm.abi.plugin import PluginIdentity

if TYPE_CHECKING:
    from anywasm.abi.guest import Guest


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

    deadline = math.inf

    def __init__(self, guest: Guest, id: int, plugin: PluginIdentity) -> None:
        self.guest = guest
        self.id = id
        self.plugin = plugin
        self.maps: list[HeaderMap | None] = [None] * len(MapType)
        self.buffers: list[Buffer | None] = [None] * len(BufferType)

    @property
    def chain(self) -> tuple[str, ...]:
        """The ids of the functions that wait for this one, itself last."""
        return ()

    def log(self, level: LogLevel, message: str) -> None:
        """Log on behalf of the guest, if the host keeps lines of that level."""
        if level >= self.guest.services.log_level:
            self.guest.services.log(level, self.plugin.name, message)


class RootContext(Context):
    """The context of a plugin in a guest, made by `Guest.create_root`."""


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


class StreamContext(Context):
    """One HTTP stream in a guest, driven by whoever made it with `Guest.create_stream`.

    The driver makes maps and buffers available, calls the guest through `Guest.call`, and looks at
    what the guest asked for afterwards: nothing is done inside a guest call.

    Attributes:
        root: The plugin's root context.
        local_response: The answer that the guest wants to give, or None.
        continued: The directions that the guest wants to go on.
        closed: The directions that the guest wants to end.
        notify: Called, after the guest call, when another stream's call has asked something for
            this one; must be quick and thread-safe.
    """

    def __init__(
        self,
        guest: Guest,
        id: int,
        root: RootContext,
        deadline: float,
        chain: tuple[str, ...] = (),
    ) -> None:
        super().__init__(guest, id, root.plugin)
        self.root = root
        self.local_response: LocalResponse | None = None
        self.continued: set[StreamType] = set()
        self.closed: set[StreamType] = set()
        self.notify: Callable[[], None] | None = None
        self.deadline = deadline
        self._chain = chain

    @property
    def chain(self) -> tuple[str, ...]:
        """The ids of the functions that wait for this one, itself last."""
        return self._chain

    def wake(self) -> None:
        """Have `notify` called after the running guest call, unless the call is this stream's."""
        if self.guest.entered is not self:
            self.guest.woken.append(self)
