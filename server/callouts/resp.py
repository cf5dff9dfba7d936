"""The frames of RESP2, the protocol of Redis, without a look at what is in them.

Guests get answers exactly as they came, which parsers that make values of them cannot give.
"""

from __future__ import annotations

import re

from anywasm.core.errors import AnyWasmError

_LINES = b"+-:"
_BULK, _ARRAY = ord("$"), ord("*")
_COUNTED = (_BULK, _ARRAY)
#: The longest line: Redis bounds its own inline protocol so.
_MAX_LINE = 64 * 1024
_is_count = re.compile(rb"-1|0|[1-9][0-9]{0,9}").fullmatch


class RespError(AnyWasmError):
    """Bytes that are no RESP2, or more of them than allowed."""


class RespFramer:
    """Cuts a byte stream into answers.

    Args:
        max_bytes: The longest answer, framing included.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._buffer = bytearray()
        self._position = 0  # everything before it is understood
        self._missing = 1  # values until the answer is whole; arrays add theirs
        self._needed = 0  # bytes without which looking again is in vain

    def feed(self, data: bytes) -> list[bytes]:
        """The answers that are whole now, each as it came.

        Raises:
            RespError: This is no RESP2, or an answer is too long. No more can be fed.
        """
        buffer = self._buffer
        buffer += data
        answers: list[bytes] = []
        while self._advance():
            answers.append(bytes(buffer[: self._position]))
            del buffer[: self._position]
            self._position, self._missing, self._needed = 0, 1, 0
        if len(buffer) > self._max_bytes:
            raise self._too_long()
        return answers

    def _too_long(self) -> RespError:
        return RespError(f"an answer is longer than {self._max_bytes} bytes")

    def _advance(self) -> bool:
        buffer = self._buffer
        while self._missing:
            if len(buffer) < max(self._needed, self._position + 1):
                return False
            end = buffer.find(b"\r\n", self._position)
            if end < 0:
                if len(buffer) - self._position > _MAX_LINE:
                    raise RespError("a line does not end")
                return False
            kind = buffer[self._position]
            after = end + 2
            if kind in _COUNTED:
                count = _count(bytes(buffer[self._position + 1 : end]))
                if kind == _ARRAY:
                    self._missing += max(count, 0)
                elif count >= 0:
                    after += count + 2
                    if after > self._max_bytes:
                        raise self._too_long()
                    if len(buffer) < after:
                        self._needed = after
                        return False
                    if buffer[after - 2 : after] != b"\r\n":
                        raise RespError("a bulk string does not end where it says")
            elif kind not in _LINES:
                raise RespError(f"{bytes((kind,))!r} begins no value")
            self._position = after
            self._missing -= 1
        if self._position > self._max_bytes:
            raise self._too_long()
        return True


def _count(text: bytes) -> int:
    if not _is_count(text):
        raise RespError(f"{text[:20]!r} is no length")
    return int(text)


def encode_command(*words: bytes) -> bytes:
    """A command as RESP."""
    parts = [b"*%d\r\n" % len(words)]
    parts += (b"$%d\r\n%b\r\n" % (len(word), word) for word in words)
    return b"".join(parts)


def command_words(query: bytes) -> tuple[bytes, bytes] | None:
    """The first two words of a command, upper-cased, the second empty where there is none.

    Returns:
        None unless `query` is exactly one command: an array of at least one bulk string.
    """
    try:
        if query[:1] != b"*" or query[-2:] != b"\r\n":
            return None
        end = query.index(b"\r\n")
        count = _count(query[1:end])
        position = end + 2
        words: list[bytes] = []
        for number in range(count):
            if query[position : position + 1] != b"$":
                return None
            end = query.index(b"\r\n", position)
            start = end + 2
            position = start + _count(query[position + 1 : end]) + 2
            if position > len(query) or query[position - 2 : position] != b"\r\n":
                return None
            if number < 2:
                words.append(query[start : position - 2].upper())
    except (ValueError, RespError):
        return None
    if position != len(query) or not words:
        return None
    return words[0], words[1] if len(words) > 1 else b""
