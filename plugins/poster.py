"""How answers, ticks and queue items reach a filter's guest."""

from __future__ import annotations

import threading
from collections.abc import Callable

from anywasm.abi.guest import Guest
from anywasm.plugins.home import Home

Job = Callable[[], None]


class Poster:
    """A guest's `poster`: runs jobs in its home, but none before the guest has started.

    A guest may be started in another thread than it lives in, and answers to what it asks while it
    is configured must not meet it there.

    Args:
        guest: The guest.
        home: Where it lives.
    """

    def __init__(self, guest: Guest, home: Home) -> None:
        self._guest = guest
        self._home = home
        self._lock = threading.Lock()
        self._held: list[Job] | None = []

    def __call__(self, job: Job) -> None:
        """Run `job` when the guest is free."""
        with self._lock:
            if self._held is not None:
                self._held.append(job)
                return
        self._home.post(lambda: self._guest.run_soon(job))

    def open(self) -> None:
        """The guest has started: run what has waited, and hold nothing back any more."""
        with self._lock:
            held, self._held = self._held or [], None
        for job in held:
            self(job)
