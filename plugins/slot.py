"""One instance of a plugin, as its pool keeps it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from anywasm.abi.context import RootContext
from anywasm.abi.guest import Guest
from anywasm.plugins.home import Home


class Slot:
    """One instance: the guest, its root context, and where it runs.

    Attributes:
        guest: The guest.
        root: The plugin's root context in it.
        home: Where it runs.
        call: The guest's, as all of these: finding them there takes longer.
        create_stream: The guest's.
        end_stream: The guest's `end`.
        request: The guest's callbacks for a request's headers, body and trailers.
        response: Those for a response's.
        leave: For an instance that is shared: ends only this plugin's part; True when nobody else
            uses the guest, which is closed then.
        streams: Streams that are bound to it, running or paused.
        wanted: How many of them are waiting to lease it again.
        noted: Whether the pool knows that it has broken.
    """

    __slots__ = (
        "call",
        "create_stream",
        "end_stream",
        "guest",
        "home",
        "leave",
        "noted",
        "request",
        "response",
        "root",
        "streams",
        "wanted",
    )

    def __init__(
        self,
        guest: Guest,
        root: RootContext,
        home: Home,
        leave: Callable[[Guest], bool] | None = None,
    ) -> None:
        self.guest = guest
        self.root = root
        self.home = home
        self.call: Callable[..., Any] = guest.call
        self.create_stream: Callable[..., Any] = guest.create_stream
        self.end_stream: Callable[..., Any] = guest.end
        self.request = guest.callbacks.request
        self.response = guest.callbacks.response
        self.leave = leave
        self.streams = 0
        self.wanted = 0
        self.noted = False

    def close(self) -> None:
        """Shut the guest down and free it, where it lives."""
        try:
            self.home.run(self._close)
        finally:
            self.home.close()

    def _close(self) -> None:
        if self.leave is None or self.leave(self.guest):
            self.guest.close()
        else:
            self.guest.end(self.root)
