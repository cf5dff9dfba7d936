"""A guest's memory on an engine that shows it to nobody: every access is a copy."""

from __future__ import annotations

import struct
from abc import abstractmethod
from typing import Any

from anywasm.core.errors import ArgumentError
from anywasm.core.gate import CallGate
from anywasm.core.memory import Memory, ReadableBuffer

_U8 = struct.Struct("<B")
_U16 = struct.Struct("<H")
_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")
_F32 = struct.Struct("<f")
_F64 = struct.Struct("<d")


class CopiedMemory(Memory):
    """For engines whose memory is no buffer, or may not be held: they read and write pieces of it.

    An engine says how (`_length`, `_read`, `_write`, `_grow`); what is outside never reaches it.

    Args:
        gate: The instance's.
    """

    __slots__ = ("_gate",)

    def __init__(self, gate: CallGate) -> None:
        super().__init__()
        self._gate = gate

    @abstractmethod
    def _length(self) -> int:
        """The size now, in bytes."""

    @abstractmethod
    def _read(self, ptr: int, size: int) -> bytes:
        """The bytes at `ptr`, which are inside; `size` is at least 1."""

    @abstractmethod
    def _write(self, ptr: int, data: bytes) -> None:
        """Set the bytes at `ptr`, which are inside; at least one."""

    def _attach(self) -> memoryview:
        raise NotImplementedError("a copied memory has no view")

    def _refresh(self) -> None:
        self._gate.check_usable()
        self._size = self._length()

    def read(self, ptr: int, size: int) -> bytes:
        """A copy of `size` bytes at `ptr`; see `Memory.read`."""
        self._reach(ptr, size)
        return self._read(ptr, size) if size else b""

    def write(self, ptr: int, data: ReadableBuffer) -> None:
        """Copy `data` to `ptr`; see `Memory.write`."""
        try:
            copy = bytes(memoryview(data))
        except TypeError:
            raise ArgumentError("guest memory is written from bytes-like objects") from None
        self._reach(ptr, len(copy))
        if copy:
            self._write(ptr, copy)

    def _unpack(self, layout: struct.Struct, ptr: int) -> Any:
        return layout.unpack(self.read(ptr, layout.size))[0]

    def _pack(self, layout: struct.Struct, ptr: int, value: float) -> None:
        try:
            data = layout.pack(value)
        except (struct.error, OverflowError):
            self._reach(ptr, layout.size)
            raise ArgumentError(f"{value!r} does not fit format {layout.format!r}") from None
        self.write(ptr, data)

    def read_u8(self, ptr: int) -> int:
        """The u8 at `ptr`; see `Memory.read_u8`."""
        return self._unpack(_U8, ptr)  # type: ignore[no-any-return]

    def write_u8(self, ptr: int, value: int) -> None:
        """Set the u8 at `ptr`; see `Memory.write_u8`."""
        self._pack(_U8, ptr, value)

    def read_u16(self, ptr: int) -> int:
        """The u16 at `ptr`; see `Memory.read_u16`."""
        return self._unpack(_U16, ptr)  # type: ignore[no-any-return]

    def write_u16(self, ptr: int, value: int) -> None:
        """Set the u16 at `ptr`; see `Memory.write_u16`."""
        self._pack(_U16, ptr, value)

    def read_u32(self, ptr: int) -> int:
        """The u32 at `ptr`; see `Memory.read_u32`."""
        return self._unpack(_U32, ptr)  # type: ignore[no-any-return]

    def write_u32(self, ptr: int, value: int) -> None:
        """Set the u32 at `ptr`; see `Memory.write_u32`."""
        self._pack(_U32, ptr, value)

    def read_u64(self, ptr: int) -> int:
        """The u64 at `ptr`; see `Memory.read_u64`."""
        return self._unpack(_U64, ptr)  # type: ignore[no-any-return]

    def write_u64(self, ptr: int, value: int) -> None:
        """Set the u64 at `ptr`; see `Memory.write_u64`."""
        self._pack(_U64, ptr, value)

    def read_f32(self, ptr: int) -> float:
        """The f32 at `ptr`; see `Memory.read_f32`."""
        return self._unpack(_F32, ptr)  # type: ignore[no-any-return]

    def write_f32(self, ptr: int, value: float) -> None:
        """Set the f32 at `ptr`; see `Memory.write_f32`."""
        self._pack(_F32, ptr, value)

    def read_f64(self, ptr: int) -> float:
        """The f64 at `ptr`; see `Memory.read_f64`."""
        return self._unpack(_F64, ptr)  # type: ignore[no-any-return]

    def write_f64(self, ptr: int, value: float) -> None:
        """Set the f64 at `ptr`; see `Memory.write_f64`."""
        self._pack(_F64, ptr, value)
