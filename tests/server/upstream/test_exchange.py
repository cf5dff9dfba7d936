"""Requests out, responses back: framing, reuse, trailers, interim and early responses."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from anywasm.server.upstream import FailureReason, InvalidRequestError, StreamStateError

Run = Callable[[Any], None]

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def test_a_response_is_told_in_order_and_the_connection_reused(run: Run, up: Any) -> None:
    response = (
        b"HTTP/1.1 207 Multi\r\nX-A: 1 \r\nSet-Cookie: a\r\nx-a:2\r\nSet-Cookie: b\r\n"
        b"Content-Length: 5\r\n\r\nhello"
    )
    heads: list[bytes] = []

    async def script(peer: Any) -> None:
        for _ in range(3):
            heads.append(await peer.head())
            peer.send(response)

    async def main() -> None:
        async with up.serve(script) as client:
            for _ in range(3):
                answer = await client.ask(headers=[(b"x-b", b"1"), (b"x-b", b"2")])
                assert answer.events == ["headers", "data", "end", "complete"]
                assert (answer.status, answer.body) == (207, b"hello")
                assert answer.headers == [
                    (b"x-a", b"1"),
                    (b"set-cookie", b"a"),
                    (b"x-a", b"2"),
                    (b"set-cookie", b"b"),
                    (b"content-length", b"5"),
                ]
            assert set(heads) == {
                b"GET /path?query HTTP/1.1\r\nhost: h\r\nx-b: 1\r\nx-b: 2\r\n\r\n"
            }
            assert client.upstream.accepted == 1
            counters = client.pool.counters
            assert (counters.requests, counters.connects, counters.reused) == (3, 1, 2)
            assert client.pool.active == 0

    run(main())


@pytest.mark.parametrize(
    ("method", "headers", "end_stream", "line"),
    [
        (b"GET", [], True, None),
        (b"DELETE", [], True, None),
        (b"POST", [], True, b"content-length: 0"),
        (b"GET", [(b"connection", b"x, Close")], True, b"connection: close"),
        (b"GET", [(b"connection", b"keep-alive"), (b"transfer-encoding", b"gzip")], True, None),
        (b"POST", [], False, b"transfer-encoding: chunked"),
        (b"POST", [(b"content-length", b"4")], False, b"content-length: 4"),
    ],
)
def test_the_codec_frames_the_request(
    run: Run, up: Any, method: bytes, headers: Any, end_stream: bool, line: bytes | None
) -> None:
    heads: list[bytes] = []

    async def script(peer: Any) -> None:
        heads.append(await peer.head())
        peer.send(up.OK)
        await peer.rest()

    async def main() -> None:
        async with up.serve(script) as client:
            recorder, stream = client.begin(method, headers=headers, end_stream=end_stream)
            if not end_stream:
                stream.send_data(b"body", True)
            await recorder.ended.wait()
            lines = [] if line is None else [line]
            assert heads[0].split(b"\r\n")[1:-2] == [b"host: h", *lines]
            # Asked to close, the upstream need not; this side does then.
            await up.eventually(lambda: client.pool.connections == (line != b"connection: close"))

    run(main())


def test_bodies_and_trailers_go_both_ways(run: Run, up: Any) -> None:
    async def script(peer: Any) -> None:
        await peer.head()
        assert await peer.until(b"0\r\na: 1\r\nb: 2\r\n\r\n") == (
            b"3\r\nabc\r\n2\r\nde\r\n0\r\na: 1\r\nb: 2\r\n\r\n"
        )
        peer.send(CHUNKED + b"3;x=y\r\nabc\r\n")
        await asyncio.sleep(0.01)
        peer.send(b"A\r\n0123456789\r\n0\r\nT: 1\r\nConnection: no\r\nT: 2\r\n\r\n")
        await peer.rest()

    async def main() -> None:
        async with up.serve(script) as client:
            recorder, stream = client.begin(b"POST", end_stream=False)
            stream.send_data(b"abc")
            stream.send_data(b"")
            stream.send_data(b"de")
            stream.send_trailers([(b"a", b"1"), (b"b", b"2"), (b"content-length", b"3")])
            with pytest.raises(StreamStateError):
                stream.send_data(b"late")
            with pytest.raises(StreamStateError):
                stream.send_raw(b"late")
            await recorder.ended.wait()
            stream.send_data(b"dropped")
            assert recorder.events == ["headers", "data", "trailers", "complete"]
            assert recorder.body == b"abc0123456789"
            assert recorder.trailers == [(b"t", b"1"), (b"t", b"2")]
            assert client.pool.connections == 1

    run(main())


def test_trailers_without_chunks_only_end_the_body(run: Run, up: Any) -> None:
    async def script(peer: Any) -> None:
        await peer.head()
        assert await peer.until(b"abc") == b"abc"
        peer.send(up.OK)
        assert await peer.rest() == b""

    async def main() -> None:
        async with up.serve(script) as client:
            headers = [(b"content-length", b"3")]
            recorder, stream = client.begin(b"POST", headers=headers, end_stream=False)
            stream.send_data(b"abc")
            stream.send_trailers([(b"a", b"1")])
            await recorder.ended.wait()
            assert recorder.events[-1] == "complete"

    run(main())


@pytest.mark.parametrize(
    ("method", "response"),
    [
        (b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
        (b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        (b"HEAD", CHUNKED),
        (b"HEAD", b"HTTP/1.1 200 OK\r\n\r\n"),
        (b"GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
        (b"GET", b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n"),
        (b"GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"),
        (b"GET", b"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (b"GET", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        (b"GET", b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 0\r\n\r\n"),
    ],
)
def test_bodiless_responses_leave_the_connection_usable(
    run: Run, up: Any, method: bytes, response: bytes
) -> None:
    async def main() -> None:
        async with up.serve(up.answering(response, response, up.OK)) as client:
            for _ in range(2):
                answer = await client.ask(method)
                assert answer.events == ["headers+end", "complete"]
            assert (await client.ask()).body == b"ok"
            assert client.upstream.accepted == 1

    run(main())


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 204 OK\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 204 OK\r\n\r\nHTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nX",
    ],
)
def test_a_connection_is_not_reused_where_that_is_unsafe(
    run: Run, up: Any, method: bytes, response: bytes
) -> None:
    async def script(peer: Any) -> None:
        await peer.head()
        peer.send(response)
        await peer.rest()

    async def main() -> None:
        async with up.serve(script) as client:
            answer = await client.ask(method)
            assert answer.events == ["headers+end", "complete"]
            await up.eventually(lambda: client.upstream.open == 0)
            assert client.pool.connections == 0

    run(main())


@pytest.mark.parametrize(
    "body", [b"hello", b"\r\n5\r\nhello\r\n0\r\n\r\n", b"5\r\nhello\r\n0\r\n\r\n"]
)
@pytest.mark.parametrize("framing", [b"Content-Length: 99", b"Transfer-Encoding: chunked", b"A: b"])
def test_a_body_after_the_head_for_head_is_not_taken_for_the_next_response(
    run: Run, up: Any, framing: bytes, body: bytes
) -> None:
    async def script(peer: Any) -> None:
        await peer.head()
        peer.send(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n" + body)
        await peer.rest()

    async def main() -> None:
        async with up.serve(script) as client:
            answer = await client.ask(b"HEAD")
            assert answer.events == ["headers+end", "complete"]
            await up.eventually(lambda: client.upstream.open == 0)

    run(main())


def test_bytes_on_an_idle_connection_close_it(run: Run, up: Any) -> None:
    async def script(peer: Any) -> None:
        await peer.head()
        peer.send(up.OK)
        await asyncio.sleep(0.01)
        peer.send(up.OK)
        await peer.rest()

    async def main() -> None:
        async with up.serve(script) as client:
            assert (await client.ask()).body == b"ok"
            await up.eventually(lambda: client.pool.connections == 0)
            assert (await client.ask()).body == b"ok"
            assert client.upstream.accepted == 2

    run(main())


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_a_body_without_length_ends_with_the_connection(run: Run, up: Any, version: bytes) -> None:
    async def main() -> None:
        response = b"HTTP/%b 200 OK\r\n\r\nall there is" % version
        async with up.serve(up.answering(response)) as client:
            answer = await client.ask()
            assert answer.events == ["headers", "data", "end", "complete"]
            assert answer.body == b"all there is"
            await up.eventually(lambda: client.pool.connections == 0)

    run(main())


def test_interim_responses_come_before_the_final_one(run: Run, up: Any) -> None:
    async def script(peer: Any) -> None:
        assert b"expect: 100-continue" in await peer.head()
        peer.send(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: a\r\n\r\n")
        await peer.until(b"0\r\n\r\n")
        peer.send(b"HTTP/1.1 199 x\r\n\r\n" + up.OK)
        await peer.rest()

    async def main() -> None:
        async with up.serve(script) as client:
            headers = [(b"expect", b"100-continue")]
            recorder, stream = client.begin(b"POST", headers=headers, end_stream=False)
            await up.eventually(lambda: len(recorder.informational) == 2)
            stream.send_data(b"now", True)
            await recorder.ended.wait()
            assert recorder.informational == [(100, []), (103, [(b"link", b"a")]), (199, [])]
            assert recorder.body == b"ok"
            assert client.pool.connections == 1

    run(main())


def test_an_early_response_is_delivered_and_the_connection_not_reused(run: Run, up: Any) -> None:
    async def main() -> None:
        async with up.serve(up.always_ok) as client:
            recorder, stream = client.begin(b"POST", end_stream=False)
            stream.send_data(b"some")
            await recorder.ended.wait()
            assert recorder.events == ["headers", "data", "end", "complete"]
            stream.send_data(b"more", True)
            stream.send_trailers([])
            stream.reset()
            stream.pause_reading()
            await up.eventually(lambda: client.pool.connections == 0)

    run(main())


def test_an_early_head_leaves_the_request_going(run: Run, up: Any) -> None:
    async def script(peer: Any) -> None:
        await peer.head()
        peer.send(CHUNKED)
        while (line := await peer.until(b"\r\n")) != b"0\r\n":
            data = await peer.until(b"\r\n")
            peer.send(line + data)
        await peer.until(b"\r\n")
        peer.send(b"0\r\n\r\n")
        await peer.rest()

    async def main() -> None:
        async with up.serve(script) as client:
            recorder, stream = client.begin(b"POST", end_stream=False)
            for piece in (b"one", b"two", b"three"):
                stream.send_data(piece)
                await up.eventually(lambda piece=piece: recorder.body.endswith(piece))
            stream.send_data(b"", True)
            await recorder.ended.wait()
            assert recorder.body == b"onetwothree"
            assert client.pool.connections == 1

    run(main())


@pytest.mark.parametrize("pieces", [[b"abcd"], [b"ab", b"cd"], [b"a", b""]])
def test_a_body_of_the_wrong_length_never_looks_complete(
    run: Run, up: Any, pieces: list[bytes]
) -> None:
    received: list[bytes] = []

    async def script(peer: Any) -> None:
        await peer.head()
        received.append(await peer.rest())

    async def main() -> None:
        async with up.serve(script) as client:
            await asyncio.sleep(0)
            headers = [(b"content-length", b"3")]
            recorder, stream = client.begin(b"POST", headers=headers, end_stream=False)
            await up.eventually(lambda: client.pool.connections == 1)
            for piece in pieces[:-1]:
                stream.send_data(piece)
            stream.send_data(pieces[-1], end_stream=True)
            assert recorder.events == ["reset"]
            assert recorder.failure.reason is FailureReason.LOCAL_RESET
            await up.eventually(lambda: bool(received))
            assert len(received[0]) < 3
            assert client.pool.counters.failures == 0

    run(main())


@pytest.mark.parametrize(
    ("method", "target", "headers", "end_stream", "upgrade"),
    [
        (b"G T", b"/", [], True, False),
        (b"", b"/", [], True, False),
        (b"CONNECT", b"h:1", [], True, False),
        (b"GET", b"/ HTTP/1.1\r\nX: y", [], True, False),
        (b"GET", b"/\x7f", [], True, False),
        (b"GET", b"", [], True, False),
        (b"GET", b"/", [(b"a", b"b\r\nc: d")], True, False),
        (b"GET", b"/", [(b"a b", b"c")], True, False),
        (b"GET", b"/", [(b"content-length", b"3")], True, False),
        (b"GET", b"/", [(b"content-length", b"x")], False, False),
        (b"GET", b"/", [(b"content-length", b"3"), (b"content-length", b"3")], False, False),
        (b"GET", b"/", [(b"upgrade", b"websocket")], False, True),
    ],
)
def test_what_cannot_be_sent_is_refused_at_once(
    run: Run,
    up: Any,
    method: bytes,
    target: bytes,
    headers: Any,
    end_stream: bool,
    upgrade: bool,
) -> None:
    async def main() -> None:
        async with up.serve(up.always_ok) as client:
            handler = up.Recorder()
            on_data = handler.on_upgraded_data if upgrade else None
            with pytest.raises(InvalidRequestError):
                client.pool.request(handler, method, target, headers, end_stream, on_data)
            await asyncio.sleep(0.01)
            assert handler.events == []
            assert client.pool.counters.requests == client.upstream.accepted == 0

    run(main())


@pytest.mark.parametrize("event", ["informational", "headers", "data", "end"])
def test_an_exception_of_the_handler_resets_its_stream_only(
    run: Run, up: Any, event: str, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(happened: str) -> None:
        if happened == event:
            raise ZeroDivisionError

    async def main() -> None:
        script = up.answering(b"HTTP/1.1 100 Continue\r\n\r\n" + up.OK)
        async with up.serve(script) as client:
            answer = await client.ask(hook=fail)
            assert answer.events[-2:] == [event, "reset"]
            assert answer.failure.reason is FailureReason.LOCAL_RESET
            assert "ZeroDivisionError" in caplog.text
            assert (await client.ask()).body == b"ok"

    run(main())


def test_an_exception_at_the_end_is_logged(
    run: Run, up: Any, caplog: pytest.LogCaptureFixture
) -> None:
    happened = asyncio.Event()

    def fail(event: str) -> None:
        if event in ("complete", "reset"):
            client.recorders[-1].ended.set()
            happened.set()
            raise ZeroDivisionError

    client: Any = None

    async def main() -> None:
        nonlocal client
        async with up.serve(up.always_ok) as client:
            client.begin(hook=fail)
            await happened.wait()
            _, stream = client.begin(hook=fail)
            stream.reset()
            assert caplog.text.count("failed at the end") == 2

    run(main())


def test_a_handler_may_reset_or_ask_again_from_any_callback(run: Run, up: Any) -> None:
    async def main() -> None:
        for event in ("headers", "data", "end"):
            async with up.serve(up.always_ok) as client:
                streams: list[Any] = []

                def reset(happened: str, event: str = event, streams: Any = streams) -> None:
                    if happened == event:
                        streams[0].reset("enough")

                recorder, stream = client.begin(hook=reset)
                streams.append(stream)
                await recorder.ended.wait()
                assert recorder.events[-2:] == [event, "reset"]
                assert recorder.failure.detail == "enough"

        async with up.serve(up.always_ok) as client:
            later: list[Any] = []

            def again(happened: str) -> None:
                if happened == "complete":
                    later.append(client.begin()[0])

            await client.ask(hook=again)
            await later[0].ended.wait()
            assert later[0].body == b"ok"
            assert client.upstream.accepted == 1

    run(main())


def test_addresses_are_known_once_connected(run: Run, up: Any) -> None:
    async def main() -> None:
        async with up.serve(up.always_ok) as client:
            recorder, stream = client.begin()
            assert (stream.remote_address, stream.local_address) == (None, None)
            await recorder.ended.wait()
            assert stream.remote_address == ("127.0.0.1", client.upstream.port)
            assert stream.local_address[0] == "127.0.0.1"

    run(main())


def test_a_unix_socket_serves_too(run: Run, up: Any, tmp_path: Any) -> None:
    async def main() -> None:
        async with up.serve(up.always_ok, path=str(tmp_path / "s")) as client:
            recorder, stream = client.begin()
            await recorder.ended.wait()
            assert recorder.body == b"ok"
            assert stream.remote_address is None

    run(main())
