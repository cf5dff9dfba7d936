"""Handlers that take responses at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from anywasm.server.http import Headers
from anywasm.server.upstream import FailureReason

Run = Callable[[Coroutine[Any, Any, None]], None]
TWO = b"HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 2\r\n\r\nok"


def recorder(up: Any, fails: bool = False) -> Any:
    class Whole(up.Recorder):  # type: ignore[misc]
        def on_whole_response(self, status: int, headers: Headers, body: bytes) -> None:
            self.status, self.headers = status, headers
            self.pieces.append(body)
            self._record("whole")
            if fails:
                raise RuntimeError("on purpose")

    return Whole()


async def ask(client: Any, handler: Any, method: bytes = b"GET") -> Any:
    client.recorders.append(handler)
    stream = client.pool.request(handler, method, b"/", [(b"host", b"h")])
    await handler.ended.wait()
    return stream


def test_a_response_in_one_piece_comes_at_once(run: Run, up: Any) -> None:
    async def main() -> None:
        empty = b"HTTP/1.1 404 x\r\nContent-Length: 0\r\n\r\n"
        async with up.serve(up.answering(TWO, empty, TWO)) as client:
            for status, body in ((200, b"ok"), (404, b""), (200, b"ok")):
                handler = recorder(up)
                await ask(client, handler)
                assert handler.events == ["whole", "complete"]
                assert (handler.status, handler.body) == (status, body)
            assert handler.headers == [(b"a", b"b"), (b"content-length", b"2")]
            assert (client.upstream.accepted, client.pool.counters.reused) == (1, 2)

    run(main())


@pytest.mark.parametrize(
    ("method", "response", "events"),
    [
        (b"HEAD", TWO[:-2], ["headers+end"]),
        (b"GET", b"HTTP/1.1 204 x\r\n\r\n", ["headers+end"]),
        (b"GET", TWO.replace(b"A: b", b"Connection: close"), ["headers", "data", "end"]),
        (b"GET", b"HTTP/1.1 103 x\r\n\r\n" + TWO, ["informational", "headers", "data", "end"]),
        (
            b"GET",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            ["headers", "data", "end"],
        ),
    ],
)
def test_any_other_comes_in_turn(
    run: Run, up: Any, method: bytes, response: bytes, events: list[str]
) -> None:
    async def main() -> None:
        async with up.serve(up.answering(response)) as client:
            handler = recorder(up)
            await ask(client, handler, method)
            assert handler.events == [*events, "complete"]

    run(main())


def test_whoever_has_paused_gets_it_in_turn(run: Run, up: Any) -> None:
    async def main() -> None:
        async with up.serve(up.always_ok) as client:
            handler = recorder(up)
            client.recorders.append(handler)
            stream = client.pool.request(handler, b"GET", b"/", [(b"host", b"h")])
            stream.pause_reading()
            await asyncio.sleep(0.05)
            assert handler.events == []
            stream.resume_reading()
            await handler.ended.wait()
            assert handler.body == b"ok"
            assert handler.events[-1] == "complete"
            assert await client.ask() is not None

    run(main())


def test_a_handler_that_fails_resets_its_stream(run: Run, up: Any) -> None:
    async def main() -> None:
        async with up.serve(up.always_ok) as client:
            handler = recorder(up, fails=True)
            await ask(client, handler)
            assert handler.events == ["whole", "reset"]
            assert handler.failure.reason is FailureReason.LOCAL_RESET
            assert (await client.ask()).body == b"ok"
            assert client.upstream.accepted == 2

    run(main())


def test_more_than_the_response_ends_the_connection(run: Run, up: Any) -> None:
    async def main() -> None:
        async with up.serve(up.answering(TWO + b"HTTP/1.1 200 OK\r\n")) as client:
            handler = recorder(up)
            await ask(client, handler)
            assert handler.events == ["headers", "data", "end", "complete"]
            await up.eventually(lambda: client.pool.connections == 0)

    run(main())
