from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from anywasm.server.http import ExchangeStateError, InvalidResponseError

Run = Callable[[Any], None]

GET = b"GET /a?b HTTP/1.1\r\nHost: h\r\n\r\n"


def test_request_reaches_the_handler_as_sent(run: Run, http: Any) -> None:
    async def main() -> None:
        async with http.serve() as server:
            client = await server.connect()
            await client.ask(
                b"PUT /x?y=%20 HTTP/1.1\r\nHost: h\r\nX-A: 1  \r\nx-b:\t2\r\nX-A: 3\r\nX-E:\r\n"
                b"X-L: caf\xe9\r\n\r\n"
            )
            exchange = server.handlers[0].exchange
            assert (exchange.method, exchange.target) == (b"PUT", b"/x?y=%20")
            assert exchange.http_version == "1.1"
            assert exchange.headers == [
                (b"host", b"h"),
                (b"x-a", b"1"),
                (b"x-b", b"2"),
                (b"x-a", b"3"),
                (b"x-e", b""),
                (b"x-l", b"caf\xe9"),
            ]
            assert exchange.local_address == ("127.0.0.1", server.port)
            assert exchange.peer_address == client.writer.get_extra_info("sockname")
            assert not exchange.is_tls
            assert server.handlers[0].events == ["headers+end", "complete"]

    run(main())


def test_keep_alive_and_counters(run: Run, http: Any) -> None:
    async def main() -> None:
        async with http.serve() as server:
            client = await server.connect()
            for _ in range(3):
                response = await client.ask(GET)
                assert response.status == 200
                assert response.values(b"content-length") == [b"0"]
                assert response.values(b"server") == [b"anywasm"]
                assert len(response.values(b"date")) == 1
                assert response.values(b"connection") == []
            counters = server.listener.counters
            assert (counters.connections, counters.exchanges, counters.resets) == (1, 3, 0)
            assert counters.bytes_received == 3 * len(GET)
            assert counters.bytes_sent > 3 * 50
            assert server.listener.connections_active == 1
            ids = {handler.exchange.connection_id for handler in server.handlers}
            assert len(ids) == 1

    run(main())


def test_pipelined_requests_are_answered_in_order_one_at_a_time(run: Run, http: Any) -> None:
    def later(handler: Any) -> None:
        assert server_box[0].listener.exchanges_active == 1
        loop = asyncio.get_running_loop()
        loop.call_later(0.001, handler.exchange.respond, 200, [], handler.exchange.target)

    server_box: list[Any] = []

    async def main() -> None:
        async with http.serve(on_end=later, limits={"max_pipelined": 2}) as server:
            server_box.append(server)
            client = await server.connect()
            client.send(
                b"".join(b"GET /%d HTTP/1.1\r\nHost: h\r\n\r\n" % number for number in range(100))
            )
            for number in range(100):
                assert (await client.response()).body == b"/%d" % number

    run(main())


def test_a_burst_larger_than_one_read(run: Run, http: Any) -> None:
    async def main() -> None:
        async with http.serve() as server:
            client = await server.connect()
            client.send(GET * 5000)
            for _ in range(5000):
                assert (await client.response()).status == 200
            assert len(server.handlers) == 5000

    run(main())


@pytest.mark.parametrize("size", [1, 10, 100_000])
def test_bodies_in_both_framings(run: Run, http: Any, size: int) -> None:
    async def main() -> None:
        body = bytes(index % 251 for index in range(size))
        async with http.serve() as server:
            client = await server.connect()
            first = await client.ask(
                b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % size + body
            )
            assert first.body == body
            chunks = b"".join(
                b"%x;ext=1\r\n%b\r\n" % (len(body[at : at + 7000]), body[at : at + 7000])
                for at in range(0, size, 7000)
            )
            head = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
            second = await client.ask(head + chunks + b"0\r\n\r\n")
            assert second.body == body
            for handler in server.handlers:
                assert handler.events == ["headers", "data", "end", "complete"]
            assert server.handlers[0].exchange.content_length == size
            assert server.handlers[1].exchange.content_length is None

    run(main())


def test_trailers_both_ways(run: Run, http: Any) -> None:
    def answer(handler: Any) -> None:
        handler.exchange.send_headers(200, [(b"trailer", b"x-sum")])
        handler.exchange.send_data(b"one ")
        handler.exchange.send_data(b"")
        handler.exchange.send_data(b"two")
        handler.exchange.send_trailers([(b"x-sum", b"9"), *handler.trailers])

    async def main() -> None:
        async with http.serve(on_end=answer) as server:
            client = await server.connect()
            response = await client.ask(
                b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
                b"3\r\nabc\r\n0\r\nX-T: 1\r\nHost: evil\r\nX-T: 2\r\n\r\n"
            )
            assert response.body == b"one two"
            assert response.trailers == [(b"x-sum", b"9"), (b"x-t", b"1"), (b"x-t", b"2")]
            assert server.handlers[0].events == ["headers", "data", "trailers", "complete"]
            assert (await client.ask(GET)).status == 200

    run(main())


def test_streamed_response_with_known_length(run: Run, http: Any) -> None:
    def answer(handler: Any) -> None:
        handler.exchange.send_headers(200, [(b"Content-Length", b"6")])
        handler.exchange.send_data(b"abc")
        handler.exchange.send_data(b"def", end_stream=True)

    async def main() -> None:
        async with http.serve(on_end=answer) as server:
            client = await server.connect()
            for _ in range(2):
                response = await client.ask(GET)
                assert response.body == b"abcdef"
                assert response.values(b"transfer-encoding") == []

    run(main())


@pytest.mark.parametrize(
    ("pieces", "whole"),
    [([b"abc"], False), ([b"abcd", b"efgh"], False), ([], True), ([b"abc"], True)],
)
def test_wrong_content_length_is_never_a_complete_response(
    run: Run, http: Any, pieces: list[bytes], whole: bool
) -> None:
    def answer(handler: Any) -> None:
        headers = [(b"content-length", b"6")]
        if whole:
            handler.exchange.respond(200, headers, b"".join(pieces))
            return
        handler.exchange.send_headers(200, headers)
        for piece in pieces:
            handler.exchange.send_data(piece)
        handler.exchange.send_data(b"", end_stream=True)

    async def main() -> None:
        async with http.serve(on_end=answer) as server:
            client = await server.connect()
            client.send(GET)
            head, _, body = (await client.rest()).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 OK\r\n")
            assert len(body) < 6
            assert server.handlers[0].events[-1].startswith("reset: the body does not have")

    run(main())


@pytest.mark.parametrize("status", [204, 304])
def test_statuses_without_a_body(run: Run, http: Any, status: int) -> None:
    async def main() -> None:
        async with http.serve(
            on_end=lambda handler: handler.exchange.respond(
                status, [(b"content-length", b"3")], b"abc"
            )
        ) as server:
            client = await server.connect()
            for _ in range(2):
                response = await client.ask(GET)
                assert response.status == status
                assert response.values(b"content-length") == ([] if status == 204 else [b"3"])

    run(main())


def test_head_has_the_headers_of_get_and_no_body(run: Run, http: Any) -> None:
    def answer(handler: Any) -> None:
        if handler.exchange.target == b"/stream":
            handler.exchange.send_headers(200)
            handler.exchange.send_data(b"unseen")
            handler.exchange.send_trailers([(b"x", b"y")])
        else:
            handler.exchange.respond(200, [], b"unseen")

    async def main() -> None:
        async with http.serve(on_end=answer) as server:
            client = await server.connect()
            for target in (b"/whole", b"/stream", b"/whole"):
                client.send(b"HEAD " + target + b" HTTP/1.1\r\nHost: h\r\n\r\n")
                response = await client.response(head_only=True)
                expected = [] if target == b"/stream" else [b"6"]
                assert response.values(b"content-length") == expected

    run(main())


def test_http_10_closes_unless_asked_not_to(run: Run, http: Any) -> None:
    async def main() -> None:
        async with http.serve() as server:
            client = await server.connect()
            kept = await client.ask(b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n")
            assert kept.values(b"connection") == [b"keep-alive"]
            closed = await client.ask(b"GET / HTTP/1.0\r\n\r\n")
            assert closed.values(b"connection") == [b"close"]
            assert await client.rest() == b""

    run(main())


def test_http_10_gets_no_chunks_and_no_informational(run: Run, http: Any) -> None:
    def answer(handler: Any) -> None:
        handler.exchange.send_informational(103, [(b"link", b"</x>")])
        handler.exchange.send_headers(200)
        handler.exchange.send_data(b"abc")
        handler.exchange.send_trailers([(b"x", b"y")])

    async def main() -> None:
        async with http.serve(on_end=answer) as server:
            client = await server.connect()
            client.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            head, _, body = (await client.rest()).partition(b"\r\n\r\n")
            assert b"transfer-encoding" not in head
            assert b"connection: close" in head
            assert body == b"abc"
            assert server.handlers[0].events[-1] == "complete"

    run(main())


def test_http_10_cut_is_not_mistaken_for_the_end(run: Run, http: Any) -> None:
    def answer(handler: Any) -> None:
        handler.exchange.send_headers(200)
        handler.exchange.send_data(b"abc")
        handler.exchange.reset()

    async def main() -> None:
        async with http.serve(on_end=answer) as server:
            client = await server.connect()
            client.send(b"GET / HTTP/1.0\r\n\r\n")
            with pytest.raises(ConnectionResetError):
                await client.rest()

    run(main())


@pytest.mark.parametrize("who", ["client", "client-list", "server"])
def test_connection_close_is_obeyed(run: Run, http: Any, who: str) -> None:
    wish = {"client": b"Connection: close\r\n", "client-list": b"Connection: x, Close\r\n"}

    def answer(handler: Any) -> None:
        headers = [(b"connection", b"close")] if who == "server" else []
        handler.exchange.respond(200, headers, b"ok")

    async def main() -> None:
        async with http.serve(on_end=answer) as server:
            client = await server.connect()
            request = b"GET / HTTP/1.1\r\nHost: h\r\n" + wish.get(who, b"") + b"\r\n"
            response = await client.ask(request)
            assert response.values(b"connection") == [b"close"]
            assert await client.rest() == b""

    run(main())


def test_continue_is_sent_when_the_body_is_wanted(run: Run, http: Any) -> None:
    async def main() -> None:
        async with http.serve() as server:
            client = await server.connect()
            client.send(
                b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-Continue\r\n\r\n"
            )
            assert (await client.response()).status == 100
            assert (await client.ask(b"abc")).body == b"abc"

    run(main())


def test_no_continue_when_the_body_is_already_there(run: Run, http: Any) -> None:
    async def main() -> None:
        async with http.serve() as server:
            client = await server.connect()
            head = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n"
            response = await client.ask(head + b"Expect: 100-continue\r\n\r\nabc")
            assert (response.status, response.body) == (200, b"abc")

    run(main())


def test_held_continue_is_sent_by_the_handler(run: Run, http: Any) -> None:
    def hold(handler: Any) -> None:
        handler.exchange.hold_continue = True

    async def main() -> None:
        async with http.serve(on_headers=hold) as server:
            client = await server.connect()
            client.send(
                b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
            )
            handler = await server.handler()
            handler.exchange.send_informational(103, [(b"link", b"</x>")])
            handler.exchange.send_informational(100)
            assert (await client.response()).status == 103
            assert (await client.response()).status == 100
            assert (await client.ask(b"abc")).body == b"abc"

    run(main())


def test_final_answer_instead_of_continue_closes(run: Run, http: Any) -> None:
    async def main() -> None:
        async with http.serve(
            on_headers=lambda handler: handler.exchange.respond(401, [], b"no")
        ) as server:
            client = await server.connect()
            response = await client.ask(
                b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
            )
            assert (response.status, response.body) == (401, b"no")
            assert response.values(b"connection") == [b"close"]
            assert await client.rest() == b""
            assert server.handlers[0].events == ["headers", "complete"]

    run(main())


def test_early_answer_keeps_the_connection_if_the_body_was_read(run: Run, http: Any) -> None:
    async def main() -> None:
        async with http.serve(
            on_headers=lambda handler: handler.exchange.respond(403, [], b"no")
        ) as server:
            client = await server.connect()
            request = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"
            for _ in range(2):
                response = await client.ask(request)
                assert response.status == 403
                assert response.values(b"connection") == []
            assert [handler.events for handler in server.handlers] == [["headers", "complete"]] * 2

    run(main())


def test_early_answer_reaches_a_client_that_goes_on_sending(run: Run, http: Any) -> None:
    async def main() -> None:
        async with http.serve(
            on_headers=lambda handler: handler.exchange.respond(403, [], b"no")
        ) as server:
            client = await server.connect()
            client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5000000\r\n\r\n")
            client.send(bytes(3_000_000))
            response = await client.response()
            assert (response.status, response.body) == (403, b"no")

    run(main())


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (200, [(b"x", b"a\r\nset-cookie: b")]),
        (200, [(b"x", b"a\nb")]),
        (200, [(b"x", b"a\rb")]),
        (200, [(b"x", b"a\x00b")]),
        (200, [(b"ok", b"ok"), (b"x\r\ny", b"a")]),
        (200, [(b"x: y", b"a")]),
        (200, [(b"x ", b"a")]),
        (200, [(b"", b"a")]),
        (200, [(b"content-length", b"-1")]),
        (200, [(b"content-length", b"1"), (b"content-length", b"1")]),
        (100, []),
        (101, []),
        (1000, []),
        (-1, []),
    ],
)
def test_what_cannot_be_sent_is_refused_before_anything_is(
    run: Run, http: Any, status: int, headers: list[tuple[bytes, bytes]]
) -> None:
    def answer(handler: Any) -> None:
        with pytest.raises(InvalidResponseError):
            handler.exchange.respond(status, headers)
        with pytest.raises(InvalidResponseError):
            handler.exchange.send_headers(status, headers)
        handler.exchange.respond(299, [], b"ok")

    async def main() -> None:
        async with http.serve(on_end=answer) as server:
            client = await server.connect()
            assert (await client.ask(GET)).status == 299
            assert server.handlers[0].events[-1] == "complete"

    run(main())


def test_trailers_and_informational_are_checked_too(run: Run, http: Any) -> None:
    def answer(handler: Any) -> None:
        exchange = handler.exchange
        for status, value in ((101, b"a"), (200, b"a"), (103, b"a\r\nb: c")):
            with pytest.raises(InvalidResponseError):
                exchange.send_informational(status, [(b"x", value)])
        exchange.send_headers(200)
        with pytest.raises(InvalidResponseError):
            exchange.send_trailers([(b"x", b"a\nb")])
        exchange.send_trailers([])

    async def main() -> None:
        async with http.serve(on_end=answer) as server:
            client = await server.connect()
            assert (await client.ask(GET)).trailers == []

    run(main())


def test_codec_owns_framing_but_not_date_and_server(run: Run, http: Any) -> None:
    headers = [
        (b"Date", b"today"),
        (b"Transfer-Encoding", b"gzip"),
        (b"connection", b"x-hop"),
        (b"x-dup", b"1"),
        (b"x-dup", b"2"),
        (b"Server", b"me"),
    ]

    async def main() -> None:
        async with http.serve(
            on_end=lambda handler: handler.exchange.respond(200, headers, b"ok")
        ) as server:
            client = await server.connect()
            response = await client.ask(GET)
            assert response.headers == [
                (b"Date", b"today"),
                (b"x-dup", b"1"),
                (b"x-dup", b"2"),
                (b"Server", b"me"),
                (b"content-length", b"2"),
            ]

    run(main())


def test_no_date_and_server_if_not_wanted(run: Run, http: Any) -> None:
    async def main() -> None:
        async with http.serve(server=None, date=False) as server:
            client = await server.connect()
            response = await client.ask(GET)
            assert [name for name, _ in response.headers] == [b"content-type", b"content-length"]

    run(main())


def test_calls_out_of_order_raise(run: Run, http: Any) -> None:
    def answer(handler: Any) -> None:
        exchange = handler.exchange
        with pytest.raises(ExchangeStateError, match="open"):
            exchange.send_data(b"x")
        exchange.send_headers(200)
        for call in (exchange.send_headers, exchange.respond, exchange.send_informational):
            with pytest.raises(ExchangeStateError, match="started"):
                call(200)
        exchange.send_data(b"", end_stream=True)
        with pytest.raises(ExchangeStateError, match="complete"):
            exchange.send_data(b"x")
        exchange.reset()

    async def main() -> None:
        async with http.serve(on_end=answer) as server:
            client = await server.connect()
            for _ in range(2):
                assert (await client.ask(GET)).body == b""
            assert server.handlers[0].events == ["headers+end", "complete"]

    run(main())


def test_factory_cannot_respond(run: Run, http: Any, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with http.serve(factory=lambda exchange: exchange.respond(200)) as server:
            client = await server.connect()
            assert (await client.ask(GET)).status == 500

    run(main())
    assert "ExchangeStateError" in caplog.text


def test_reset_before_the_response_sends_nothing(run: Run, http: Any) -> None:
    def answer(handler: Any) -> None:
        handler.exchange.reset()
        handler.exchange.respond(200, [], b"dropped")

    async def main() -> None:
        async with http.serve(on_end=answer) as server:
            client = await server.connect()
            client.send(GET)
            assert await client.rest() == b""
            assert server.handlers[0].events[-1] == "reset: reset by the handler"
            assert server.listener.counters.resets == 1

    run(main())


def test_reset_after_the_head_leaves_a_truncated_message(run: Run, http: Any) -> None:
    def answer(handler: Any) -> None:
        handler.exchange.send_headers(200, [(b"content-length", b"5")])
        handler.exchange.reset()

    async def main() -> None:
        async with http.serve(on_end=answer) as server:
            client = await server.connect()
            client.send(GET)
            rest = await client.rest()
            assert rest.startswith(b"HTTP/1.1 200 OK\r\n")
            assert rest.endswith(b"\r\n\r\n")

    run(main())


def test_exception_is_a_500_and_the_connection_lives(
    run: Run, http: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(handler: Any) -> None:
        raise ZeroDivisionError("boom")

    async def main() -> None:
        async with http.serve(on_end=fail) as server:
            client = await server.connect()
            for _ in range(2):
                response = await client.ask(GET)
                assert response.status == 500
                assert response.values(b"content-type") == [b"application/json"]
                assert response.body == b'{"error": "internal error"}'
            assert server.handlers[0].events[-1] == "reset: the handler failed"

    run(main())
    assert "ZeroDivisionError: boom" in caplog.text
    assert {record.name for record in caplog.records} == {"anywasm.server.http"}


def test_exception_after_the_head_cuts(run: Run, http: Any) -> None:
    def fail(handler: Any) -> None:
        handler.exchange.send_headers(200)
        handler.exchange.send_data(b"abc")
        raise ZeroDivisionError("boom")

    async def main() -> None:
        async with http.serve(on_end=fail) as server:
            client = await server.connect()
            client.send(GET)
            assert (await client.rest()).endswith(b"3\r\nabc\r\n")

    run(main())


def test_exception_in_on_complete_harms_nothing(run: Run, http: Any) -> None:
    def answer(handler: Any) -> None:
        handler.on_complete = lambda: (handler.ended.set(), 1 / 0)
        handler.exchange.respond(200, [], b"ok")

    async def main() -> None:
        async with http.serve(on_end=answer) as server:
            client = await server.connect()
            for _ in range(2):
                assert (await client.ask(GET)).body == b"ok"

    run(main())


def test_envoys_status_zero(run: Run, http: Any) -> None:
    async def main() -> None:
        async with http.serve(on_end=lambda handler: handler.exchange.respond(0)) as server:
            client = await server.connect()
            assert (await client.ask(GET)).status == 0

    run(main())
