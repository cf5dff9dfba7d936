"""A client that trusts nothing: what it is sent must be one whole, well-formed answer."""

from __future__ import annotations

import asyncio
import contextlib
import re
from dataclasses import dataclass

_STATUS_LINE = re.compile(rb"HTTP/1\.1 ([1-9][0-9]{2}) [\x20-\x7e]*")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)")
_MOST_HEAD = 64 * 1024


class MalformedError(Exception):
    """What came is no answer."""


class LostError(Exception):
    """The connection ended, or stayed silent, without one byte of an answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer.

    Attributes:
        status: The status.
        headers: By lower-case name, the last of a name.
        body: What came of the body.
        cut: The connection ended before the body did.
    """

    status: int
    headers: dict[str, str]
    body: bytes
    cut: bool = False


class Client:
    """One connection, made anew when it has ended."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._place: int | None = None
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def connect(self, port: int) -> None:
        """Be connected to that port of this machine.

        Raises:
            LostError: When it cannot be reached.
            MalformedError: When something came that nobody asked for.
        """
        if self._writer is not None and self._place == port and self._reader is not None:
            buffered: bytearray = self._reader._buffer  # type: ignore[attr-defined]
            if buffered:
                raise MalformedError(f"bytes after an answer: {bytes(buffered[:80])!r}")
            if not self._reader.at_eof():
                return
        await self.close()
        try:
            self._reader, self._writer = await asyncio.wait_for(
                asyncio.open_connection("127.0.0.1", port, limit=_MOST_HEAD), self._patience
            )
        except (OSError, asyncio.TimeoutError) as error:
            raise LostError(f"no connection: {error!r}") from error
        self._place = port

    async def close(self, abort: bool = False) -> None:
        """End the connection; with a reset where `abort`."""
        writer, self._writer, self._reader = self._writer, None, None
        if writer is None:
            return
        if abort:
            writer.transport.abort()
        writer.close()
        with contextlib.suppress(OSError, asyncio.TimeoutError):
            await asyncio.wait_for(writer.wait_closed(), self._patience)

    async def send(self, data: bytes, pieces: int = 1, pause: float = 0.0) -> None:
        """Send the request, in pieces with pauses between them."""
        assert self._writer is not None
        size = max(1, -(-len(data) // pieces))
        # A server may answer, and close, before it has read everything.
        with contextlib.suppress(OSError):
            for start in range(0, len(data), size):
                self._writer.write(data[start : start + size])
                await self._writer.drain()
                if pause:
                    await asyncio.sleep(pause)

    async def receive(self) -> Answer:
        """Read one answer.

        Raises:
            LostError: When none came.
            MalformedError: When it is none.
        """
        try:
            answer = await asyncio.wait_for(self._receive(), self._patience)
        except asyncio.TimeoutError:
            await self.close(abort=True)
            raise LostError("no answer in time") from None
        if answer.cut or answer.headers.get("connection") == "close":
            await self.close()
        return answer

    async def _receive(self) -> Answer:
        reader = self._reader
        assert reader is not None
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            if error.partial:
                raise MalformedError(f"half a head: {error.partial[:200]!r}") from None
            raise LostError("closed without an answer") from None
        except OSError as error:
            raise LostError(f"reset without an answer: {error}") from None
        status, headers = _parse(head)
        try:
            if headers.get("transfer-encoding") == "chunked":
                body, whole = await _chunks(reader)
            elif "content-length" in headers:
                size = int(headers["content-length"])
                body = b""
                while len(body) < size and (piece := await reader.read(size - len(body))):
                    body += piece
                whole = len(body) == size
            elif status in (204, 304):
                body, whole = b"", True
            else:
                raise MalformedError("an answer without an end")
        except OSError:
            body, whole = b"", False
        return Answer(status, headers, body, cut=not whole)


def _parse(head: bytes) -> tuple[int, dict[str, str]]:
    line, *lines = head[:-4].split(b"\r\n")
    matched = _STATUS_LINE.fullmatch(line)
    if matched is None:
        raise MalformedError(f"status line {line[:80]!r}")
    headers: dict[str, str] = {}
    for text in lines:
        field = _FIELD.fullmatch(text)
        if field is None:
            raise MalformedError(f"header {text[:80]!r}")
        name = field[1].decode().lower()
        if name in headers and name in ("content-length", "transfer-encoding"):
            raise MalformedError(f"{name} twice")
        headers[name] = field[2].decode("latin-1")
    if "content-length" in headers and "transfer-encoding" in headers:
        raise MalformedError("content-length and transfer-encoding")
    return int(matched[1]), headers


async def _chunks(reader: asyncio.StreamReader) -> tuple[bytes, bool]:
    body = b""
    try:
        while True:
            line = await reader.readuntil(b"\r\n")
            if not re.fullmatch(rb"[0-9a-f]{1,8}\r\n", line):
                raise MalformedError(f"chunk size {line[:80]!r}")
            size = int(line, 16)
            if not size:
                break
            body += await reader.readexactly(size)
            if await reader.readexactly(2) != b"\r\n":
                raise MalformedError("a chunk without its end")
        while await reader.readuntil(b"\r\n") != b"\r\n":
            pass
    except asyncio.IncompleteReadError:
        return body, False
    return body, True
