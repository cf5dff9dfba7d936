"""Headers on their way through: order, what a proxy adds and drops, what cannot be sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Chained = Callable[..., Any]

#: How an upstream's answer can end, by the path that is asked for.
ENDS = {
    "/empty": b"content-length: 0\r\n\r\n",
    "/length": b"content-length: 2\r\n\r\nok",
    "/chunked": b"transfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "/trailers": b"transfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nt: 1\r\n\r\n",
    "/last": b"content-length: 2\r\n\r\nok",
}


def received(wire: Any) -> tuple[str, list[tuple[str, str]]]:
    """Request line and headers that the echoing upstream got."""
    head, body, _ = wire.answer()
    assert head.line.startswith("HTTP/1.1 200 ")
    lines = body.partition(b"\n\n")[0].decode().split("\n")
    fields = [line.split(": ", 1) for line in lines[1:]]
    return lines[0], [(name, value) for name, value in fields]


def test_order_and_repetitions_stay(chained: Chained) -> None:
    def serve(wire: Any) -> None:
        head = wire.head()
        sent = [f"{name}={value}" for name, value in head.headers if name in "bacd"]
        wire.send(
            b"HTTP/1.1 200 OK\r\nset-cookie: 1\r\nb: 1\r\nset-cookie: 2\r\na: 1\r\nb: 2\r\n"
            b"sent: %b\r\ncontent-length: 0\r\n\r\n" % " ".join(sent).encode()
        )

    chain = chained("abc", serve)
    head, _, _ = chain.send("GET / HTTP/1.1\nB: 1\nhost: x\na: 1\nb: 2\nC: \nb: 1").answer()
    assert head.values("sent") == ["b=1 a=1 b=2 c= b=1"]
    assert [(n, v) for n, v in head.headers if n in ("set-cookie", "a", "b")] == [
        ("set-cookie", "1"),
        ("b", "1"),
        ("set-cookie", "2"),
        ("a", "1"),
        ("b", "2"),
    ]


def test_hop_by_hop_headers_stay_on_their_connection(chained: Chained) -> None:
    chain = chained("a")
    _line, fields = received(
        chain.send(
            "GET / HTTP/1.1\nhost: x\nconnection: keep-alive, X-Private\nkeep-alive: 5\n"
            "proxy-connection: a\nx-private: 1\nupgrade: h2c\nx-public: 1"
        )
    )
    names = [name for name, _ in fields]
    assert "x-public" in names
    assert not {"connection", "keep-alive", "proxy-connection", "x-private", "upgrade"} & set(names)


def test_what_is_added(chained: Chained) -> None:
    chain = chained("a", use_remote_address=True)
    _, fields = received(
        chain.send(
            "GET / HTTP/1.1\nhost: me:1\nx-forwarded-for: 1.1.1.1\nx-forwarded-for: 2.2.2.2\n"
            "x-forwarded-proto: https\nx-envoy-expected-rq-timeout-ms: 1"
        )
    )
    values = dict(fields)
    assert len(values) == len(fields)
    assert values["host"] == "me:1"
    assert values["x-forwarded-for"] == "1.1.1.1,2.2.2.2,127.0.0.1"
    assert values["x-forwarded-proto"] == "http"
    assert values["x-envoy-expected-rq-timeout-ms"] == "15000"
    assert len(values["x-request-id"]) == 36
    _, again = received(chain.send("GET / HTTP/1.1\nhost: x\nx-request-id: mine"))
    assert dict(again)["x-request-id"] == "mine"


def test_what_a_trusted_proxy_has_said_stays(chained: Chained) -> None:
    chain = chained("a", use_remote_address=False, generate_request_id=False)
    _, fields = received(
        chain.send("GET / HTTP/1.1\nhost: x\nx-forwarded-for: 1.1.1.1\nx-forwarded-proto: https")
    )
    values = dict(fields)
    assert (values["x-forwarded-for"], values["x-forwarded-proto"]) == ("1.1.1.1", "https")
    assert "x-request-id" not in values
    _, fields = received(chain.send("GET / HTTP/1.1\nhost: x"))
    assert dict(fields)["x-forwarded-proto"] == "http"
    assert "x-forwarded-for" not in dict(fields)


def test_absolute_targets(chained: Chained) -> None:
    chain = chained("a")
    for target, path in (("/a?b", "/a?b"), ("", "/"), ("?q", "/?q")):
        line, fields = received(chain.send(f"GET http://real:8{target} HTTP/1.1\nhost: other"))
        assert line == f"GET {path} HTTP/1.1"
        assert dict(fields)["host"] == "real:8"
    assert chain.send("GET http://x/direct HTTP/1.1\nhost: x").answer()[1] == b"direct"


def test_a_filter_cannot_make_a_second_host(chained: Chained) -> None:
    chain = chained("a")
    _, fields = received(chain.send("GET / HTTP/1.1\nhost: x\nx-a: 1H"))
    assert [value for name, value in fields if name == "host"] == ["x"]


@pytest.mark.parametrize("word", ["1M", "1P", "1G"])
def test_requests_that_filters_spoil_are_not_sent(chained: Chained, word: str) -> None:
    chain = chained("ab")
    for body in (None, b"abc"):
        answer = chain.ask("/", body=body, headers={"x-a": word, "x-b": "4h"})
        assert (answer.status, answer.values("x-b")) == (503, ["on"])
    assert chain.ask("/").status == 200
    assert chain.log.ended_once()


@pytest.mark.parametrize("word", ["4Z", "4O", "4G"])
@pytest.mark.parametrize("target", ["/", "/direct"])
def test_responses_that_filters_spoil_are_a_502(chained: Chained, word: str, target: str) -> None:
    chain = chained("ab")
    for name in "ab":
        answer = chain.ask(target, headers={f"x-{name}": word})
        assert (answer.status, answer.body) == (502, b"")
    assert chain.log.ended_once()


def test_trailers_that_filters_spoil_end_the_exchange(chained: Chained) -> None:
    chain = chained("ab")
    body = b"3\r\nabc\r\n0\r\nt: 1\r\n\r\n"
    wire = chain.send("POST / HTTP/1.1\nhost: x\nx-a: 3Y\ntransfer-encoding: chunked", body)
    assert wire.answer()[0].line.startswith("HTTP/1.1 503 ")
    # The head of a response is out by then.
    received = chain.send("GET / HTTP/1.1\nhost: x\nx-a: 5uY").rest()
    assert received.startswith(b"HTTP/1.1 200 ")
    assert not received.endswith(b"0\r\n\r\n")
    assert chain.log.ended_once()


def test_nothing_is_smuggled_in_a_header(chained: Chained) -> None:
    chain = chained("a")
    _line, fields = received(chain.send("GET / HTTP/1.1\nhost: x\nx-a: 1I,4I"))
    assert [value for name, value in fields if name == "x-a"] == ["1I,4I"]


@pytest.mark.parametrize("word", ["1N", "4N"])
def test_a_guest_that_adds_ten_thousand_headers(chained: Chained, word: str) -> None:
    chain = chained("a")
    wire = chain.send(f"GET / HTTP/1.1\nhost: x\nx-a: {word}")
    head, body, _ = wire.answer()
    assert head.line.startswith("HTTP/1.1 200 ")
    count = len(head.values("x-a")) if word == "4N" else body.count(b"x-a: on")
    assert 0 < count <= 1024
    assert chain.ask("/").status == 200


def test_a_path_that_a_filter_sets_is_routed_anew(chained: Chained) -> None:
    # The path "/b d" is no `/direct` any more.
    chain = chained("a")
    assert chain.ask("/direct", headers={"x-a": "1P"}).status == 503


def test_whole_answers_leave_the_upstream_connection_open(chained: Chained) -> None:
    def serve(wire: Any) -> None:
        while (head := wire.head()) is not None:
            path = head.line.split()[1]
            wire.send(b"HTTP/1.1 200 OK\r\n" + ENDS[path])

    chain = chained("a", serve)
    for path in ENDS:
        assert chain.ask(path).status == 200
    counters = chain.running.server.clusters.get("up").counters
    assert (counters.requests, counters.connects) == (len(ENDS), 1)
