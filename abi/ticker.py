"""A root context's tick (`proxy_set_tick_period_milliseconds`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anywasm.abi.enums import Status

if TYPE_CHECKING:
    from anywasm.abi.calls import Cancellable
    from anywasm.abi.context import RootContext


class RootTicker:
    """Calls `proxy_on_tick` over and over; the next period begins once a tick has been handled."""

    __slots__ = ("_period", "_root", "_timer")

    def __init__(self, root: RootContext) -> None:
        self._root = root
        self._period = 0.0
        self._timer: Cancellable | None = None

    def set(self, milliseconds: int) -> Status | None:
        """Change the period; 0 stops. INTERNAL_FAILURE on a host without timers."""
        timers = self._root.guest.services.timers
        if timers is None:
            return Status.INTERNAL_FAILURE if milliseconds else None
        self._stop()
        self._period = milliseconds / 1000
        self._arm()
        return None

    def _arm(self) -> None:
        timers = self._root.guest.services.timers
        if self._period and timers is not None:
            self._timer = timers.call_later(self._period, self._due)

    def _stop(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _due(self) -> None:
        self._root.guest.post(self._tick)

    def _tick(self) -> None:
        guest = self._root.guest
        if not self._period or guest.failed is not None:
            return
        self._timer = None
        try:
            if guest.callbacks.on_tick is not None:
                guest.call(self._root, guest.callbacks.on_tick, self._root.id)
        finally:
            if self._timer is None and guest.failed is None:
                self._arm()

    def close(self) -> None:
        """Tick no more."""
        self._period = 0.0
        self._stop()
