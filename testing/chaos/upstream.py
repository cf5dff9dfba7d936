"""What stands behind the filters: it sends back what it is sent."""

from __future__ import annotations

import asyncio
import contextlib
import itertools


async def serve_echo(port: int) -> asyncio.Server:
    """Serve on that port of this machine."""
    return await asyncio.start_server(_serve, "127.0.0.1", port, limit=1 << 20)


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        for turn in itertools.count():
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            body = await _body(reader, head)
            if turn % 2:
                framed = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"
                writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + framed)
            else:
                length = b"content-length: %d\r\n\r\n" % len(body)
                writer.write(b"HTTP/1.1 200 OK\r\n" + length + body)
            await writer.drain()
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def _body(reader: asyncio.StreamReader, head: bytes) -> bytes:
    if b"\r\ntransfer-encoding: chunked" in head:
        body = b""
        while size := int(await reader.readuntil(b"\r\n"), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        while await reader.readuntil(b"\r\n") != b"\r\n":
            pass
        return body
    _, found, rest = head.partition(b"\r\ncontent-length:")
    return await reader.readexactly(int(rest.split(b"\r\n")[0])) if found else b""
