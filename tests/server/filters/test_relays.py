"""What nobody looks at on its way is the same, on both sides, as what a chain passes on."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest

Chained = Callable[..., Any]

LINES = (
    "GET /a?b=c HTTP/1.1\nHost: x\nAccept: */*\nConnection: keep-alive",
    "GET /a HTTP/1.1\nhost: x\nx-forwarded-for: 10.0.0.1\nx-forwarded-proto: https",
    "GET /a HTTP/1.1\nhost: x\nx-forwarded-for: 10.0.0.1\nx-forwarded-for: 10.0.0.2",
    "GET /a HTTP/1.1\nhost: x\nX-Request-ID: mine\nx-envoy-expected-rq-timeout-ms: 1",
    "GET /a HTTP/1.1\nhost: x\nconnection: x-b\nx-b: c\nx-d: e",
    "GET /a HTTP/1.1\nhost: x\nKeep-Alive: 5\nProxy-Connection: x\nTE: trailers",
    "GET /a HTTP/1.1\nhost: x\ncontent-length: 0\nexpect: 100-continue",
    "GET http://y/a HTTP/1.1\nhost: x",
    "GET /none HTTP/1.1\nhost: x",
    "GET /a HTTP/1.0\nhost: x",
    "GET /a HTTP/1.1\nhost:",
    "HEAD /a HTTP/1.1\nhost: x",
    "POST /a HTTP/1.1\nhost: x",
    "OPTIONS * HTTP/1.1\nhost: x",
    "DELETE /a HTTP/1.1\nhost: x\nupgrade: websocket",
    "GET /a HTTP/1.1\nhost: x\nupgrade: websocket\nconnection: upgrade",
    "GET /a HTTP/1.1\nhost: x\ncontent-type: application/grpc",
)
ROUTES: tuple[dict[str, Any], ...] = (
    {},
    {"timeout": 0},
    {"host_rewrite": "other", "prefix_rewrite": "/new"},
)
LISTENERS: tuple[dict[str, Any], ...] = (
    {},
    {"use_remote_address": False, "upgrade": ["websocket"]},
    {"generate_request_id": False},
)


def both(chained: Chained, tmp_path: Any, *args: Any, **options: Any) -> tuple[Any, Any]:
    """A server that nobody looks at, and one that keeps a log."""
    log = {"path": str(tmp_path / "access.log"), "format": "%RESPONSE_CODE%\n"}
    return chained("", *args, **options), chained("", *args, **options, access_log=log)


def answers(chains: tuple[Any, Any], text: str) -> list[bytes]:
    found = []
    for chain in chains:
        wire = chain.send(text)
        head = wire.head()
        body = b"" if text.startswith("HEAD") else wire.body(head)[0]
        said = "\n".join([head.line, *(f"{name}: {value}" for name, value in head.headers)])
        told = said.encode() + b"\n\n" + body
        told = re.sub(rb"date: [^\n]{29}\n", b"date: now\n", told)
        told = re.sub(rb"service-time: \d+", b"service-time: 0", told)
        told = re.sub(rb"x-request-id: [-0-9a-f]{36}", b"x-request-id: new", told)
        found.append(re.sub(rb"content-length: \d+", b"content-length: n", told))
    return found


@pytest.mark.parametrize("listener", LISTENERS)
@pytest.mark.parametrize("route", ROUTES)
def test_neither_side_can_tell(
    chained: Chained, route: dict[str, Any], listener: dict[str, Any], tmp_path: Any
) -> None:
    routes = [{"prefix": "/a", "cluster": "up", **route}]
    chains = both(chained, tmp_path, routes=routes, **listener)
    for text in LINES:
        unseen, seen = answers(chains, text)
        assert unseen == seen, text
    server = [chain.running.server.metrics.render().decode() for chain in chains]
    counts = [re.findall(r"anywasm_stream_seconds_count.*", text) for text in server]
    assert counts[0] == counts[1]


OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n"
RESPONSES = (
    OK + b"\r\nok",
    OK + b"server: me\r\ndate: now\r\nset-cookie: a\r\nset-cookie: b\r\n\r\nok",
    OK + b"connection: keep-alive\r\nkeep-alive: 5\r\nproxy-connection: x\r\n\r\nok",
    OK + b"x-envoy-upstream-service-time: 9\r\nx-a: b\r\n\r\nok",
    OK + b"connection: x-a\r\nx-a: b\r\n\r\nok",
    OK + b"connection: close\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
    b"HTTP/1.1 599 x\r\ncontent-length: 2\r\n\r\nok",
    b"HTTP/1.1 204 x\r\n\r\n",
    b"HTTP/1.1 304 x\r\ncontent-length: 2\r\n\r\n",
    b"HTTP/1.1 103 x\r\nlink: a\r\n\r\n" + OK + b"\r\nok",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nt: 1\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok",
    b"HTTP/2 200 OK\r\n\r\n",
    b"nonsense",
    b"",
)


@pytest.mark.parametrize("pieces", [1, 2, 3])
@pytest.mark.parametrize("response", RESPONSES)
def test_whatever_the_upstream_answers(
    chained: Chained, response: bytes, pieces: int, tmp_path: Any
) -> None:
    def serve(wire: Any) -> None:
        assert wire.head() is not None
        size = len(response) // pieces + 1
        for at in range(0, len(response), size):
            wire.send(response[at : at + size])
            time.sleep(0.02)

    found = []
    for chain in both(chained, tmp_path, serve):
        wire = chain.wire()
        wire.send(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        wire.send(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        found.append(wire.rest())
    masked = [re.sub(rb"(date|service-time): [^\r]*", rb"\1", answer) for answer in found]
    assert masked[0] == masked[1]


def test_many_requests_share_a_connection(chained: Chained) -> None:
    chain = chained("")
    wire = chain.wire()
    for number in range(20):
        wire.send(b"GET /%d HTTP/1.1\r\nhost: x\r\n\r\n" % number)
        head, body, _ = wire.answer()
        assert head.line == "HTTP/1.1 200 OK"
        assert body.startswith(b"GET /%d HTTP/1.1\n" % number)
    wire.send(b"".join(b"GET /%d HTTP/1.1\r\nhost: x\r\n\r\n" % number for number in range(5)))
    assert [wire.answer()[1].split()[1] for _ in range(5)] == [b"/%d" % n for n in range(5)]
    server = chain.running.server
    pool = server.clusters.get("up")
    assert (pool.counters.requests, pool.counters.connects, pool.counters.failures) == (25, 1, 0)
    line = 'anywasm_stream_seconds_count{code_class="2xx",listener="main"} 25.0'
    assert line in server.metrics.render().decode().splitlines()


def silent(wire: Any) -> None:
    while wire.head() is not None:
        pass


def test_an_upstream_that_is_too_slow_is_a_504(chained: Chained) -> None:
    chain = chained("", silent, route={"timeout": 0.2})
    for _ in range(2):
        answer = chain.ask("/")
        assert (answer.status, answer.body) == (504, b"upstream request timeout")


def test_a_body_that_is_too_slow_is_cut(chained: Chained) -> None:
    def slow(wire: Any) -> None:
        while wire.head() is not None:
            wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc")

    chain = chained("", slow, route={"timeout": 0.3})
    received = chain.send("GET / HTTP/1.1\nhost: x").rest()
    assert received.startswith(b"HTTP/1.1 200 ")
    assert received.endswith(b"abc")


def test_an_upstream_that_says_nothing_for_too_long_is_a_504(chained: Chained) -> None:
    limits = {"stream_idle_timeout": 0.4}
    chain = chained("", silent, route={"timeout": 0}, limits=limits)
    answer = chain.ask("/")
    assert (answer.status, answer.body) == (504, b"stream timeout")


def test_a_client_that_goes_away_takes_its_request_along(chained: Chained) -> None:
    chain = chained("", silent)
    wire = chain.send("GET / HTTP/1.1\nhost: x")
    pool = chain.running.server.clusters.get("up")
    end = time.monotonic() + 20
    while not pool.active:
        assert time.monotonic() < end
        time.sleep(0.005)
    wire.socket.close()
    while pool.connections:
        assert time.monotonic() < end
        time.sleep(0.005)
    line = 'anywasm_stream_seconds_count{code_class="0xx",listener="main"} 1.0'
    assert line in chain.running.server.metrics.render().decode().splitlines()


def test_a_request_that_cannot_be_sent_is_answered(chained: Chained, tmp_path: Any) -> None:
    found = []
    for chain in both(chained, tmp_path):
        chain.running.server.clusters.get("up")._closed = True
        answer = chain.ask("/")
        found.append((answer.status, answer.body))
    assert found[0] == found[1]
    assert found[0][0] == 503


def test_nobody_there_is_a_503(chained: Chained, tmp_path: Any) -> None:
    found = []
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # and listens not: nobody else gets this port meanwhile
        for chain in both(chained, tmp_path):
            pool = chain.running.server.clusters.get("up")
            pool._endpoints._endpoints = (bound.getsockname(),)
            answer = chain.ask("/")
            found.append((answer.status, answer.body))
    assert found[0] == found[1]
    assert found[0][0] == 503
