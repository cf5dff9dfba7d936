"""Pieces of body that a Higress filter puts behind what it passes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Chained = Callable[..., Any]


def serve(wire: Any) -> None:
    while wire.head() is not None:
        wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc")


@pytest.mark.parametrize(
    ("word", "body"),
    [
        ("4i", b"localabc"),
        ("5ic", b"localabclocal"),
        ("4iE", b"localsecond"),
        ("5En", b"second"),
        ("1i,4c", b"abc"),  # there is no response yet
        ("1E,2E", b"abc"),
    ],
)
@pytest.mark.parametrize("at", "ab")
def test_what_is_injected_is_part_of_the_body(
    chained: Chained, box: Any, tools: Any, at: str, word: str, body: bytes
) -> None:
    chain = chained("ab", serve, module=box.filter_module(higress=True))
    client = tools.Client(chain.place)
    for _ in range(2):
        answer = client.ask("/", headers={f"x-{at}": word})
        assert (answer.status, answer.body) == (200, body)
    client.close()
    assert chain.log.ended_once()


def test_it_lets_headers_go_that_were_held(chained: Chained, box: Any, tools: Any) -> None:
    chain = chained("ab", serve, module=box.filter_module(higress=True))
    # Under Higress's profile a pause on headers lets the body come.
    wire = chain.send("GET / HTTP/1.1\nhost: x\nx-a: 4p,5iw")
    tools.eventually(lambda: chain.log.said("a").count("response_body") == 2)
    assert chain.ask("/", headers={"x-a": "1R"}).status == 200
    assert wire.answer()[1] == b"locallocalabc"
