"""Keeps the signal handlers by which engines catch traps.

Engines that run native code catch SIGSEGV, SIGILL, SIGFPE and SIGBUS of guests, and hand on what is
none of theirs. `faulthandler.enable()` puts its own handlers above them, which take every trap for
a crash and end the process; `faulthandler.disable()` puts back what was before, without the
engines. But enabling it again changes nothing. So it is enabled before the first engine is made,
below the engines, and what it does later is undone when the next module is compiled or run.
"""

from __future__ import annotations

import ctypes
import faulthandler
import signal
import sys

_SIGNALS = (signal.SIGSEGV, signal.SIGILL, signal.SIGFPE, signal.SIGBUS)
#: More than any `struct sigaction` has; it begins with the handler's address.
_SIZE = 256
_STDERR = 2

Handlers = tuple[bytes, ...]


class TrapSignals:
    """The handlers of this process. On systems other than Linux they cannot be put back."""

    def __init__(self) -> None:
        self._below: frozenset[bytes] = frozenset()
        self._engines: Handlers = ()
        self._sigaction = None
        if sys.platform == "linux":
            self._sigaction = ctypes.CDLL(None).sigaction
            self._buffer = ctypes.create_string_buffer(_SIZE)

    def prepare(self) -> None:
        """Have faulthandler below the engine that is about to be made."""
        if not faulthandler.is_enabled():
            faulthandler.enable(file=_STDERR)
        if not self._engines and self._sigaction is not None:
            handlers = (self._get(number)[:8] for number in _SIGNALS)
            self._below = frozenset({bytes(8), *handlers})

    def remember(self) -> None:
        """Note the handlers of an engine that has made all of them."""
        if self._sigaction is not None:
            self._engines = tuple(map(self._get, _SIGNALS))

    def check(self) -> None:
        """`mend` where faulthandler is disabled, which is quick to see."""
        if not faulthandler.is_enabled():
            self.mend()

    def mend(self) -> None:
        """Put the engines' handlers back where only faulthandler's or none are left."""
        if self._engines and self._get(signal.SIGSEGV)[:8] in self._below:
            faulthandler.enable(file=_STDERR)
            for number, handler in zip(_SIGNALS, self._engines):
                if handler[:8] not in self._below:
                    self._set(number, handler)

    def _get(self, number: int) -> bytes:
        assert self._sigaction is not None
        self._sigaction(int(number), None, self._buffer)
        return self._buffer.raw

    def _set(self, number: int, handler: bytes) -> None:
        assert self._sigaction is not None
        self._sigaction(int(number), handler, None)


#: Signals are the process's.
trap_signals = TrapSignals()
