"""Standard output and error, which are the guest's log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anywasm.abi.enums import LogLevel
from anywasm.abi.table import Phase
from anywasm.abi.wasi.table import Errno, wasi_function

if TYPE_CHECKING:
    from anywasm.abi.guest import Guest

_LEVELS = {1: LogLevel.INFO, 2: LogLevel.ERROR}
#: The most bytes that one call takes; what is more is a short write. Vectors may overlap, so the
#: guest's memory does not bound their sum.
_MOST = 1024 * 1024
_MOST_VECTORS = 1024


def _write(guest: Guest, fd: int, vectors: int, count: int, written_ptr: int) -> int:
    level = _LEVELS.get(fd)
    if level is None:
        return Errno.BADF
    data = bytearray()
    for index in range(min(count, _MOST_VECTORS)):
        ptr, size = (
            guest.memory.read_u32(vectors + 8 * index),
            guest.memory.read_u32(vectors + 8 * index + 4),
        )
        data += guest.memory.read(ptr, min(size, _MOST - len(data)))
        if len(data) == _MOST:
            break
    guest.memory.write_u32(written_ptr, len(data))
    if level >= guest.services.log_level:
        # One entry per call, without the newline that ends it; inner ones stay.
        line = data[:-1] if data.endswith(b"\n") else data
        guest.effective.log(level, line.decode(errors="backslashreplace"))
    return Errno.SUCCESS


@wasi_function("fd_write", "iiii", phases=Phase.START | Phase.ALLOCATION)
def fd_write(guest: Guest, fd: int, vectors: int, count: int, written_ptr: int) -> int:
    """Log what is written to descriptor 1 (info) or 2 (error)."""
    return _write(guest, fd, vectors, count, written_ptr)


@wasi_function("fd_pwrite", "iiiIi")
def fd_pwrite(
    guest: Guest, fd: int, vectors: int, count: int, offset: int, written_ptr: int
) -> int:
    """The same; the offset means nothing here."""
    return _write(guest, fd, vectors, count, written_ptr)
