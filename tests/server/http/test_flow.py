"""Slow clients, clients that go away, timeouts, and stopping."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from anywasm.core.errors import ConfigError
from anywasm.server.http import HttpLimits, Listener

Run = Callable[[Any], None]

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\n"
PIECE = bytes(64 * 1024)


def nothing(handler: Any) -> None:
    """Leave the request unanswered."""


async def fill(handler: Any) -> int:
    """Send until the client no longer keeps up; return how much went out."""
    sent = 0
    while handler.exchange.writable:
        handler.exchange.send_data(PIECE)
        sent += len(PIECE)
        await asyncio.sleep(0)
    assert handler.unwritable.is_set()
    return sent


def test_slow_reader_is_told_of_and_caught_up_with(run: Run, http: Any) -> None:
    async def main() -> None:
        async with http.serve(on_end=nothing) as server:
            client = await server.connect(limit=1024)
            client.send(GET)
            handler = await server.handler()
            handler.exchange.send_headers(200)
            sent = await fill(handler)
            assert sent < 64 * 1024 * 1024
            assert not handler.writable.is_set()
            response = asyncio.ensure_future(client.response())
            await handler.writable.wait()
            handler.exchange.send_data(b"", end_stream=True)
            assert len((await response).body) == sent

    run(main())


def test_unwritable_within_one_callback(run: Run, http: Any) -> None:
    def flood(handler: Any) -> None:
        handler.exchange.send_headers(200)
        for _ in range(1024):
            if not handler.exchange.writable:
                return
            handler.exchange.send_data(PIECE)
        raise AssertionError("never told that the client does not read")

    async def main() -> None:
        async with http.serve(on_end=flood) as server:
            client = await server.connect(limit=1024)
            client.send(GET)
            handler = await server.handler()
            await handler.unwritable.wait()
            assert not handler.ended.is_set()

    run(main())


def test_exception_in_on_unwritable_cuts(run: Run, http: Any) -> None:
    def flood(handler: Any) -> None:
        handler.on_unwritable = lambda: 1 / 0
        handler.exchange.respond(200, [], bytes(32 * 1024 * 1024))

    async def main() -> None:
        async with http.serve(on_end=flood) as server:
            client = await server.connect()
            client.send(GET)
            handler = await server.handler()
            await handler.ended.wait()
            assert handler.events[-1] == "reset: the handler failed"

    run(main())


def test_pipelining_client_that_does_not_read_is_not_served_on(run: Run, http: Any) -> None:
    async def main() -> None:
        async with http.serve(
            on_end=lambda handler: handler.exchange.respond(200, [], PIECE)
        ) as server:
            client = await server.connect(limit=1024)
            client.send(GET * 600)
            await asyncio.sleep(0.2)
            served = len(server.handlers)
            assert served < 400
            for _ in range(600):
                assert len((await client.response()).body) == len(PIECE)

    run(main())


def test_paused_reading_holds_the_body_and_the_client(run: Run, http: Any) -> None:
    size = 32 * 1024 * 1024

    async def main() -> None:
        async with http.serve(
            on_headers=lambda handler: handler.exchange.pause_reading()
        ) as server:
            client = await server.connect()
            client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % size)
            client.send(bytes(size))
            handler = await server.handler()
            await asyncio.sleep(0.05)
            assert handler.events == ["headers"]
            assert server.listener.counters.bytes_received < size // 4
            handler.exchange.resume_reading()
            assert len((await client.response()).body) == size

    run(main())


def test_pause_between_pieces(run: Run, http: Any) -> None:
    async def main() -> None:
        async with http.serve() as server:
            client = await server.connect()
            client.send(POST + b"abc")
            handler = await server.handler()
            handler.exchange.pause_reading()
            client.send(b"def" + GET)
            await asyncio.sleep(0.02)
            assert handler.body == b"abc"
            handler.exchange.resume_reading()
            assert (await client.response()).body == b"abcdef"
            assert (await client.response()).status == 200

    run(main())


def test_answer_while_paused_lets_the_next_request_through(run: Run, http: Any) -> None:
    async def main() -> None:
        def refuse(handler: Any) -> None:
            handler.exchange.pause_reading()
            if handler.exchange.has_body:
                handler.exchange.respond(403)

        async with http.serve(on_headers=refuse) as server:
            client = await server.connect()
            client.send(POST + b"abcdef" + GET)
            assert (await client.response()).status == 403
            assert (await client.response()).status == 200

    run(main())


@pytest.mark.parametrize("request_bytes", [GET, POST + b"abc"])
def test_client_that_goes_away_resets_the_exchange(
    run: Run, http: Any, request_bytes: bytes
) -> None:
    async def main() -> None:
        async with http.serve(on_end=nothing) as server:
            client = await server.connect()
            client.send(request_bytes)
            handler = await server.handler()
            await client.close()
            await handler.ended.wait()
            assert handler.events[-1] == "reset: the client closed the connection"
            handler.exchange.respond(200, [], b"too late")
            handler.exchange.send_data(b"too late")

    run(main())


def test_client_that_goes_away_in_the_response(run: Run, http: Any) -> None:
    async def main() -> None:
        async with http.serve(on_end=nothing) as server:
            client = await server.connect(limit=1024)
            client.send(GET)
            handler = await server.handler()
            handler.exchange.send_headers(200)
            await fill(handler)
            client.writer.transport.abort()
            await handler.ended.wait()
            assert handler.events[-1].startswith("reset: ")

    run(main())


def test_half_closed_client_still_gets_what_was_answered(run: Run, http: Any) -> None:
    async def main() -> None:
        async with http.serve() as server:
            client = await server.connect()
            client.send(GET + GET)
            client.writer.write_eof()
            for _ in range(2):
                assert (await client.response()).status == 200
            assert await client.rest() == b""

    run(main())


def test_slow_headers_time_out(run: Run, http: Any) -> None:
    async def main() -> None:
        async with http.serve(limits={"header_timeout": 0.1}) as server:
            client = await server.connect()
            client.send(GET)
            assert (await client.response()).status == 200
            drip = asyncio.ensure_future(_drip(client))
            assert (await client.response()).status == 408
            drip.cancel()
            assert server.listener.counters.timeouts == 1

    async def _drip(client: Any) -> None:
        for byte in GET[:-2] * 100:
            client.send(bytes([byte]))
            await asyncio.sleep(0.01)

    run(main())


def test_idle_connections_are_closed_silently(run: Run, http: Any) -> None:
    async def main() -> None:
        async with http.serve(limits={"idle_timeout": 0.1}) as server:
            fresh = await server.connect()
            used = await server.connect()
            assert (await used.ask(GET)).status == 200
            assert await fresh.rest() == b""
            assert await used.rest() == b""
            assert server.listener.counters.timeouts == 0

    run(main())


def test_slow_body_times_out_but_a_waiting_handler_does_not(run: Run, http: Any) -> None:
    async def main() -> None:
        async with http.serve(limits={"body_timeout": 0.1}) as server:
            client = await server.connect()
            client.send(POST + b"abc")
            assert (await client.response()).status == 408
            assert server.handlers[0].events[-1].startswith("reset: the request body")
            paused = await server.connect()
            paused.send(POST)
            await http.eventually(lambda: len(server.handlers) == 2)
            server.handlers[1].exchange.pause_reading()
            await asyncio.sleep(0.4)
            server.handlers[1].exchange.resume_reading()
            assert (await paused.ask(b"abcdef")).status == 200

    run(main())


def test_client_that_never_reads_is_cut(run: Run, http: Any) -> None:
    async def main() -> None:
        async with http.serve(on_end=nothing, limits={"write_timeout": 0.1}) as server:
            client = await server.connect(limit=1024)
            client.send(GET)
            handler = await server.handler()
            handler.exchange.send_headers(200)
            await fill(handler)
            await handler.ended.wait()
            assert handler.events[-1] == "reset: the client does not read the response"
            assert server.listener.counters.timeouts == 1

    run(main())


def test_lingering_connection_is_dropped_in_the_end(run: Run, http: Any) -> None:
    async def main() -> None:
        async with http.serve(limits={"linger_timeout": 0.1}) as server:
            client = await server.connect()
            client.send(b"nonsense\r\n\r\n")
            assert (await client.response()).status == 400
            assert server.listener.connections_active == 1
            client.send(b"more nonsense")
            await http.eventually(lambda: not server.listener.connections_active)

    run(main())


def test_drain_finishes_what_is_under_way(run: Run, http: Any) -> None:
    async def main() -> None:
        async with http.serve(on_end=nothing) as server:
            idle = await server.connect()
            busy = await server.connect()
            busy.send(GET + GET)
            handler = await server.handler()
            await http.eventually(lambda: server.listener.connections_active == 2)
            port = server.port
            drained = asyncio.ensure_future(server.listener.drain(10))
            assert await idle.rest() == b""
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", port)
            handler.exchange.respond(200, [], b"done")
            response = await busy.response()
            assert response.body == b"done"
            assert response.values(b"connection") == [b"close"]
            assert await busy.rest() == b""
            assert await drained == 0
            assert server.listener.addresses == []

    run(main())


def test_drain_cuts_the_rest_at_the_deadline(run: Run, http: Any) -> None:
    async def main() -> None:
        async with http.serve(on_end=nothing) as server:
            client = await server.connect()
            client.send(GET)
            handler = await server.handler()
            assert await server.listener.drain(0.05) == 1
            assert handler.events[-1] == "reset: the server is stopping"
            with contextlib.suppress(ConnectionResetError):
                assert await client.rest() == b""

    run(main())


def test_drain_waits_for_a_stream_whose_head_is_out(run: Run, http: Any) -> None:
    async def main() -> None:
        async with http.serve(on_end=lambda handler: handler.exchange.send_headers(200)) as server:
            client = await server.connect()
            client.send(GET)
            handler = await server.handler()
            drained = asyncio.ensure_future(server.listener.drain(10))
            await asyncio.sleep(0)
            handler.exchange.send_data(b"late", end_stream=True)
            response = await client.response()
            assert (response.body, response.values(b"connection")) == (b"late", [])
            assert await client.rest() == b""
            assert await drained == 0

    run(main())


def test_stop_does_not_complete_a_body_that_ends_by_closing(run: Run, http: Any) -> None:
    def start(handler: Any) -> None:
        handler.exchange.send_headers(200)
        handler.exchange.send_data(b"half of it")

    async def main() -> None:
        async with http.serve(on_end=start) as server:
            client = await server.connect()
            client.send(b"GET / HTTP/1.0\r\n\r\n")
            await client.reader.readuntil(b"half of it")
            server.listener.close()
            with pytest.raises(ConnectionResetError):
                await client.rest()

    run(main())


def test_unix_socket(run: Run, http: Any, tmp_path: Path) -> None:
    path = str(tmp_path / "http.sock")

    async def main() -> None:
        async with http.serve(path=path) as server:
            assert server.listener.addresses == [path]
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
            assert (await reader.read()).startswith(b"HTTP/1.1 200 OK\r\n")
            writer.close()
            assert server.handlers[0].exchange.peer_address is None

    run(main())
    assert not Path(path).exists()


def test_a_socket_that_is_shared(run: Run, http: Any) -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as shared:
            shared.setblocking(False)
            async with (
                http.serve(sockets=[shared.dup()]) as one,
                http.serve(sockets=[shared.dup()]) as two,
            ):
                assert one.listener.addresses == two.listener.addresses == [shared.getsockname()]
                # What one of them takes no more, the other has.
                assert await two.listener.drain(1) == 0
                client = await one.connect()
                assert (await client.ask(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")).status == 200
                assert len(one.handlers) == 1

    run(main())


def test_drain_lets_idle_clients_ask_once_more(run: Run, http: Any) -> None:
    async def main() -> None:
        async with http.serve() as server:
            clients = [await server.connect(), await server.connect()]
            for client in clients:
                await client.ask(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            drained = asyncio.ensure_future(server.listener.drain(10, linger=0.2))
            await http.eventually(lambda: not server.listener.sockets)
            answer = await clients[0].ask(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            assert answer.status == 200
            assert answer.values(b"connection") == [b"close"]
            assert await clients[1].rest() == b""
            assert await drained == 0

    run(main())


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-subj",
            "/CN=localhost",
            "-days",
            "2",
            "-keyout",
            str(path),
            "-out",
            f"{path}.crt",
        ],
        check=True,
        capture_output=True,
    )
    path.write_bytes(path.read_bytes() + Path(f"{path}.crt").read_bytes())
    return path


def test_tls(run: Run, http: Any, certificate: Path) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    trust = ssl.create_default_context(cafile=str(certificate))
    trust.check_hostname = False

    async def main() -> None:
        async with http.serve(ssl=context) as server:
            client = await server.connect(ssl=trust)
            assert (await client.ask(POST + b"abcdef")).body == b"abcdef"
            assert server.handlers[0].exchange.is_tls
            # Without half-close the refusal still arrives, and the connection ends.
            client.send(b"nonsense\r\n\r\n")
            assert (await client.response()).status == 400

    run(main())


def test_wrong_arguments_are_told() -> None:
    with pytest.raises(ConfigError, match="a listener needs"):
        Listener(lambda exchange: None)  # type: ignore[arg-type,return-value]
    with pytest.raises(ConfigError, match="max_headers"):
        HttpLimits(max_headers=0)
    with pytest.raises(ConfigError, match="low_water"):
        HttpLimits(low_water=2, high_water=1)


def test_taken_port_is_an_os_error(run: Run, http: Any) -> None:
    async def main() -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            with pytest.raises(OSError, match="in use"):
                await http.serve(port=taken.getsockname()[1]).__aenter__()

    run(main())


def test_nothing_of_the_server_is_left_in_dev_mode(http: Any) -> None:
    script = (
        "import asyncio\n"
        "from anywasm.server.http import Listener, buffered\n"
        "async def main():\n"
        "    listener = await Listener(\n"
        "        buffered(lambda exchange, *_: exchange.respond(200)), '127.0.0.1').start()\n"
        "    reader, writer = await asyncio.open_connection(*listener.addresses[0])\n"
        "    writer.write(b'GET / HTTP/1.1\\r\\nHost: h\\r\\n\\r\\n')\n"
        "    await reader.readuntil(b'\\r\\n\\r\\n')\n"
        "    writer.close()\n"
        "    await writer.wait_closed()\n"
        "    await listener.drain(5)\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", script], capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
