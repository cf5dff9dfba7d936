"""Leaving, yielding, waiting: a plugin does none of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anywasm.abi.enums import LogLevel
from anywasm.abi.table import Phase
from anywasm.abi.wasi.table import Errno, wasi_function

if TYPE_CHECKING:
    from anywasm.abi.guest import Guest


@wasi_function("proc_exit", "i", returns=False)
def proc_exit(guest: Guest, code: int) -> None:
    """Return to the guest, as Envoy does: a plugin cannot end its host."""
    guest.effective.log(LogLevel.DEBUG, f"the guest called proc_exit({code}), which does nothing")


@wasi_function("proc_raise", "i")
def proc_raise(guest: Guest, signal: int) -> int:
    """There are no signals."""
    return Errno.NOTSUP


@wasi_function("sched_yield", "")
def sched_yield(guest: Guest) -> int:
    """Nothing else runs in the guest."""
    return Errno.SUCCESS


@wasi_function("poll_oneoff", "iiii", phases=Phase.START | Phase.ALLOCATION)
def poll_oneoff(guest: Guest, subscriptions: int, events: int, count: int, stored_ptr: int) -> int:
    """No event ever comes, and waiting takes no time; Go's runtime needs the success."""
    guest.memory.write_u32(stored_ptr, 0)
    return Errno.SUCCESS
