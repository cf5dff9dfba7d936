"""Guests that put line ends into whatever reaches a wire, and what is on the wires then."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any, ClassVar

import pytest

from anywasm.abi.enums import Action, MapType
from anywasm.abi.pairs import encode_pairs
from anywasm.engines.null.library import export, register_guest, unregister_guest
from anywasm.testing.null_filter import HostCallError, NullFilter

#: What would be a header, or a request, of its own behind the end of a line.
EVIL = (b"a\r\nx-evil: 1", b"a\nx-evil: 1", b"a\rx-evil: 1", b"a\0x-evil: 1")
SPLIT = b"a\r\n\r\nGET /x-evil HTTP/1.1\r\n\r\n"
ADD, REPLACE = "proxy_add_header_map_value", "proxy_replace_header_map_value"
SET, LOCAL, CALL = "proxy_set_header_map_pairs", "proxy_send_local_response", "proxy_http_call"
HEAD = [(b":method", b"GET"), (b":path", b"/called"), (b":authority", b"up")]


class Injector(NullFilter):
    """Tries every way in every callback; requests choose what it answers by their path."""

    host_functions = (
        "proxy_get_header_map_value",
        ADD,
        REPLACE,
        SET,
        LOCAL,
        CALL,
    )
    taken: ClassVar[list[tuple[str, Any]]] = []
    tried = 0

    def attempt(self, name: str, *args: Any) -> None:
        type(self).tried += 1
        try:
            self.call(name, *args)
        except HostCallError:
            return
        self.taken.append((name, args))

    def inject(self, *maps: MapType) -> None:
        for evil, kind in product((*EVIL, SPLIT), maps):
            for name in (ADD, REPLACE):
                self.attempt(name, kind, evil, b"v")
                self.attempt(name, kind, b"x-a", evil)
                for pseudo in (b":path", b":method", b":authority", b":status", b"host"):
                    self.attempt(name, kind, pseudo, evil)
            self.attempt(SET, kind, encode_pairs([(b"x-a", evil)]))
            self.attempt(SET, kind, encode_pairs([(evil, b"v")]))

    @export("i32 i32 i32 -> i32")
    def proxy_on_request_headers(self, context: int, count: int, end: int) -> int:
        self.inject(MapType.HTTP_REQUEST_HEADERS)
        for evil in (*EVIL, SPLIT):
            for index, (name, _) in enumerate(HEAD):
                head = [*HEAD[:index], (name, evil), *HEAD[index + 1 :]]
                self.attempt(CALL, b"up", encode_pairs(head), b"", b"", 1000)
            for field in ((b"x-a", evil), (evil, b"v")):
                pairs = encode_pairs([field])
                self.attempt(CALL, b"up", encode_pairs([*HEAD, field]), b"", b"", 1000)
                self.attempt(CALL, b"up", encode_pairs(HEAD), b"", pairs, 1000)
                self.attempt(LOCAL, 200, b"", b"", pairs, -1)
        # This one is fine, so that the wire shows what goes with it.
        self.call(CALL, b"up", encode_pairs(HEAD), b"body", b"", 1000)
        path = self.call("proxy_get_header_map_value", MapType.HTTP_REQUEST_HEADERS, b":path")
        if path.startswith(b"/local"):
            self.call(LOCAL, 403, SPLIT, SPLIT, b"", -1)
            return Action.PAUSE
        return Action.CONTINUE

    @export("i32 i32 -> i32")
    def proxy_on_request_trailers(self, context: int, count: int) -> int:
        self.inject(MapType.HTTP_REQUEST_TRAILERS)
        return Action.CONTINUE

    @export("i32 i32 i32 -> i32")
    def proxy_on_response_headers(self, context: int, count: int, end: int) -> int:
        self.inject(MapType.HTTP_RESPONSE_HEADERS)
        return Action.CONTINUE

    @export("i32 i32 -> i32")
    def proxy_on_response_trailers(self, context: int, count: int) -> int:
        self.inject(MapType.HTTP_RESPONSE_TRAILERS)
        return Action.CONTINUE


@pytest.fixture
def injector() -> Iterator[type[Injector]]:
    """The guest, under the name `injector`."""
    register_guest("injector", Injector)
    Injector.taken.clear()
    Injector.tried = 0
    yield Injector
    unregister_guest("injector")


class Recorder:
    """An upstream that keeps every byte it reads and answers with trailers."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []

    def __call__(self, wire: Any) -> None:
        while head := wire.until(b"\r\n\r\n"):
            rest = b""
            if b"transfer-encoding: chunked" in head:
                rest = wire.until(b"\r\n\r\n")
            elif b"content-length: 4" in head:
                rest = wire.exactly(4)
            self.requests.append(head + b"\r\n\r\n" + rest)
            wire.send(
                b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nt: 1\r\n\r\n"
            )


def clean(data: bytes) -> bool:
    """Whether no line begins with what was injected, and no control character came through."""
    head = data.partition(b"\r\n\r\n")[0].replace(b"\r\n", b"|")
    return not re.search(rb"[\r\n\0]", head) and b"|x-evil" not in head


@pytest.mark.parametrize("target", ["/", "/local", "/local-grpc"])
def test_no_line_end_of_a_guest_reaches_a_wire(
    chained: Callable[..., Any], injector: type[Injector], target: str
) -> None:
    upstream = Recorder()
    chain = chained("a", upstream, module=b"injector", engine="null")
    kind = "content-type: application/grpc\n" if target == "/local-grpc" else ""
    wire = chain.send(
        f"POST {target} HTTP/1.1\nhost: x\n{kind}connection: close\ntransfer-encoding: chunked",
        b"2\r\nhi\r\n0\r\nu: 1\r\n\r\n",
    )
    answer = wire.rest()
    assert answer.startswith(b"HTTP/1.1 ")
    assert clean(answer)
    assert injector.tried > 100
    assert injector.taken == []
    chain.running.close()
    assert all(clean(request) for request in upstream.requests)
    lines = {request.partition(b"\r\n")[0] for request in upstream.requests}
    called, passed = b"GET /called HTTP/1.1", b"POST / HTTP/1.1"
    assert lines <= {called, passed}
    assert passed in lines or target != "/"
