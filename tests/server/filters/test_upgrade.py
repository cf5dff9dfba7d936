"""Clients that switch to another protocol through a chain of filters."""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Callable
from typing import Any

import pytest

Chained = Callable[..., Any]

KEY = base64.b64encode(b"0123456789abcdef").decode()
MAGIC = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
ACCEPT = base64.b64encode(hashlib.sha1(f"{KEY}{MAGIC}".encode()).digest()).decode()

HANDSHAKE = (
    "GET {} HTTP/1.1\nhost: x\nconnection: keep-alive, Upgrade\nupgrade: {}\n"
    f"sec-websocket-version: 13\nsec-websocket-key: {KEY}\nx-a: {{}}"
)
UPGRADE = {"upgrade": ["websocket"]}


#: All that an upstream needs to say.
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"


def frame(payload: bytes, opcode: int = 1) -> bytes:
    """A masked frame of a client (RFC 6455, 5.2)."""
    mask = b"\1\2\3\4"
    masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
    return bytes([0x80 | opcode, 0x80 | len(payload)]) + mask + masked


def read_frame(wire: Any, masked: bool) -> tuple[int, bytes]:
    first, second = wire.exactly(2)
    mask = wire.exactly(4) if masked else b"\0\0\0\0"
    payload = wire.exactly(second & 0x7F)
    return first & 0x0F, bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))


def websocket(wire: Any) -> None:
    """A WebSocket server that echoes text, and pushes a first message of its own."""
    while (head := wire.head()) is not None:
        if head.values("upgrade") != ["websocket"] or head.line.startswith("GET /refuse"):
            text = "\n".join(f"{name}: {value}" for name, value in head.headers).encode()
            wire.send(b"HTTP/1.1 426 No\r\ncontent-length: %d\r\n\r\n%b" % (len(text), text))
            continue
        accept = hashlib.sha1((head.values("sec-websocket-key")[0] + MAGIC).encode()).digest()
        wire.send(
            b"HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n"
            b"sec-websocket-accept: " + base64.b64encode(accept) + b"\r\n\r\n"
            b"\x81\x05hello"
        )
        while True:
            opcode, payload = read_frame(wire, masked=True)
            wire.send(bytes([0x80 | opcode, len(payload)]) + payload)
            if opcode == 8:
                return


def handshake(target: str = "/", script: str = "1c", protocol: str = "websocket") -> str:
    return HANDSHAKE.format(target, protocol, script)


def switched(wire: Any) -> Any:
    """The head of a 101, with the first message taken off."""
    head = wire.head()
    assert head.line.startswith("HTTP/1.1 101 ")
    assert head.values("sec-websocket-accept") == [ACCEPT]
    assert [value.lower() for value in head.values("upgrade")] == ["websocket"]
    assert [value.lower() for value in head.values("connection")] == ["upgrade"]
    assert read_frame(wire, masked=False) == (1, b"hello")
    return head


def test_a_websocket_goes_through_the_filters(chained: Chained, tools: Any) -> None:
    chain = chained("ab", websocket, **UPGRADE)
    wire = chain.send(handshake(script="1h,4h"))
    assert switched(wire).values("x-a") == ["on"]
    for payload in (b"one", b"", b"x" * 120):
        wire.send(frame(payload))
        assert read_frame(wire, masked=False) == (1, payload)
    wire.send(frame(b"\x03\xe8", 8))
    assert read_frame(wire, masked=False) == (8, b"\x03\xe8")
    assert wire.rest() == b""
    wire.socket.close()
    tools.eventually(lambda: not chain.streams("a"))
    assert chain.log.ended_once()
    assert chain.log.said("b") == [
        "request_headers",
        "response_headers",
        "done",
        "log",
        "delete",
    ]


def test_filters_may_hold_both_heads_up(chained: Chained, tools: Any) -> None:
    chain = chained("ab", websocket, **UPGRADE)
    wire = chain.send(handshake(script="1p,4p"))
    tools.eventually(lambda: "request_headers" in chain.log.said("a"))
    assert chain.ask("/refuse", headers={"x-a": "1r"}).status == 426
    tools.eventually(lambda: chain.log.said("a").count("response_headers") == 2)
    assert chain.ask("/refuse", headers={"x-a": "1R"}).status == 426
    switched(wire)
    wire.send(frame(b"late"))
    assert read_frame(wire, masked=False) == (1, b"late")


def test_a_refused_upgrade_is_an_ordinary_answer(chained: Chained, tools: Any) -> None:
    chain = chained("ab", websocket, **UPGRADE)
    wire = chain.send(handshake("/refuse", "4h"))
    head, body, _ = wire.answer()
    assert (head.line.split()[1], head.values("x-a")) == ("426", ["on"])
    assert b"upgrade: websocket" in body
    # The connection goes on.
    wire.send(b"GET /direct HTTP/1.1\r\nhost: x\r\n\r\n")
    assert wire.answer()[1] == b"direct"
    assert chain.log.ended_once()


@pytest.mark.parametrize(
    ("script", "status"),
    [("1l", "201"), ("4l", "201"), ("1t", "503"), ("4t", "503"), ("4S", "204")],
)
def test_filters_may_answer_it_themselves(
    chained: Chained, tools: Any, script: str, status: str
) -> None:
    chain = chained("ab", websocket, **UPGRADE)
    head, _, _ = chain.send(handshake(script=script)).answer()
    assert head.line.split()[1] == status


def test_a_protocol_that_is_not_allowed_is_not_asked_for(chained: Chained) -> None:
    for options in ({}, {"upgrade": ["other"]}):
        chain = chained("ab", websocket, **options)
        head, body, _ = chain.send(handshake()).answer()
        assert head.line.split()[1] == "426"
        assert b"upgrade" not in body


def test_an_upstream_cannot_switch_unasked(chained: Chained) -> None:
    def serve(wire: Any) -> None:
        wire.head()
        wire.send(SWITCH + b"abc")
        wire.rest()

    chain = chained("ab", serve, **UPGRADE)
    assert chain.ask("/").status == 502


def test_a_client_that_does_not_wait_for_the_answer(chained: Chained) -> None:
    chain = chained("ab", websocket, **UPGRADE)
    wire = chain.wire()
    wire.send(handshake().replace("\n", "\r\n").encode() + b"\r\n\r\n" + frame(b"early"))
    head = wire.head()
    assert head.line.split()[1] in ("400", "502")
    assert chain.ask("/refuse").status == 426


def test_either_side_may_go_away(chained: Chained, tools: Any) -> None:
    def serve(wire: Any) -> None:
        wire.head()
        wire.send(SWITCH)
        if wire.exactly(1) == b"q":
            return
        assert wire.rest() == b""

    chain = chained("ab", serve, **UPGRADE)
    for last in (b"q", b"c"):
        wire = chain.send(handshake())
        assert wire.head().line.startswith("HTTP/1.1 101 ")
        wire.send(last)
        if last == b"q":
            assert wire.rest() == b""
        wire.socket.close()
        tools.eventually(lambda: not chain.streams("a"))
    assert chain.log.ended_once()


def test_what_was_switched_to_outlives_the_routes_timeout(chained: Chained) -> None:
    chain = chained("ab", websocket, route={"timeout": 0.2}, **UPGRADE)
    wire = chain.send(handshake())
    switched(wire)
    time.sleep(0.5)
    wire.send(frame(b"still"))
    assert read_frame(wire, masked=False) == (1, b"still")


def test_but_not_its_own_silence(chained: Chained) -> None:
    chain = chained("ab", websocket, limits={"stream_idle_timeout": 0.4}, **UPGRADE)
    wire = chain.send(handshake())
    switched(wire)
    assert wire.rest() == b""
    assert chain.log.ended_once()


def test_much_goes_both_ways(chained: Chained, tools: Any) -> None:
    def serve(wire: Any) -> None:
        wire.head()
        wire.send(SWITCH)
        for _ in range(100):
            wire.send(wire.exactly(65536))

    chain = chained("ab", serve, **UPGRADE)
    wire = chain.send(handshake())
    assert wire.head() is not None
    piece = bytes(range(256)) * 256
    for _ in range(100):
        wire.send(piece)
        assert wire.exactly(65536) == piece
