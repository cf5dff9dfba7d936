"""A guest's linear memory, as the host reads and writes it."""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod

from anywasm.core.errors import ArgumentError, MemoryBoundsError

ReadableBuffer = bytes | bytearray | memoryview

_U16 = struct.Struct("<H")
_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")
_F32 = struct.Struct("<f")
_F64 = struct.Struct("<d")

#: Bytes in a page, unless the custom-page-sizes proposal says otherwise.
PAGE_SIZE = 65536


class Memory(ABC):
    """One linear memory. Numbers are little-endian, addresses and sizes are bytes.

    Owned by its instance and usable until that closes; used by one thread at a time, as the
    instance is. An engine says how to reach the bytes (`_attach`) and how to grow.

    The fast path compares against a cached size. An engine whose memory moves calls `invalidate`
    whenever guest code may have run: that makes the cached size useless, so that the next access
    fetches the memory anew.
    """

    __slots__ = ("_size", "_view")

    def __init__(self) -> None:
        self._view = memoryview(b"")
        self._size = -1

    @abstractmethod
    def _attach(self) -> memoryview:
        """A writable view, of format `B`, of the whole memory as it is now.

        Raises:
            ClosedError: When the instance is closed.
        """

    @abstractmethod
    def _grow(self, pages: int) -> bool:
        """Grow by `pages`; False when the engine refuses."""

    def _measure(self) -> int:
        """The size as it is now, in bytes. Engines that can tell it without a view do."""
        self._refresh()
        return self._size

    def invalidate(self) -> None:
        """Forget the cached view: the memory may have moved, or is gone."""
        self._size = -1

    def _refresh(self) -> None:
        self._view = self._attach()
        self._size = len(self._view)

    def _reach(self, ptr: int, size: int) -> None:
        """Look again, since the guest may have grown its memory, and refuse what is outside."""
        if not (isinstance(ptr, int) and isinstance(size, int)):
            raise ArgumentError("addresses and sizes of guest memory are ints")
        self._refresh()
        if not 0 <= ptr <= ptr + size <= self._size:
            raise MemoryBoundsError(
                f"{size} bytes at {ptr} are outside the guest's memory of {self._size} bytes"
            )

    @property
    def size(self) -> int:
        """The current size in bytes."""
        return self._measure()

    def grow(self, pages: int) -> int:
        """Grow by `pages` pages of 64 KiB.

        Returns:
            The size before, in pages, as `WebAssembly.Memory.grow` does.

        Raises:
            MemoryBoundsError: When the memory's maximum or the instance's limit forbids it.
            ArgumentError: When `pages` is negative or no int.
        """
        if not isinstance(pages, int) or pages < 0:
            raise ArgumentError(f"cannot grow a memory by {pages!r} pages")
        before = self.size // PAGE_SIZE
        if not self._grow(pages):
            raise MemoryBoundsError(
                f"the guest's memory cannot grow from {before} by {pages} pages"
            )
        self._refresh()
        return before

    def read(self, ptr: int, size: int) -> bytes:
        """A copy of `size` bytes at `ptr`.

        Raises:
            MemoryBoundsError: When any of them is outside; nothing is read then.
        """
        end = ptr + size
        if not 0 <= ptr <= end <= self._size:
            self._reach(ptr, size)
        return self._view[ptr:end].tobytes()

    def write(self, ptr: int, data: ReadableBuffer) -> None:
        """Copy `data` to `ptr`.

        Raises:
            MemoryBoundsError: When any of it would fall outside; nothing is written then.
            ArgumentError: When `data` is not bytes.
        """
        end = ptr + len(data)
        if not 0 <= ptr <= end <= self._size:
            self._reach(ptr, len(data))
        try:
            self._view[ptr:end] = data
        except (TypeError, ValueError):
            raise ArgumentError("guest memory is written from bytes-like objects") from None

    def read_u8(self, ptr: int) -> int:
        """The byte at `ptr`. Raises `MemoryBoundsError` outside."""
        if not 0 <= ptr < self._size:
            self._reach(ptr, 1)
        return self._view[ptr]

    def write_u8(self, ptr: int, value: int) -> None:
        """Set the byte at `ptr`. Raises `MemoryBoundsError`, `ArgumentError`."""
        if not 0 <= ptr < self._size:
            self._reach(ptr, 1)
        try:
            self._view[ptr] = value
        except (TypeError, ValueError):
            raise ArgumentError(f"{value!r} is no u8") from None

    def read_u16(self, ptr: int) -> int:
        """The u16 at `ptr`. Raises `MemoryBoundsError` outside."""
        if not 0 <= ptr <= self._size - 2:
            self._reach(ptr, 2)
        return _U16.unpack_from(self._view, ptr)[0]  # type: ignore[no-any-return]

    def write_u16(self, ptr: int, value: int) -> None:
        """Set the u16 at `ptr`. Raises `MemoryBoundsError`, `ArgumentError`."""
        self._pack(_U16, ptr, value)

    def read_u32(self, ptr: int) -> int:
        """The u32 at `ptr`. Raises `MemoryBoundsError` outside."""
        if not 0 <= ptr <= self._size - 4:
            self._reach(ptr, 4)
        return _U32.unpack_from(self._view, ptr)[0]  # type: ignore[no-any-return]

    def write_u32(self, ptr: int, value: int) -> None:
        """Set the u32 at `ptr`. Raises `MemoryBoundsError`, `ArgumentError`."""
        if not 0 <= ptr <= self._size - 4:
            self._reach(ptr, 4)
        try:
            _U32.pack_into(self._view, ptr, value)
        except struct.error:
            raise ArgumentError(f"{value!r} is no u32") from None

    def read_u64(self, ptr: int) -> int:
        """The u64 at `ptr`. Raises `MemoryBoundsError` outside."""
        if not 0 <= ptr <= self._size - 8:
            self._reach(ptr, 8)
        return _U64.unpack_from(self._view, ptr)[0]  # type: ignore[no-any-return]

    def write_u64(self, ptr: int, value: int) -> None:
        """Set the u64 at `ptr`. Raises `MemoryBoundsError`, `ArgumentError`."""
        self._pack(_U64, ptr, value)

    def read_f32(self, ptr: int) -> float:
        """The f32 at `ptr`. Raises `MemoryBoundsError` outside."""
        if not 0 <= ptr <= self._size - 4:
            self._reach(ptr, 4)
        return _F32.unpack_from(self._view, ptr)[0]  # type: ignore[no-any-return]

    def write_f32(self, ptr: int, value: float) -> None:
        """Set the f32 at `ptr`. Raises `MemoryBoundsError`, `ArgumentError`."""
        self._pack(_F32, ptr, value)

    def read_f64(self, ptr: int) -> float:
        """The f64 at `ptr`. Raises `MemoryBoundsError` outside."""
        if not 0 <= ptr <= self._size - 8:
            self._reach(ptr, 8)
        return _F64.unpack_from(self._view, ptr)[0]  # type: ignore[no-any-return]

    def write_f64(self, ptr: int, value: float) -> None:
        """Set the f64 at `ptr`. Raises `MemoryBoundsError`, `ArgumentError`."""
        self._pack(_F64, ptr, value)

    def _pack(self, layout: struct.Struct, ptr: int, value: float) -> None:
        if not 0 <= ptr <= self._size - layout.size:
            self._reach(ptr, layout.size)
        try:
            layout.pack_into(self._view, ptr, value)
        except (struct.error, OverflowError):
            raise ArgumentError(f"{value!r} does not fit format {layout.format!r}") from None
