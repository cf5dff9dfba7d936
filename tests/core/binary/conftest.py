from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable


def _leb(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(0x80 | value & 0x7F)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


@pytest.fixture(scope="session")
def leb() -> Callable[[int], bytes]:
    """Encodes an unsigned integer."""
    return _leb


@pytest.fixture(scope="session")
def vector() -> Callable[..., bytes]:
    """Puts the count before encoded elements."""
    return lambda *elements: _leb(len(elements)) + b"".join(elements)


@pytest.fixture(scope="session")
def name() -> Callable[[str], bytes]:
    """Encodes a name."""
    return lambda text: _leb(len(text.encode())) + text.encode()


@pytest.fixture(scope="session")
def module() -> Callable[..., bytes]:
    """Makes a binary module of `(section id, body)` pairs."""

    def make(*sections: tuple[int, bytes]) -> bytes:
        encoded = [bytes([number]) + _leb(len(body)) + body for number, body in sections]
        return b"\0asm\1\0\0\0" + b"".join(encoded)

    return make
