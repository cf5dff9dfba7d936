"""Clocks and randomness."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from anywasm.abi.table import Phase
from anywasm.abi.wasi.table import Errno, wasi_function

if TYPE_CHECKING:
    from anywasm.abi.guest import Guest

_REALTIME, _MONOTONIC = 0, 1
#: The most random bytes per call, as in proxy-wasm-cpp-host.
_RANDOM_MAX = 64 * 1024


@wasi_function("clock_time_get", "iIi", phases=Phase.START | Phase.ALLOCATION)
def clock_time_get(guest: Guest, clock: int, precision: int, time_ptr: int) -> int:
    """The time of the realtime or the monotonic clock, in nanoseconds."""
    if clock == _REALTIME:
        guest.memory.write_u64(time_ptr, guest.services.realtime())
    elif clock == _MONOTONIC:
        guest.memory.write_u64(time_ptr, guest.services.monotonic())
    else:
        return Errno.NOTSUP
    return Errno.SUCCESS


@wasi_function("clock_res_get", "ii")
def clock_res_get(guest: Guest, clock: int, resolution_ptr: int) -> int:
    """One nanosecond, for the clocks that there are."""
    if clock > _MONOTONIC:
        return Errno.NOTSUP
    guest.memory.write_u64(resolution_ptr, 1)
    return Errno.SUCCESS


@wasi_function("random_get", "ii")
def random_get(guest: Guest, ptr: int, size: int) -> int:
    """Random bytes of the operating system."""
    if size > _RANDOM_MAX:
        return Errno.INVAL
    guest.memory.write(ptr, os.urandom(size))
    return Errno.SUCCESS
