"""How the events of a gRPC call reach its guest."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from anywasm.abi.calls import MESSAGE_COST
from anywasm.abi.enums import MapType
from anywasm.abi.pairs import Pair

if TYPE_CHECKING:
    from anywasm.abi.callouts import Callouts
    from anywasm.abi.context import RootContext

#: The gRPC status where too much waits for the guest.
_RESOURCE_EXHAUSTED = 8


class GuestGrpcEvents:
    """`GrpcEvents` that brings each event to the guest, in order.

    Args:
        callouts: Where the call is known.
        root: Who asked.
        id: The call.
        streaming: Whether it is a stream, which is read only while the guest keeps up.
    """

    def __init__(self, callouts: Callouts, root: RootContext, id: int, *, streaming: bool) -> None:
        self._callouts = callouts
        self._root = root
        self._id = id
        self._streaming = streaming

    def _post(self, job: Callable[[], None]) -> None:
        self._root.guest.post(job)

    @property
    def full(self) -> bool:
        """See `GrpcEvents.full`."""
        return self._callouts.inbox.full

    def on_initial_metadata(self, metadata: tuple[Pair, ...]) -> None:
        """See `GrpcEvents.on_initial_metadata`."""
        kind = MapType.GRPC_CALL_INITIAL_METADATA
        self._post(lambda: self._callouts.grpc_metadata(self._root, self._id, kind, metadata))

    def on_message(self, message: bytes) -> None:
        """See `GrpcEvents.on_message`."""
        inbox, size = self._callouts.inbox, len(message) + MESSAGE_COST
        if self._streaming:
            inbox.put_anyway(self._id, size)
        elif not inbox.put(self._id, size):
            self.on_close(_RESOURCE_EXHAUSTED, "too much waits for the guest")
            return
        self._post(lambda: self._callouts.grpc_message(self._root, self._id, message))

    def on_trailing_metadata(self, metadata: tuple[Pair, ...]) -> None:
        """See `GrpcEvents.on_trailing_metadata`."""
        kind = MapType.GRPC_CALL_TRAILING_METADATA
        self._post(lambda: self._callouts.grpc_metadata(self._root, self._id, kind, metadata))

    def on_close(self, status: int, message: str) -> None:
        """See `GrpcEvents.on_close`."""
        self._post(lambda: self._callouts.grpc_closed(self._root, self._id, status, message))
