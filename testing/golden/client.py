"""A client that puts a recorded request on the wire exactly so."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

from anywasm.testing.golden.case import Answer, Fields, Request

#: The two ways in which there is no answer, as the cases name them.
TIMEOUT = "timeout"
CLOSED = "connection closed with no response"
#: What no recording has.
MALFORMED = "no HTTP response"

#: Seconds between two writes, so that a proxy reads each on its own.
_BETWEEN_WRITES = 0.05


def ask(port: int, request: Request) -> Answer:
    """Send `request` to 127.0.0.1 over a connection of its own, and take the answer.

    An answer that breaks off keeps what arrived, as clients of the recordings did.
    """
    end = time.monotonic() + request.timeout
    try:
        connection = socket.create_connection(("127.0.0.1", port), request.timeout)
    except OSError as error:
        return Answer(error=f"cannot connect: {error}")
    with connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        reader = _Reader(connection, end)
        try:
            for index, part in enumerate(_writes(request)):
                if index:
                    time.sleep(_BETWEEN_WRITES)
                connection.sendall(part)
        except OSError:
            pass  # answered early and closed: the answer is there to be read
        return _read_answer(reader, request.method)


def _writes(request: Request) -> Iterator[bytes]:
    body = request.body.encode()
    chunks = [chunk.encode() for chunk in request.chunks] if request.chunks is not None else None
    if chunks is None and request.trailers:
        chunks = [body] if body else []
    lines = [f"{request.method} {request.path} HTTP/1.1", f"host: {request.host}"]
    lines += [f"{name}: {value}" for name, value in request.headers]
    if request.trailers:
        lines.append("te: trailers")
    if chunks is not None:
        lines.append("transfer-encoding: chunked")
    elif body:
        lines.append(f"content-length: {len(body)}")
    lines.append("connection: close")
    head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
    if chunks is None:
        yield head + body
        return
    yield head
    for chunk in chunks:
        yield b"%x\r\n%s\r\n" % (len(chunk), chunk)
    trailers = "".join(f"{name}: {value}\r\n" for name, value in request.trailers)
    yield b"0\r\n%s\r\n" % trailers.encode("latin-1")


class _CutError(Exception):
    """Nothing more comes: the time is over, or the connection."""


class _Reader:
    """What arrives, by lines and sizes."""

    def __init__(self, connection: socket.socket, end: float) -> None:
        self._connection = connection
        self._end = end
        self.data = b""
        self.timed_out = False

    def line(self) -> bytes:
        while b"\n" not in self.data:
            self._more()
        line, _, self.data = self.data.partition(b"\n")
        return line.removesuffix(b"\r")

    def take(self, size: int) -> bytes:
        while len(self.data) < size:
            self._more()
        taken, self.data = self.data[:size], self.data[size:]
        return taken

    def rest(self) -> bytes:
        """All that comes until the connection ends."""
        try:
            while True:
                self._more()
        except _CutError:
            taken, self.data = self.data, b""
            return taken

    def _more(self) -> None:
        left = self._end - time.monotonic()
        try:
            if left <= 0:
                raise TimeoutError
            self._connection.settimeout(left)
            part = self._connection.recv(65536)
        except TimeoutError:
            self.timed_out = True
            raise _CutError from None
        except ConnectionError:
            raise _CutError from None
        if not part:
            raise _CutError
        self.data += part


def _read_answer(reader: _Reader, method: str) -> Answer:
    try:
        status, headers = _head(reader)
        while 100 <= status < 200:
            status, headers = _head(reader)
    except _CutError:
        return Answer(error=TIMEOUT if reader.timed_out else CLOSED)
    except (ValueError, IndexError):
        return Answer(error=MALFORMED)
    values = dict(headers)
    body = b""
    trailers: Fields = ()
    if method == "HEAD" or status in (204, 304):
        pass
    elif "chunked" in values.get("transfer-encoding", ""):
        body, trailers = _chunked(reader)
    elif values.get("content-length", "").isdigit():
        size = int(values["content-length"])
        try:
            body = reader.take(size)
        except _CutError:
            body = reader.data
    else:
        body = reader.rest()
    # A body that never ends is no answer, whatever came of it; one that is cut is.
    error = TIMEOUT if reader.timed_out else None
    return Answer(status=status, error=error, headers=headers, body=_text(body), trailers=trailers)


def _head(reader: _Reader) -> tuple[int, Fields]:
    # Envoy sends even status 0, which no HTTP library takes.
    status = int(reader.line().split(b" ", 2)[1])
    return status, _fields(reader)


def _fields(reader: _Reader) -> Fields:
    fields = []
    while line := reader.line():
        name, _, value = line.decode("latin-1").partition(":")
        fields.append((name.lower(), value.strip()))
    return tuple(fields)


def _chunked(reader: _Reader) -> tuple[bytes, Fields]:
    body = b""
    try:
        while size := int(reader.line().partition(b";")[0], 16):
            body += reader.take(size)
            reader.take(2)
        return body, _fields(reader)
    except _CutError:
        return body + reader.data, ()


def _text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError:
        return body.decode("latin-1")
