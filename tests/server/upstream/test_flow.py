"""Back-pressure both ways, bounds of the pool, waiting and cancelling."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from anywasm.core.errors import ClosedError, ConfigError
from anywasm.server.upstream import (
    Cluster,
    FailureReason,
    TlsOptions,
    UpstreamClusters,
)

Run = Callable[[Any], None]

PIECE = bytes(64 * 1024)


def test_an_upstream_that_does_not_read_makes_the_stream_unwritable(run: Run, up: Any) -> None:
    go = asyncio.Event()
    received = 0

    async def script(peer: Any) -> None:
        nonlocal received
        await peer.head()
        await go.wait()
        while received < total:
            received += len(await peer.reader.read(1 << 20))
        peer.send(up.OK)
        await peer.rest()

    total = 1 << 40

    async def main() -> None:
        nonlocal total
        async with up.serve(script) as client:
            headers = [(b"content-length", b"%d" % (1 << 26))]
            recorder, stream = client.begin(b"POST", headers=headers, end_stream=False)
            await up.eventually(lambda: client.pool.connections == 1)
            sent = 0
            while stream.writable:
                stream.send_data(PIECE)
                sent += len(PIECE)
                await asyncio.sleep(0)
            assert recorder.events == ["unwritable"]
            assert sent < 1 << 26
            total = 1 << 26
            go.set()
            await recorder.writable.wait()
            while sent < total:
                if not stream.writable:
                    recorder.writable.clear()
                    await recorder.writable.wait()
                stream.send_data(PIECE)
                sent += len(PIECE)
            stream.send_data(b"", True)
            await recorder.ended.wait()
            assert recorder.body == b"ok"
            assert received == total

    run(main())


def test_what_is_sent_before_the_connection_is_bounded_and_then_delivered(
    run: Run, up: Any
) -> None:
    async def script(peer: Any) -> None:
        await peer.head()
        data = await peer.until(b"\r\n0\r\n\r\n")
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n%07d" % len(data))
        await peer.rest()

    async def main() -> None:
        options = {"high_water": 1 << 17, "low_water": 1 << 16, "server": {"limit": 1 << 20}}
        async with up.serve(script, **options) as client:
            recorder, stream = client.begin(b"POST", end_stream=False)
            stream.send_data(PIECE)
            assert stream.writable
            stream.send_data(PIECE)
            assert not stream.writable
            assert recorder.events == ["unwritable"]
            await recorder.writable.wait()
            stream.send_data(b"", True)
            await recorder.ended.wait()
            expected = 2 * len(b"10000\r\n" + PIECE + b"\r\n") + len(b"0\r\n\r\n")
            assert int(recorder.body) == expected
            assert recorder.events == [
                "unwritable",
                "writable",
                "headers",
                "data",
                "end",
                "complete",
            ]

    run(main())


def test_a_paused_stream_stops_the_upstream(run: Run, up: Any) -> None:
    sent = 0
    size = 1 << 25

    async def script(peer: Any) -> None:
        nonlocal sent
        await peer.head()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        while sent < size:
            peer.send(PIECE)
            await peer.writer.drain()
            sent += len(PIECE)
        await peer.rest()

    async def main() -> None:
        async with up.serve(script) as client:
            streams: list[Any] = []

            def pause(event: str) -> None:
                if event == "headers":
                    streams[0].pause_reading()

            recorder, stream = client.begin(hook=pause)
            streams.append(stream)
            await up.eventually(lambda: sent > 0)
            last = -1
            while sent != last:
                last = sent
                await asyncio.sleep(0.05)
            assert sent < size
            assert recorder.events == ["headers"]
            stream.resume_reading()
            assert recorder.events == ["headers"]
            await recorder.ended.wait()
            assert recorder.events == ["headers", "data", "end", "complete"]
            assert len(recorder.body) == size
            # The connection reads again for whoever is next.
            assert client.pool.connections == 1

    run(main())


def test_pausing_before_there_is_a_response_holds_all_of_it(run: Run, up: Any) -> None:
    async def main() -> None:
        async with up.serve(up.always_ok) as client:
            recorder, stream = client.begin()
            stream.pause_reading()
            await up.eventually(lambda: client.pool.connections == 1)
            await asyncio.sleep(0.02)
            assert recorder.events == []
            stream.resume_reading()
            await recorder.ended.wait()
            assert recorder.body == b"ok"

            recorder, stream = client.begin()
            stream.pause_reading()
            await asyncio.sleep(0.02)
            assert recorder.events == []
            stream.resume_reading()
            await recorder.ended.wait()
            assert (await client.ask()).body == b"ok"
            assert client.upstream.accepted == 1

    run(main())


def test_a_response_read_before_the_close_survives_a_pause(run: Run, up: Any) -> None:
    async def main() -> None:
        response = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbo"
        for rest, end in ((b"dy", "complete"), (b"d", "reset")):
            async with up.serve(up.answering(response + rest)) as client:
                streams: list[Any] = []

                def pause(event: str, streams: Any = streams) -> None:
                    if event == "headers":
                        streams[0].pause_reading()

                recorder, stream = client.begin(hook=pause)
                streams.append(stream)
                await up.eventually(lambda: client.upstream.open == 0)
                await asyncio.sleep(0.02)
                assert recorder.events == ["headers"]
                stream.resume_reading()
                await recorder.ended.wait()
                assert recorder.body == b"bo" + rest
                assert recorder.events[-1] == end

    run(main())


def test_connections_are_bounded_and_requests_wait_in_order(run: Run, up: Any) -> None:
    async def main() -> None:
        async with up.serve(up.always_ok, max_connections=2) as client:
            order: list[int] = []
            recorders = [
                client.begin(hook=lambda e, n=n: order.append(n) if e == "complete" else None)[0]
                for n in range(20)
            ]
            assert client.pool.connecting == 2
            assert client.pool.pending == 20
            for recorder in recorders:
                await recorder.ended.wait()
                assert recorder.body == b"ok"
            assert client.upstream.accepted == 2
            assert sorted(order) == list(range(20))
            assert all(abs(place - n) <= 1 for place, n in enumerate(order))

    run(main())


def test_the_connection_used_last_is_used_next(run: Run, up: Any) -> None:
    async def main() -> None:
        async with up.serve(up.always_ok) as client:
            first, second = client.begin()[0], client.begin()[0]
            await first.ended.wait()
            await second.ended.wait()
            assert client.pool.connections == 2
            used = set()
            for _ in range(4):
                recorder, stream = client.begin()
                await recorder.ended.wait()
                used.add(stream.local_address)
            assert len(used) == 1

    run(main())


def test_too_many_waiting_requests_overflow(run: Run, up: Any) -> None:
    async def main() -> None:
        async with up.serve(up.always_ok, max_connections=1, max_pending=2) as client:
            recorders = [client.begin()[0] for _ in range(4)]
            for recorder in recorders:
                await recorder.ended.wait()
            assert [recorder.events[-1] for recorder in recorders] == [
                "complete",
                "complete",
                "reset",
                "reset",
            ]
            failure = recorders[3].failure
            assert failure.reason is FailureReason.OVERFLOW
            assert (failure.status, failure.flags) == (503, "UO")
            assert failure.text.endswith("reset reason: overflow")
            assert client.pool.counters.overflows == 2
            assert (await client.ask()).body == b"ok"

    run(main())


def test_a_request_can_be_given_up_at_any_time(run: Run, up: Any) -> None:
    async def hang(peer: Any) -> None:
        await peer.head()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nh")
        await peer.rest()

    async def main() -> None:
        async with up.serve(hang, max_connections=1) as client:
            first, connecting = client.begin()
            _, waiting = client.begin()
            waiting.reset()
            connecting.reset()
            assert first.events == ["reset"]
            assert client.pool.pending == 0
            # The connection that nobody waits for any more is kept for whoever comes.
            await up.eventually(lambda: client.pool.connections == 1)
            assert client.pool.active == 0
            recorder, stream = client.begin()
            await up.eventually(lambda: recorder.body == b"h")
            other, waiting = client.begin()
            assert client.pool.pending == 1
            waiting.reset()
            waiting.reset()
            assert other.events == ["reset"]
            stream.reset()
            assert recorder.events == ["headers", "data", "reset"]
            await up.eventually(lambda: client.upstream.open == 0)
            assert client.pool.counters.failures == 0

    run(main())


def test_idle_connections_are_closed_in_time(run: Run, up: Any) -> None:
    async def main() -> None:
        async with up.serve(up.always_ok, idle_timeout=0.05) as client:
            first, second = client.begin()[0], client.begin()[0]
            await first.ended.wait()
            await second.ended.wait()
            assert client.pool.connections == 2
            await up.eventually(lambda: client.upstream.open == 0)
            assert client.pool.connections == 0
            assert (await client.ask()).body == b"ok"
            await up.eventually(lambda: client.upstream.open == 0)

    run(main())


def test_a_connection_serves_only_so_many_requests(run: Run, up: Any) -> None:
    async def main() -> None:
        async with up.serve(up.always_ok, max_requests_per_connection=2) as client:
            for _ in range(5):
                assert (await client.ask()).body == b"ok"
            assert client.upstream.accepted == 3

    run(main())


def test_closing_the_pool_resets_everything(run: Run, up: Any) -> None:
    async def silent(peer: Any) -> None:
        await peer.rest()

    async def main() -> None:
        async with up.serve(silent, max_connections=2) as client:
            running, _ = client.begin()
            await up.eventually(lambda: client.pool.active == 1)
            connecting, _ = client.begin()
            waiting, _ = client.begin()
            client.pool.close()
            for recorder in (running, connecting, waiting):
                assert recorder.events == ["reset"]
                assert recorder.failure.reason is FailureReason.LOCAL_RESET
            with pytest.raises(ClosedError):
                client.begin()
            await up.eventually(lambda: client.upstream.open == 0)

    run(main())


def test_clusters_are_found_by_name(run: Run, up: Any) -> None:
    async def main() -> None:
        clusters = UpstreamClusters()
        pool = clusters.add(Cluster("a", endpoints=(("127.0.0.1", 1),)))
        clusters.add(Cluster("b", path="/nowhere"))
        assert clusters.names == ("a", "b")
        assert clusters.get("a") is pool
        assert clusters.get("c") is None
        with pytest.raises(ConfigError):
            clusters.add(Cluster("a", path="/nowhere"))
        clusters.close()
        assert clusters.get("a") is None
        assert len(clusters.names) == 0
        with pytest.raises(ClosedError):
            pool.request(up.Recorder(), b"GET", b"/", [])

    run(main())


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"endpoints": (("h", 1),), "path": "/s"},
        {"path": "/s", "connect_timeout": 0},
        {"path": "/s", "max_pending": -1},
        {"path": "/s", "max_requests_per_connection": 0},
        {"path": "/s", "low_water": 2, "high_water": 1},
        {"path": "/s", "tls": TlsOptions()},
    ],
)
def test_a_cluster_that_makes_no_sense_is_refused(options: Any) -> None:
    with pytest.raises(ConfigError, match="'up'"):
        Cluster("up", **options)
