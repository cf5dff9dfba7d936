"""VMs that several filters share, as Envoy does by `vm_id`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable

from anywasm.abi.guest import Guest


class SharedVms:
    """Guests by what they are made of. Thread-safe.

    Plugins with equal `vm_id`, module and VM configuration live in one guest, each with a root
    context of its own; the last to leave closes it. A guest that has failed is not shared further.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._guests: dict[Hashable, Guest] = {}
        self._users: dict[Guest, int] = {}

    def enter(self, key: Hashable, make: Callable[[], Guest]) -> Guest:
        """The guest for `key`, made if need be. Leave it with `leave`."""
        with self._lock:
            guest = self._guests.get(key)
            if guest is None or guest.failed is not None:
                guest = self._guests[key] = make()
            self._users[guest] = self._users.get(guest, 0) + 1
            return guest

    def leave(self, guest: Guest) -> bool:
        """Note that a user has gone; True when it was the last, who must close the guest."""
        with self._lock:
            self._users[guest] -= 1
            if self._users[guest]:
                return False
            del self._users[guest]
            for key in [key for key, value in self._guests.items() if value is guest]:
                del self._guests[key]
            return True
