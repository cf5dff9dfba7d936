"""Arguments (none) and environment variables (the plugin's own, never the host's)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anywasm.abi.wasi.table import Errno, wasi_function

if TYPE_CHECKING:
    from anywasm.abi.guest import Guest


def _entries(guest: Guest) -> list[bytes]:
    return [f"{name}={value}".encode() + b"\0" for name, value in guest.env.items()]


@wasi_function("args_sizes_get", "ii")
def args_sizes_get(guest: Guest, count_ptr: int, size_ptr: int) -> int:
    """No arguments."""
    guest.memory.write_u32(count_ptr, 0)
    guest.memory.write_u32(size_ptr, 0)
    return Errno.SUCCESS


@wasi_function("args_get", "ii")
def args_get(guest: Guest, pointers: int, data: int) -> int:
    """No arguments."""
    return Errno.SUCCESS


@wasi_function("environ_sizes_get", "ii")
def environ_sizes_get(guest: Guest, count_ptr: int, size_ptr: int) -> int:
    """How many variables there are, and the bytes that they take."""
    entries = _entries(guest)
    guest.memory.write_u32(count_ptr, len(entries))
    guest.memory.write_u32(size_ptr, sum(map(len, entries)))
    return Errno.SUCCESS


@wasi_function("environ_get", "ii")
def environ_get(guest: Guest, pointers: int, data: int) -> int:
    """The variables, NUL-terminated, and a pointer to each."""
    for entry in _entries(guest):
        guest.memory.write_u32(pointers, data)
        guest.memory.write(data, entry)
        pointers += 4
        data += len(entry)
    return Errno.SUCCESS
