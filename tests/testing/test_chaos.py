"""The chaos suite in its short form, and that its judgement can be bad."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest

from anywasm.testing.chaos import Chaos, Settings, Verdict
from anywasm.testing.chaos.client import Answer, Client, LostError, MalformedError
from anywasm.testing.chaos.requests import CALM, Request

T = TypeVar("T")


@pytest.mark.parametrize(("engine", "workers"), [("wasmtime", 2), ("wasm3", 1)])
def test_every_request_gets_one_good_answer(tmp_path: Path, engine: str, workers: int) -> None:
    settings = Settings(engine, seed=7, seconds=5.0, clients=8, workers=workers)
    told: list[str] = []
    verdict = asyncio.run(Chaos(settings, tmp_path, told.append).run())
    assert verdict.good, "\n".join(verdict.lines())
    assert verdict.requests > 50
    assert verdict.harm
    assert verdict.events


REQUEST = Request(CALM, "none", None, None, b"hi", frozenset({200}), expected=b"hi")
SEEN = {"x-seen": "1"}


@pytest.mark.parametrize(
    ("answer", "objection"),
    [
        (Answer(200, SEEN, b"hi"), None),
        (Answer(200, SEEN, b"ho"), "wrong body"),
        (Answer(200, {}, b"hi"), "without its filter"),
        (Answer(503, SEEN, b""), "answered 503"),
        (Answer(200, SEEN, b"h", cut=True), "cut off"),
        (Answer(200, {**SEEN, "x-injected": "1"}, b"hi"), "injected"),
    ],
)
def test_what_an_answer_may_not_be(answer: Answer, objection: str | None) -> None:
    told = REQUEST.objection(answer)
    assert told is None if objection is None else objection in str(told)


def _ask(data: bytes, use: Callable[[Client], Awaitable[T]]) -> T:
    """What `use` finds where a server sends these bytes and closes."""

    async def main() -> T:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1)
            writer.write(data)
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            client = Client(5)
            await client.connect(server.sockets[0].getsockname()[1])
            await client.send(b"x")
            try:
                return await use(client)
            finally:
                await client.close()

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", LostError),
        (b"HTTP/1.1 200 OK\r\ncontent-le", MalformedError),
        (b"HTTP/1.1 20 OK\r\n\r\n", MalformedError),
        (b"HTTP/1.1 200 OK\r\nx y: 1\r\ncontent-length: 0\r\n\r\n", MalformedError),
        (b"HTTP/1.1 200 OK\r\n\r\n", MalformedError),
        (
            b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\ntransfer-encoding: chunked\r\n\r\n",
            MalformedError,
        ),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\ncontent-length: 0\r\n\r\n", MalformedError),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n", MalformedError),
    ],
)
def test_what_is_no_answer(data: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        _ask(data, lambda client: client.receive())


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n",
    ],
)
def test_an_answer_that_breaks_off(data: bytes) -> None:
    assert _ask(data, lambda client: client.receive()).cut


def test_bytes_after_an_answer_are_noticed() -> None:
    data = b"HTTP/1.1 204 No Content\r\n\r\n"

    async def twice(client: Client) -> None:
        await client.receive()
        await asyncio.sleep(0.1)
        assert client._place is not None
        await client.connect(client._place)

    with pytest.raises(MalformedError, match="after an answer"):
        _ask(data + data, twice)


def test_a_verdict_is_bad_for_one_objection_or_one_lost_request() -> None:
    told: list[str] = []
    verdict = Verdict(Settings(), tell=told.append)
    assert verdict.good
    verdict.object("it is late")
    assert told == ["WRONG: it is late"]
    assert not verdict.good
    assert list(verdict.lines())[-1] == "result: FAILED"
    assert not Verdict(Settings(), lost=1).good
