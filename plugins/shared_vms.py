"""VMs that several filters share, as Envoy does by `vm_id`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TypeVar

from anywasm.abi.guest import Guest
from anywasm.plugins.home import Home

T = TypeVar("T")


@dataclass(eq=False, slots=True)
class SharedVm:
    """A guest, and the one place where all that share it call it.

    Attributes:
        guest: The guest.
        home: Where it runs.
        users: How many plugins live in it.
    """

    guest: Guest
    home: Home
    users: int = 0


class SharedHome(Home):
    """A shared VM's home, for one of its users: it closes with the last of them."""

    def __init__(self, vm: SharedVm) -> None:
        self._vm = vm

    def run(self, job: Callable[[], T]) -> T:
        """Run `job` where the guest lives, and wait for it."""
        return self._vm.home.run(job)

    def post(self, job: Callable[[], None]) -> None:
        """Run `job` where the guest lives, without waiting."""
        self._vm.home.post(job)

    def close(self) -> None:
        """Run nothing more, once nobody uses the guest."""
        if not self._vm.users:
            self._vm.home.close()


class SharedVms:
    """VMs by what they are made of. Thread-safe.

    Plugins with equal `vm_id`, module and VM configuration live in one guest, each with a root
    context of its own; the last to leave closes it. A guest that has failed is not shared further.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._vms: dict[Hashable, SharedVm] = {}

    def has(self, key: Hashable) -> bool:
        """Whether there is a working VM for `key`."""
        with self._lock:
            return self._living(key) is not None

    def _living(self, key: Hashable) -> SharedVm | None:
        vm = self._vms.get(key)
        return None if vm is None or vm.guest.failed is not None else vm

    def enter(self, key: Hashable, make: Callable[[], SharedVm]) -> SharedVm:
        """The VM for `key`, made if need be. Leave it with `leave`.

        Raises:
            AnyWasmError: What `make` raises.
        """
        with self._lock:
            vm = self._living(key)
            if vm is not None:
                vm.users += 1
                return vm
        # Not under the lock: it may take long, and need a thread that waits for the lock.
        made = make()
        with self._lock:
            vm = self._living(key)
            if vm is None:
                vm = self._vms[key] = made
            vm.users += 1
        if vm is not made:  # somebody else was faster
            made.home.run(made.guest.close)
            made.home.close()
        return vm

    def leave(self, vm: SharedVm) -> bool:
        """Note that a user has gone; True when it was the last, who must close the guest."""
        with self._lock:
            vm.users -= 1
            if vm.users:
                return False
            for key in [key for key, value in self._vms.items() if value is vm]:
                del self._vms[key]
            return True
