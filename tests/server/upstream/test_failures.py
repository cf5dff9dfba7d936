"""Each way in which an upstream can fail, and what is tried again."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import Any

import pytest

from anywasm.server.upstream import FailureReason, TlsOptions

Run = Callable[[Any], None]

BEFORE_HEADERS = "upstream connect error or disconnect/reset before headers. reset reason: "
HEAD = b"HTTP/1.1 200 OK\r\n"


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def check(recorder: Any, reason: FailureReason, status: int, flags: str) -> None:
    failure = recorder.failure
    assert failure.reason is reason
    assert (failure.status, failure.flags) == (status, flags)
    assert failure.text == BEFORE_HEADERS + reason.value
    assert failure.detail


def test_a_refused_connection_fails_all_that_wait_for_it(run: Run, up: Any) -> None:
    async def main() -> None:
        async with up.pooled(endpoints=(("127.0.0.1", unused_port()),)) as client:
            recorders = [client.begin()[0] for _ in range(3)]
            for recorder in recorders:
                await recorder.ended.wait()
                assert recorder.events == ["reset"]
                check(recorder, FailureReason.CONNECTION_FAILURE, 503, "UF")
                assert "remote connection failure" in recorder.failure.text
            assert client.pool.counters.failures == 3

    run(main())


@pytest.mark.parametrize("place", [{"path": "/nowhere/s"}, {"endpoints": (("a..b", 80),)}])
def test_a_place_that_does_not_exist_is_a_connection_failure(run: Run, up: Any, place: Any) -> None:
    async def main() -> None:
        async with up.pooled(**place) as client:
            check(await client.ask(), FailureReason.CONNECTION_FAILURE, 503, "UF")

    run(main())


def test_a_connection_that_does_not_come_up_times_out(run: Run, up: Any) -> None:
    async def silent(peer: Any) -> None:
        await peer.rest()

    async def main() -> None:
        options = {"tls": TlsOptions(insecure=True), "connect_timeout": 0.1}
        async with up.serve(silent, **options) as client:
            check(await client.ask(), FailureReason.CONNECTION_TIMEOUT, 503, "UF")
            await up.eventually(lambda: client.upstream.open == 0)

    run(main())


def test_another_endpoint_is_tried_and_a_dead_one_left_out(run: Run, up: Any) -> None:
    async def main() -> None:
        upstream = up.Upstream(up.answering(up.OK))
        await upstream.start()
        dead, alive = ("127.0.0.1", unused_port()), ("127.0.0.1", upstream.port)
        async with up.pooled(endpoints=(dead, alive)) as client:
            for _ in range(6):
                assert (await client.ask()).body == b"ok"
                await up.eventually(lambda: client.pool.connections == 0)
            assert client.pool.counters.connect_failures == 1
            await upstream.stop()
            recorder = await client.ask()
            assert recorder.failure.reason is FailureReason.CONNECTION_FAILURE
            assert client.pool.counters.connect_failures == 3

    run(main())


def test_endpoints_are_used_in_turn(run: Run, up: Any) -> None:
    async def main() -> None:
        upstreams = [up.Upstream(up.answering(up.OK)) for _ in range(2)]
        for upstream in upstreams:
            await upstream.start()
        places = tuple(("127.0.0.1", upstream.port) for upstream in upstreams)
        async with up.pooled(endpoints=places) as client:
            for _ in range(6):
                await client.ask()
                await up.eventually(lambda: client.pool.connections == 0)
            assert [upstream.accepted for upstream in upstreams] == [3, 3]
        for upstream in upstreams:
            await upstream.stop()

    run(main())


def test_a_failure_to_connect_leaves_others_waiting_for_what_is_open(run: Run, up: Any) -> None:
    go = asyncio.Event()

    async def script(peer: Any) -> None:
        await peer.head()
        await go.wait()
        peer.send(up.OK)
        await peer.head()
        peer.send(up.OK)
        await peer.rest()

    async def main() -> None:
        async with up.serve(script, max_connections=2) as client:
            first, _ = client.begin()
            await up.eventually(lambda: client.pool.active == 1)
            client.upstream.server.close()
            second, third = client.begin()[0], client.begin()[0]
            await second.ended.wait()
            check(second, FailureReason.CONNECTION_FAILURE, 503, "UF")
            await third.ended.wait()
            fourth, _ = client.begin()
            go.set()
            await first.ended.wait()
            await fourth.ended.wait()
            assert first.body == b"ok"

    run(main())


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 2"])
def test_an_upstream_that_closes_before_its_head_is_a_termination(
    run: Run, up: Any, sent: bytes
) -> None:
    async def main() -> None:
        async with up.serve(up.answering(sent)) as client:
            recorder = await client.ask()
            assert recorder.events[-1] == "reset"
            check(recorder, FailureReason.CONNECTION_TERMINATION, 503, "UC")
            # It was a new connection: nothing says that trying again would help.
            assert client.upstream.accepted == 1
            assert client.pool.counters.failures == 1

    run(main())


@pytest.mark.parametrize(
    "sent",
    [
        HEAD + b"Content-Length: 5\r\n\r\nhell",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n4\r\nhell\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n4\r\nhell\r\n0\r\n",
    ],
)
def test_a_truncated_body_never_looks_complete(run: Run, up: Any, sent: bytes) -> None:
    async def main() -> None:
        async with up.serve(up.answering(sent)) as client:
            recorder = await client.ask()
            assert recorder.events == ["headers", "data", "reset"]
            assert recorder.body == b"hell"
            assert recorder.failure.reason is FailureReason.CONNECTION_TERMINATION

    run(main())


def test_a_tcp_reset_is_no_good_end_of_a_body_without_length(run: Run, up: Any) -> None:
    async def script(peer: Any) -> None:
        await peer.head()
        peer.send(HEAD + b"\r\nsome")
        await go.wait()
        sock = peer.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.writer.transport.abort()

    go = asyncio.Event()

    async def main() -> None:
        async with up.serve(script) as client:
            recorder, _ = client.begin()
            await up.eventually(lambda: recorder.body == b"some")
            go.set()
            await recorder.ended.wait()
            assert recorder.events == ["headers", "data", "reset"]
            assert recorder.failure.reason is FailureReason.CONNECTION_TERMINATION

    run(main())


@pytest.mark.parametrize(
    "response",
    [
        b"garbage\r\n\r\n",
        b"\x00",
        b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/0.9 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 1000 OK\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\n\r\n",
        b"HTTP/1.1 103 Hints\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.1 204 No\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\na",
        HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\na",
        HEAD + b"Content-Length: -1\r\n\r\n",
        HEAD + b"Content-Length: 1, 1\r\n\r\na",
        HEAD + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"A: b\r\n c\r\nContent-Length: 0\r\n\r\n",
        HEAD + b"A : b\r\nContent-Length: 0\r\n\r\n",
        HEAD + b"A: b\x00\r\nContent-Length: 0\r\n\r\n",
        HEAD + b"A: " + b"b" * 70_000 + b"\r\n\r\n",
        HEAD + b"A: " + b"b" * 200_000,
        HEAD + b"A: b\r\n" * 101 + b"\r\n",
    ],
)
def test_what_is_no_response_is_a_protocol_error(run: Run, up: Any, response: bytes) -> None:
    async def script(peer: Any) -> None:
        await peer.head()
        peer.send(response)
        await peer.rest()

    async def main() -> None:
        async with up.serve(script) as client:
            recorder = await client.ask()
            assert recorder.events == ["reset"]
            check(recorder, FailureReason.PROTOCOL_ERROR, 502, "UPE")
            await up.eventually(lambda: client.upstream.open == 0)

    run(main())


@pytest.mark.parametrize(
    "body",
    [
        b"3\r\nabcX",
        b"3\nabc",
        b"3;" + b"x" * 700_000,
        b"3\r\nabc\r\n0\r\nA: " + b"b" * 70_000 + b"\r\n\r\n",
        b"3\r\nabc\r\n0\r\n" + b"A: b\r\n" * 101 + b"\r\n",
        b"3\r\nabc\r\n0\r\nContent-Length: 3\r\n\r\n",
    ],
)
def test_a_bad_body_is_a_protocol_error_after_the_head(run: Run, up: Any, body: bytes) -> None:
    async def script(peer: Any) -> None:
        await peer.head()
        peer.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + body)
        await peer.rest()

    async def main() -> None:
        async with up.serve(script) as client:
            recorder = await client.ask()
            assert recorder.events[0] == "headers"
            assert recorder.events[-1] == "reset"
            assert recorder.failure.reason is FailureReason.PROTOCOL_ERROR

    run(main())


def stale_after(first: bytes, reset: bool, accepted: list[int]) -> Any:
    """The first connection answers once and goes at the next request; later ones answer."""

    async def script(peer: Any) -> None:
        accepted.append(len(accepted))
        await peer.head()
        peer.send(first)
        if len(accepted) > 1:
            await peer.rest()
            return
        await peer.head()
        if reset:
            sock = peer.writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            peer.writer.transport.abort()

    return script


@pytest.mark.parametrize("reset", [False, True])
def test_a_request_that_meets_a_closing_connection_is_sent_once_more(
    run: Run, up: Any, reset: bool
) -> None:
    async def main() -> None:
        async with up.serve(stale_after(up.OK, reset, []), max_connections=1) as client:
            await client.ask()
            recorder = await client.ask()
            assert recorder.events == ["headers", "data", "end", "complete"]
            assert client.upstream.accepted == 2
            assert client.pool.counters.retries == 1

    run(main())


def test_a_head_whose_body_was_not_begun_is_sent_once_more(run: Run, up: Any) -> None:
    async def main() -> None:
        accepted: list[int] = []
        async with up.serve(stale_after(up.OK, False, accepted)) as client:
            await client.ask()
            recorder, stream = client.begin(b"PUT", end_stream=False)
            await up.eventually(lambda: client.pool.counters.connects == 2)
            stream.send_data(b"body", True)
            await recorder.ended.wait()
            assert recorder.events[-1] == "complete"

    run(main())


@pytest.mark.parametrize(("method", "body"), [(b"PUT", b"x"), (b"POST", None), (b"PATCH", b"x")])
def test_what_may_have_had_an_effect_is_not_sent_again(
    run: Run, up: Any, method: bytes, body: bytes | None
) -> None:
    async def main() -> None:
        async with up.serve(stale_after(up.OK, False, [])) as client:
            await client.ask()
            recorder, stream = client.begin(method, end_stream=body is None)
            if body is not None:
                stream.send_data(body)
            await recorder.ended.wait()
            check(recorder, FailureReason.CONNECTION_TERMINATION, 503, "UC")
            assert client.upstream.accepted == 1
            assert client.pool.counters.retries == 0

    run(main())


def test_after_one_byte_of_a_response_nothing_is_sent_again(run: Run, up: Any) -> None:
    async def main() -> None:
        async with up.serve(up.answering(up.OK, b"H")) as client:
            await client.ask()
            recorder = await client.ask()
            assert recorder.failure.reason is FailureReason.CONNECTION_TERMINATION
            assert client.upstream.accepted == 1

    run(main())


def test_it_is_sent_again_only_once(run: Run, up: Any) -> None:
    async def script(peer: Any) -> None:
        await peer.head()
        if client.upstream.accepted == 1:
            peer.send(up.OK)
            await peer.head()

    client: Any = None

    async def main() -> None:
        nonlocal client
        async with up.serve(script) as client:
            await client.ask()
            recorder = await client.ask()
            assert recorder.failure.reason is FailureReason.CONNECTION_TERMINATION
            assert client.upstream.accepted == 2

    run(main())


def test_a_connection_closed_while_idle_is_not_used(run: Run, up: Any) -> None:
    async def main() -> None:
        async with up.serve(up.answering(up.OK)) as client:
            for _ in range(3):
                assert (await client.ask(b"POST")).body == b"ok"
                await up.eventually(lambda: client.pool.connections == 0)
            assert client.pool.counters.retries == 0

    run(main())
