"""HTTP calls to a real upstream: what goes over the wire, and what guests are given."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from typing import Any

import pytest

from anywasm.abi.calls import HttpCall, HttpCallResponse
from anywasm.server.callouts import HttpCalls
from anywasm.server.upstream import Cluster, UpstreamClusters

Ask = Callable[..., HttpCallResponse]


def http_call(path: bytes = b"/", **options: Any) -> HttpCall:
    headers = (
        (b":method", options.get("method", b"GET")),
        (b":path", path),
        (b":authority", b"auth.test"),
        (b":scheme", b"http"),
        *options.get("headers", ()),
    )
    return HttpCall(
        options.get("cluster", "up"),
        headers,
        options.get("body", b""),
        options.get("trailers", ()),
        options.get("timeout", 10.0),
    )


@pytest.fixture
def calls(looping: Any, clusters: UpstreamClusters, http_upstream: Any) -> HttpCalls:
    return HttpCalls(clusters, looping.loop, max_body_bytes=100_000)


@pytest.fixture
def ask(calls: HttpCalls, kit: Any) -> Ask:
    def ask(path: bytes = b"/", **options: Any) -> Any:
        box = kit.Mailbox()
        assert calls.call(http_call(path, **options), box.put) is not None
        return box.get()

    return ask


def failure(status: int, text: bytes) -> HttpCallResponse:
    """As Envoy 1.40 tells guests of one (golden case `edge-call`)."""
    headers = (
        (b":status", b"%d" % status),
        (b"content-length", b"%d" % len(text)),
        (b"content-type", b"text/plain"),
    )
    return HttpCallResponse(headers, text)


NOT_REACHED = b"upstream connect error or disconnect/reset before headers. reset reason: "


def test_a_response_is_given_as_envoy_gives_it(ask: Ask, http_upstream: Any) -> None:
    response = ask(b"/auth?x=1", headers=((b"x-mine", b"1"), (b"x-mine", b"2")))
    names = [name for name, _ in response.headers]
    assert names == [
        b":status",
        b"content-type",
        b"content-length",
        b"x-auth-user",
        b"x-user-id",
        b"x-envoy-upstream-service-time",
    ]
    assert response.headers[0][1] == b"200"
    assert re.fullmatch(rb"\d+", response.headers[-1][1])
    assert response.body == b"ok"
    assert response.trailers == ()
    assert http_upstream.heads == [
        b"GET /auth?x=1 HTTP/1.1\r\nhost: auth.test\r\nx-mine: 1\r\nx-mine: 2\r\n\r\n"
    ]


def test_a_body_has_a_length_and_hop_by_hop_headers_stay_here(ask: Ask, http_upstream: Any) -> None:
    headers = (
        (b"content-length", b"999"),
        (b"connection", b"close, X-Secret"),
        (b"x-secret", b"1"),
        (b"transfer-encoding", b"chunked"),
        (b"te", b"trailers"),
        (b"upgrade", b"h2c"),
        (b"host", b"other.test"),
        (b"x-kept", b"1"),
    )
    assert ask(method=b"POST", body=b"hello", headers=headers).body == b"ok"
    assert http_upstream.heads == [
        b"POST / HTTP/1.1\r\nhost: auth.test\r\nx-kept: 1\r\ncontent-length: 5\r\n\r\n"
    ]
    assert http_upstream.bodies == [b"hello"]
    assert ask(method=b"POST").body == b"ok"
    assert http_upstream.heads[1].endswith(b"\r\ncontent-length: 0\r\n\r\n")


def test_trailers_go_both_ways(ask: Ask, http_upstream: Any) -> None:
    response = ask(b"/trailers", method=b"POST", body=b"abc", trailers=((b"x-sum", b"6"),))
    assert http_upstream.bodies == [b"3\r\nabc\r\n0\r\nx-sum: 6\r\n\r\n"]
    assert response.headers[:-1] == ((b":status", b"200"), (b"x-twice", b"a"), (b"x-twice", b"b"))
    assert response.body == b"abc"
    assert response.trailers == ((b"x-end", b"yes"),)


def test_other_statuses_are_responses_too_and_informational_ones_are_not(ask: Ask) -> None:
    response = ask(b"/early")
    assert response.headers[0] == (b":status", b"404")
    assert response.body == b""


def test_a_timeout_is_a_504_and_ends_the_request(ask: Ask, http_upstream: Any) -> None:
    assert ask(b"/hang", timeout=0.05) == failure(504, b"upstream request timeout")
    assert http_upstream.gone.wait(10)


def test_no_connection_is_a_503(ask: Ask, clusters: UpstreamClusters, closed_port: int) -> None:
    clusters.add(Cluster("dead", (("127.0.0.1", closed_port),)))
    expected = failure(503, NOT_REACHED + b"remote connection failure")
    assert len(expected.body) == 98
    assert ask(cluster="dead") == expected
    assert ask(cluster="dead", timeout=None) == expected


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        (b"/cut", 503, b"upstream disconnect/reset after headers. reset reason: connection "),
        (b"/nonsense", 502, NOT_REACHED + b"protocol error"),
        (b"/big", 503, b"the upstream's response body is too long"),
    ],
)
def test_broken_responses_are_failures(ask: Ask, path: bytes, status: int, text: bytes) -> None:
    response = ask(path)
    assert response.headers[0] == (b":status", b"%d" % status)
    assert response.body.startswith(text)
    assert ask().body == b"ok"  # the pool goes on


@pytest.mark.parametrize(
    "options",
    [
        {"path": b"/a b"},
        {"method": b"CONNECT"},
        {"headers": ((b"x", b"a\r\ninjected: 1"),)},
        {"body": b"x", "trailers": ((b"x", b"a\r\ninjected: 1"),)},
    ],
)
def test_what_cannot_be_sent_is_not_sent(
    ask: Ask, http_upstream: Any, options: dict[str, Any]
) -> None:
    assert ask(**options) == failure(502, NOT_REACHED + b"protocol error")
    assert http_upstream.bodies == []


def test_an_unknown_cluster_is_no_call(calls: HttpCalls, kit: Any) -> None:
    assert calls.call(http_call(cluster="nowhere"), kit.Mailbox().put) is None


def test_nothing_is_told_before_the_call_returns_nor_after_a_cancel(
    calls: HttpCalls, looping: Any, http_upstream: Any, kit: Any
) -> None:
    box = kit.Mailbox()

    def begin() -> None:
        calls.call(http_call(), box.put)
        assert box.empty
        run = calls.call(http_call(b"/first"), lambda _: box.put("never"))
        assert run is not None
        run.cancel()

    looping.do(begin)
    assert box.get().body == b"ok"
    run = calls.call(http_call(b"/hang"), lambda _: box.put("never"))
    assert run is not None
    kit.eventually(lambda: len(http_upstream.heads) == 2)
    run.cancel()
    run.cancel()
    assert http_upstream.gone.wait(10)
    looping.settle()
    assert box.empty
    assert box.threads == {looping.thread.name}
    assert [head.split(b" ")[1] for head in http_upstream.heads] == [b"/", b"/hang"]


def test_closed_pools_fail_calls(
    calls: HttpCalls, looping: Any, clusters: UpstreamClusters, http_upstream: Any, kit: Any
) -> None:
    box = kit.Mailbox()
    calls.call(http_call(b"/hang"), box.put)
    kit.eventually(lambda: http_upstream.heads)
    looping.do(clusters.close)
    assert box.get() == failure(503, NOT_REACHED + b"local reset")
    assert calls.call(http_call(), box.put) is None


def test_a_silent_listener_times_out(
    calls: HttpCalls, clusters: UpstreamClusters, kit: Any
) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        clusters.add(Cluster("silent", (listener.getsockname(),)))
        box = kit.Mailbox()
        calls.call(http_call(cluster="silent", timeout=0.1), box.put)
        assert box.get() == failure(504, b"upstream request timeout")
