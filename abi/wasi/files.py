"""Files, directories and sockets: there are none, and each function says so in its own way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anywasm.abi.wasi.table import Errno, wasi_function

if TYPE_CHECKING:
    from anywasm.abi.guest import Guest

_STANDARD_STREAMS = frozenset({1, 2})
_RIGHT_FD_WRITE = 64

#: Functions with one answer whatever they are asked.
_ANSWERS = {
    "fd_advise": ("iIIi", Errno.SUCCESS),
    "fd_close": ("i", Errno.SUCCESS),
    "fd_fdstat_set_flags": ("ii", Errno.NOSYS),
    "fd_filestat_get": ("ii", Errno.BADF),
    "fd_pread": ("iiiIi", Errno.NOSYS),
    "fd_prestat_dir_name": ("iii", Errno.NOSYS),
    "fd_prestat_get": ("ii", Errno.BADF),
    "fd_read": ("iiii", Errno.NOSYS),
    "fd_renumber": ("ii", Errno.NOTSUP),
    "path_create_directory": ("iii", Errno.NOTSUP),
    "path_filestat_get": ("iiiii", Errno.NOTSUP),
    "path_filestat_set_times": ("iiiiIIi", Errno.NOTSUP),
    "path_link": ("iiiiiii", Errno.NOTSUP),
    "path_open": ("iiiiiIIii", Errno.NOENT),
    "path_readlink": ("iiiiii", Errno.NOTSUP),
    "path_remove_directory": ("iii", Errno.NOTSUP),
    "path_rename": ("iiiiii", Errno.NOTSUP),
    "path_symlink": ("iiiii", Errno.NOTSUP),
    "path_unlink_file": ("iii", Errno.NOTSUP),
    "sock_accept": ("iii", Errno.NOTSUP),
    "sock_recv": ("iiiiii", Errno.NOTSUP),
    "sock_send": ("iiiii", Errno.NOTSUP),
    "sock_shutdown": ("ii", Errno.NOTSUP),
}

#: Functions that succeed on the standard streams, where they do nothing.
_ON_STREAMS = {
    "fd_allocate": "iII",
    "fd_datasync": "i",
    "fd_fdstat_set_rights": "iII",
    "fd_filestat_set_size": "iI",
    "fd_filestat_set_times": "iIIi",
    "fd_sync": "i",
}


def _declare_answers() -> None:
    for name, (params, answer) in _ANSWERS.items():
        wasi_function(name, params)(lambda guest, *args, _answer=answer: _answer)
    for name, params in _ON_STREAMS.items():
        wasi_function(name, params)(
            lambda guest, fd, *args: Errno.SUCCESS if fd in _STANDARD_STREAMS else Errno.BADF
        )


_declare_answers()


@wasi_function("fd_fdstat_get", "ii")
def fd_fdstat_get(guest: Guest, fd: int, stat_ptr: int) -> int:
    """The standard streams can be written, and nothing else."""
    if fd not in _STANDARD_STREAMS:
        return Errno.BADF
    guest.memory.write(stat_ptr, bytes(8) + _RIGHT_FD_WRITE.to_bytes(8, "little") + bytes(8))
    return Errno.SUCCESS


@wasi_function("fd_seek", "iIii")
def fd_seek(guest: Guest, fd: int, offset: int, whence: int, position_ptr: int) -> int:
    """Success at position 0, as runtimes ask when they set up their streams."""
    guest.memory.write_u64(position_ptr, 0)
    return Errno.SUCCESS


@wasi_function("fd_tell", "ii")
def fd_tell(guest: Guest, fd: int, position_ptr: int) -> int:
    """Position 0 of the standard streams."""
    if fd not in _STANDARD_STREAMS:
        return Errno.BADF
    guest.memory.write_u64(position_ptr, 0)
    return Errno.SUCCESS


@wasi_function("fd_readdir", "iiiIi")
def fd_readdir(guest: Guest, fd: int, ptr: int, size: int, cookie: int, used_ptr: int) -> int:
    """No descriptor is a directory."""
    guest.memory.write_u32(used_ptr, 0)
    return Errno.EXIST
