"""A bounded reader over the bytes of a module."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anywasm.core.errors import CompileError

if TYPE_CHECKING:
    from collections.abc import Sequence


class Cursor:
    """Reads `data[position:end]` from front to back, never past `end`.

    Integers are LEB128 as the binary format has it (core spec, section 5.2.2): at most as many
    bytes as the width needs, and unused bits must repeat the sign. Sizes and counts are held
    against the bytes that are left before anything is allocated, so memory stays proportional to
    the input.

    Attributes:
        position: Offset of the next byte, counted from the start of the module.
        end: Offset just past the last byte that may be read.
        place: What is being read, for messages; for example `import section`.
    """

    __slots__ = ("_data", "end", "place", "position")

    def __init__(self, data: bytes, position: int, end: int, place: str) -> None:
        self._data = data
        self.position = position
        self.end = end
        self.place = place

    @property
    def remaining(self) -> int:
        """How many bytes are left."""
        return self.end - self.position

    def error(self, message: str, at: int | None = None) -> CompileError:
        """Make (not raise) the error for offset `at`, by default the current position."""
        offset = self.position if at is None else at
        return CompileError(f"malformed module at byte {offset:#x} ({self.place}): {message}")

    def finish(self) -> None:
        """Check that everything was read.

        Raises:
            CompileError: Bytes are left over.
        """
        if self.remaining:
            raise self.error(f"{self.remaining} bytes more than the content needs")

    def u8(self) -> int:
        """Read one byte."""
        position = self.position
        if position >= self.end:
            raise self.error("unexpected end")
        self.position = position + 1
        return self._data[position]

    def bytes(self, size: int) -> bytes:
        """Read `size` bytes, as a copy."""
        if size > self.remaining:
            raise self.error(f"{size} bytes wanted, {self.remaining} left")
        start = self.position
        self.position = start + size
        return self._data[start : self.position]

    def u32(self) -> int:
        """Read an unsigned 32-bit LEB128 integer."""
        position = self.position
        # Nearly all integers of real modules fit into one byte.
        if position < self.end and (byte := self._data[position]) < 0x80:
            self.position = position + 1
            return byte
        return self._leb128(32)

    def u64(self) -> int:
        """Read an unsigned 64-bit LEB128 integer."""
        return self._leb128(64)

    def s32(self) -> int:
        """Read a signed 32-bit LEB128 integer."""
        return self._leb128(32, signed=True)

    def s33(self) -> int:
        """Read a signed 33-bit LEB128 integer, the encoding of heap types."""
        return self._leb128(33, signed=True)

    def s64(self) -> int:
        """Read a signed 64-bit LEB128 integer."""
        return self._leb128(64, signed=True)

    def count(self, element_size: int = 1) -> int:
        """Read the length of a vector whose elements take at least `element_size` bytes each."""
        start = self.position
        count = self.u32()
        if count * element_size > self.remaining:
            raise self.error(f"{count} elements cannot fit into {self.remaining} bytes", start)
        return count

    def name(self) -> str:
        """Read a name: a length and that many bytes of strict UTF-8 (core spec, section 5.2.4)."""
        size = self.u32()
        start = self.position
        try:
            return self.bytes(size).decode()
        except UnicodeDecodeError as error:
            raise self.error("a name is not valid UTF-8", start + error.start) from error

    def u32_vector(self) -> Sequence[int]:
        """Read a vector of unsigned 32-bit integers that takes up all that is left."""
        count = self.count()
        rest = self._data[self.position : self.end]
        if len(rest) == count and rest.isascii():
            # Every integer is one byte, hence the bytes are the vector: a Go module has thousands
            # of functions, of fewer than 128 types.
            self.position = self.end
            return rest
        return [self.u32() for _ in range(count)]

    def _leb128(self, bits: int, *, signed: bool = False) -> int:
        start = self.position
        value = shift = 0
        byte = 0x80
        while byte & 0x80:
            if shift >= bits:
                raise self.error(f"an integer takes too many bytes for {bits} bits", start)
            byte = self.u8()
            value |= (byte & 0x7F) << shift
            shift += 7
        if signed and byte & 0x40:
            value -= 1 << shift
        low, high = (-1 << (bits - 1), 1 << (bits - 1)) if signed else (0, 1 << bits)
        if not low <= value < high:
            raise self.error(f"an integer does not fit into {bits} bits", start)
        return value
