"""Bodies that filters make longer, shorter or empty: what is sent always fits what is said."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Chained = Callable[..., Any]

SMALL, LARGE = b"x" * 100, b"x" * 200_000


def measure(wire: Any) -> None:
    """Answer with the framing and the length of each request on a kept connection."""
    while (head := wire.head()) is not None:
        body, _ = wire.body(head)
        framing = head.values("content-length") or head.values("transfer-encoding") or ["none"]
        text = f"{head.line.split()[0]} {framing[0]} {len(body)}".encode()
        wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(text), text))


@pytest.mark.parametrize(
    ("word", "body", "said"),
    [
        ("2ua", SMALL, "105 105"),
        ("2uq", SMALL, "6 6"),
        ("2ue", SMALL, "0 0"),
        ("2a", SMALL, "110 110"),
        ("2ua", LARGE, "chunked 200005"),
        ("2ue", LARGE, "chunked 0"),
        ("1g", SMALL, "100 100"),
        ("1d", SMALL, "chunked 100"),
        ("1gg", LARGE, "chunked 200000"),
    ],
)
def test_requests(chained: Chained, tools: Any, word: str, body: bytes, said: str) -> None:
    chain = chained("ab", measure)
    client = tools.Client(chain.place)
    for _ in range(2):
        answer = client.ask("/", method="POST", body=body, headers={"x-a": word})
        assert answer.body.decode() == f"POST {said}"
    # Nothing of the next request on the same connections was swallowed or made up.
    assert client.ask("/").body == b"GET none 0"
    client.close()


@pytest.mark.parametrize("without", [(), ("proxy_on_request_body", "proxy_on_response_body")])
def test_a_length_that_only_the_headers_say(
    chained: Chained, box: Any, without: tuple[str, ...]
) -> None:
    chain = chained("a", measure, module=box.filter_module(without=without))
    assert chain.ask("/", headers={"x-a": "1g"}).body == b"GET none 0"
    framing = b"chunked" if without else b"100"
    answer = chain.ask("/", method="POST", body=SMALL, headers={"x-a": "1g"})
    assert answer.body == b"POST %b 100" % framing
    answer = chain.ask("/", headers={"x-a": "4g"})
    assert answer.body == b"GET none 0"


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize(
    ("word", "size", "expected"),
    [
        ("5ua", 100, 105),
        ("5ue", 100, 0),
        ("5uq", 100, 6),
        ("5a", 100, 110),
        ("5ua", 200_000, 200_005),
        ("5ue", 200_000, 0),
        ("4g", 100, 100),
        ("4gd", 200_000, 200_000),
    ],
)
def test_responses(chained: Chained, version: str, word: str, size: int, expected: int) -> None:
    def serve(wire: Any) -> None:
        while wire.head() is not None:
            wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size + b"x" * size)

    chain = chained("ab", serve)
    wire = chain.send(f"GET / HTTP/{version}\nhost: x\nx-a: {word}")
    head = wire.head()
    if head.values("content-length") or version == "1.1":
        body, _ = wire.body(head)
    else:
        body = wire.rest()
    assert len(body) == expected


def test_a_head_request_keeps_the_length_that_it_asks_for(chained: Chained) -> None:
    chain = chained("ab")
    for word in ("4h", "5a", "4h,5ue"):
        answer = chain.ask("/", method="HEAD", headers={"x-a": word})
        assert (answer.values("content-length"), answer.body) == (["7"], b"")
    answer = chain.ask("/direct", method="HEAD")
    assert (answer.values("content-length"), answer.body) == (["6"], b"")
    answer = chain.ask("/", method="HEAD", headers={"x-a": "1l"})
    assert (answer.status, answer.values("content-length"), answer.body) == (201, ["5"], b"")


@pytest.mark.parametrize("status", [204, 304])
def test_answers_that_have_no_body(chained: Chained, tools: Any, status: int) -> None:
    def serve(wire: Any) -> None:
        while wire.head() is not None:
            wire.send(b"HTTP/1.1 %d No\r\n\r\n" % status)

    chain = chained("ab", serve)
    client = tools.Client(chain.place)
    for word in ("4h", "5a", "4g"):
        answer = client.ask("/", headers={"x-a": word})
        assert (answer.status, answer.body) == (status, b"")
    client.close()


def test_a_filter_takes_the_body_away_by_the_status(chained: Chained, tools: Any) -> None:
    chain = chained("ab")
    client = tools.Client(chain.place)
    for target in ("/", "/direct"):
        answer = client.ask(target, headers={"x-a": "4S"})
        assert (answer.status, answer.body, answer.values("content-length")) == (204, b"", [])
    assert client.ask("/direct").body == b"direct"
    client.close()
