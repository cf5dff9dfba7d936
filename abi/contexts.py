"""The contexts of one guest: which of them live, and how they begin and end.

Every request makes one and ends it. Where there was a compiler at installation, `_contexts.h` does
that in the class's place; whatever is not a stream, or has a deadline of its own, it has the class
below do.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from anywasm.abi.context import Context, RootContext, StreamContext, StreamDriver
from anywasm.abi.enums import Status
from anywasm.abi.native import native

if TYPE_CHECKING:
    from anywasm.abi.guest import Guest
    from anywasm.abi.stream_info import StreamInfo

_monotonic = time.monotonic


class _Common:
    """What is the same with and without the extension."""

    __slots__ = ()

    guest: Guest
    living: dict[int, Context]
    ending: dict[int, Context | None]
    last_id: int

    def get(self, id: int) -> Context | None:
        """The living context of that number."""
        return self.living.get(id)

    def new_id(self) -> int:
        """A number that no context of this guest ever had."""
        self.last_id += 1  # type: ignore[misc] # a slot of the class below
        return self.last_id

    def streams(self) -> list[StreamContext]:
        """The living streams."""
        return [found for found in self.living.values() if isinstance(found, StreamContext)]

    def done(self, context: Context) -> Status | None:
        """`proxy_done`: the guest has no more need of a context that it kept."""
        if self.ending.get(context.id) is not context:
            return Status.NOT_FOUND
        self.guest.deferred.append(lambda: self.finish(context))
        return None

    def finish(self, context: Context) -> None:
        """Log and delete a context that the guest is done with."""
        raise NotImplementedError

    def allow_end(self, stream: StreamContext) -> None:
        """Cleaning up is owed to the guest even when the stream ran out of time."""
        if stream.deadline != math.inf:
            stream.deadline = max(stream.deadline, _monotonic() + self.guest.limits.call)

    def forget(self, context: Context) -> None:
        """Let go of a context, whatever the guest thinks of it."""
        if isinstance(context, RootContext):
            # Guests trap when told about roots that they deleted.
            self.guest.callouts.cancel(context)
        self.living.pop(context.id, None)
        self.ending.pop(context.id, None)


class Contexts(_Common):
    """The contexts of one guest. Used by the thread that uses the guest.

    Attributes:
        guest: The guest.
        living: The contexts by their number.
        ending: What waits for `proxy_done`; None stands for what is being logged and deleted.
        last_id: The highest number that was given.
    """

    __slots__ = ("ending", "guest", "last_id", "living")

    def __init__(self, guest: Guest) -> None:
        self.guest = guest
        self.living = {}
        self.ending = {}
        self.last_id = 0

    def create_stream(
        self,
        root: RootContext,
        deadline: float | None = None,
        chain: tuple[str, ...] = (),
        info: StreamInfo | None = None,
        driver: StreamDriver | None = None,
    ) -> StreamContext:
        """See `Guest.create_stream`."""
        guest = self.guest
        if deadline is None:
            deadline = _monotonic() + guest.limits.start
        number = self.new_id()
        stream = self.living[number] = StreamContext(
            guest, number, root, deadline, chain, info, driver
        )
        create = guest.callbacks.on_context_create
        if create is not None:
            try:
                guest.call(stream, create, number, root.id)
            except BaseException:
                del self.living[number]  # nobody will end what the guest does not know
                raise
        return stream

    def end(self, context: Context) -> None:
        """See `Guest.end`."""
        number = context.id
        if self.living.get(number) is not context or number in self.ending:
            return
        if isinstance(context, StreamContext):
            self.allow_end(context)
        elif isinstance(context, RootContext):
            context.close()
        guest = self.guest
        on_done = guest.callbacks.on_done
        done = True
        self.ending[number] = context
        try:
            if on_done is not None and guest.failed is None:
                done = guest.call(context, on_done, number)
            if done:
                self.finish(context)
        except BaseException:
            self.forget(context)
            raise
        finally:
            if isinstance(context, StreamContext):
                context.driver = None

    def finish(self, context: Context) -> None:
        """Log and delete a context that the guest is done with; nothing where that was done."""
        number = context.id
        if self.ending.get(number) is not context:
            return
        self.ending[number] = None
        guest = self.guest
        callbacks = guest.callbacks
        try:
            if isinstance(context, StreamContext):
                self.allow_end(context)
                if callbacks.on_log is not None and guest.failed is None:
                    guest.call(context, callbacks.on_log, number)
            if callbacks.on_delete is not None and guest.failed is None:
                guest.call(context, callbacks.on_delete, number)
        finally:
            self.forget(context)


if native is not None:

    class NativeContexts(native.Contexts, _Common):  # type: ignore[name-defined, misc]
        """As `Contexts`, in C."""

        __slots__ = ()
