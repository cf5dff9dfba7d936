"""A byte buffer that a guest reads and rewrites through `proxy_*_buffer_bytes`."""

from __future__ import annotations

from anywasm.abi.enums import Status

#: Bytes that a guest may make of one buffer. Envoy's own bound is the listener's, of which guests
#: know nothing; this one only keeps them from eating the host.
MAX_BUFFER = 64 * 1024 * 1024


class Buffer:
    """Bytes with Envoy's rules for partial writes.

    Attributes:
        data: The content.
        writable: Whether `proxy_set_buffer_bytes` may change it.
        touched: Whether a guest has written it, be it with nothing.
    """

    __slots__ = ("data", "touched", "writable")

    def __init__(self, data: bytes = b"", *, writable: bool = True) -> None:
        self.data = data
        self.writable = writable
        self.touched = False

    def get(self, start: int, size: int) -> bytes:
        """Up to `size` bytes from `start`; nothing where `start` is past the end."""
        return self.data[start : start + size]

    def set(self, start: int, size: int, value: bytes, most: int = MAX_BUFFER) -> Status:
        """Write as Envoy does: prepend (0, 0), replace (0, >= length), append (>= length, any).

        Returns:
            BAD_ARGUMENT for a splice in the middle, which Envoy refuses (recorded in the golden
            case `edge-body`), or for a read-only buffer; INTERNAL_FAILURE where the buffer would
            grow past `most` bytes. The content is unchanged then.
        """
        if not self.writable:
            return Status.BAD_ARGUMENT
        length = len(self.data)
        if len(value) + (0 if start == 0 and 0 < length <= size else length) > most:
            return Status.INTERNAL_FAILURE
        if start == 0 and size == 0:
            self.data = value + self.data
        elif start == 0 and size >= length:
            self.data = value
        elif start >= length:
            self.data += value
        else:
            return Status.BAD_ARGUMENT
        self.touched = True
        return Status.OK
