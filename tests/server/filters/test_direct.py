"""Direct responses that nobody has to see on their way are the same as those that are seen."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from typing import Any

import pytest

Chained = Callable[..., Any]

LINES = (
    "GET /direct HTTP/1.1\nhost: x",
    "GET /direct?a=b HTTP/1.1\nHost: x\nAccept: */*\nConnection: keep-alive",
    "HEAD /direct HTTP/1.1\nhost: x",
    "POST /direct HTTP/1.1\nhost: x",
    "GET /direct HTTP/1.1\nhost: x\ncontent-type: application/grpc",
    "GET /direct HTTP/1.1\nhost: x\ncontent-type: text/plain",
    "GET /none HTTP/1.1\nhost: x",
)
DIRECT = {"body": "direct", "headers": {"x-a": "b", "X-A": "c"}}
ROUTES = (
    {"direct_response": DIRECT},
    {"direct_response": {"body": "direct"}},
    {"direct_response": {"body": "direct", "headers": {"content-length": "5"}}},
    {"direct_response": {"body": "direct", "headers": {"date": "never", "server": "me"}}},
    {"direct_response": {"body": "direct", "headers": {"connection": "close"}}},
    {"direct_response": {"body": "", "headers": {"content-length": "5"}}},
    {"direct_response": {"status": 204, "body": "direct"}},
    {"direct_response": {"status": 304, "body": "direct"}},
    {"direct_response": {"status": 404}},
)


@pytest.mark.parametrize("route", ROUTES)
def test_the_answers_do_not_tell_who_saw_them(
    chained: Chained, route: dict[str, Any], tmp_path: Any
) -> None:
    routes = [{"prefix": "/direct", **route}]
    log = {"path": str(tmp_path / "access.log"), "format": "%RESPONSE_CODE%\n"}
    unseen, seen = chained("", routes=routes), chained("", routes=routes, access_log=log)
    for text in LINES:
        answers = []
        for chain in (unseen, seen):
            wire = chain.send(text)
            wire.socket.shutdown(socket.SHUT_WR)
            answers.append(re.sub(rb"date: [^\r]{29}\r", b"date: now\r", wire.rest()))
        assert answers[0] == answers[1] != b""
    assert len((tmp_path / "access.log").read_text().splitlines()) == len(LINES)


def test_all_are_counted(chained: Chained) -> None:
    chain = chained("")
    wire = chain.wire()
    for _ in range(3):
        wire.send(b"GET /direct HTTP/1.1\r\nhost: x\r\n\r\n")
        head, body, _ = wire.answer()
        assert (head.values("x-direct"), body) == (["yes"], b"direct")
    server = chain.running.server
    counters = server.listeners["main"].counters
    assert (counters.exchanges, counters.resets) == (3, 0)
    text = server.metrics.render().decode()
    line = 'anywasm_stream_seconds_count{code_class="2xx",listener="main"} 3.0'
    assert line in text.splitlines()
