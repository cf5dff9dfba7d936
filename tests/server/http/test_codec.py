"""What C makes of heads is what Python makes of them, errors and all; nothing is left behind."""

from __future__ import annotations

import gc
import subprocess
import sys
import tracemalloc
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from anywasm.server.http import (
    HttpLimits,
    InvalidResponseError,
    fields,
    head,
    plain,
    request_id,
    request_map,
    wire,
)
from anywasm.server.http.request import Header, Request
from anywasm.server.http.state import ListenerState

native = pytest.importorskip("anywasm.server.http._head", reason="the C extension was not built")

#: Not where the data plane is compiled: that takes only what it should as arguments.
SLOTS = hasattr(Request, "__slots__")

NAMES = (
    *(b"content-type", b"X-A", b"date", b"Date", b"server", b"SERVER", b"Content-Length"),
    *(b"content-length", b"connection", b"transfer-encoding", b"Transfer-Encoding", b"dates"),
    *(b"", b"a b", b"a:", b"\xc3", b"a\n", b"content_length", b"x" * 300),
)
VALUES = (
    *(b"", b"5", b"0", b"007", b"5 ", b"-1", b"+1", b"1" * 18, b"1" * 19, b"1" * 30),
    *(b"close", b"keep-alive, Close", b"chunked", b"text/plain", b"a\tb", b"\t" * 9),
    *(
        b"a\rb",
        b"a\nb",
        b"\x00",
        b"\x7f",
        b"\x1f" + b"a" * 20,
        b"a" * 20 + b"\x7f",
        b"\xc3\xa4" * 40,
    ),
)
pairs = st.tuples(
    st.sampled_from(NAMES) | st.binary(max_size=20),
    st.sampled_from(VALUES) | st.binary(max_size=40),
)
usual = st.tuples(st.sampled_from(NAMES[:12]), st.sampled_from(VALUES[:2] + VALUES[10:16]))
headers = st.lists(usual, max_size=4) | st.lists(pairs, max_size=3)
requests = st.builds(
    Request,
    st.sampled_from((b"GET", b"HEAD", b"POST")),
    st.just(b"/"),
    st.sampled_from(("1.1", "1.1", "1.0")),
    st.just([]),
    st.booleans(),
    st.none(),
    st.booleans(),
    st.just(False),
)
statuses = st.sampled_from((200, 204, 304, 404, 503, 0, 99, 100, 101, 299, 600, 999, 1000, -1))
lengths = st.none() | st.sampled_from((0, 1, 5, 10**18, 2**63 - 1, 2**63, -1))


def outcome(call: Callable[..., object], *args: object) -> object:
    """What a call returns or raises."""
    try:
        return call(*args)
    except InvalidResponseError as error:
        return str(error)


def listener(*, draining: bool = False) -> ListenerState:
    state = ListenerState(lambda _: None, HttpLimits(), b"anywasm", date=True)  # type: ignore[arg-type, return-value]
    state.tick()
    state.draining = draining
    return state


@settings(max_examples=1000, deadline=None)
@given(headers, st.booleans())
@example([(b"a", b"b")] * 300, True)
@example([], True)
def test_fields_are_the_same(headers: list[Header], keep_length: bool) -> None:
    expected = outcome(fields.encode_fields, headers, keep_length)
    assert outcome(native.encode_fields, headers, keep_length) == expected
    assert outcome(native.encode_fields, tuple(headers), keep_length) == expected
    assert outcome(native.encode_fields, iterable(headers), keep_length) == expected


def iterable(headers: list[Header]) -> Any:
    """The same as another kind of sequence."""

    class Sequence(list[Header]):
        pass

    return Sequence(headers)


@settings(max_examples=1500, deadline=None)
@given(requests, statuses, headers, lengths, st.booleans())
def test_heads_are_the_same(
    request: Request, status: int, headers: list[Header], length: int | None, draining: bool
) -> None:
    state = listener(draining=draining)
    expected = outcome(head.encode_head, request, status, headers, length, state)
    assert outcome(native.encode_head, request, status, headers, length, state) == expected
    if isinstance(expected, tuple):
        made: Any = native.encode_head(request, status, headers, length, state)
        assert [type(part) for part in made] == [type(part) for part in expected]


@pytest.mark.parametrize(
    ("call", "args"),
    [
        ("parse_plain", ()),
        ("parse_plain", (b"",)),
        ("parse_plain", ("", 1)),
        ("parse_plain", (b"", "1")),
        ("encode_fields", ()),
        ("encode_fields", ([], True, 1)),
        ("encode_fields", ([1],)),
        ("encode_fields", ([(b"a", b"b", b"c")],)),
        ("encode_fields", ([("a", b"b")],)),
        ("encode_fields", ([(b"a", "b")],)),
        ("encode_head", ()),
        ("encode_head", (None, 200, [], None, None)),
        ("encode_head", (1, 2, 3, 4, 5, 6)),
    ],
)
def test_wrong_arguments_are_no_crash(call: str, args: tuple[object, ...]) -> None:
    with pytest.raises((TypeError, ValueError, AttributeError)):
        getattr(native, call)(*args)


def test_nothing_is_left_behind() -> None:
    state = listener()
    request = Request(b"GET", b"/", "1.1", [], True, None, False, False)
    good = [(b"content-type", b"text/plain"), (b"content-length", b"3"), (b"x-a", b"b" * 50)]
    heads = [
        b"GET /%d HTTP/1.1\r\nHost: h\r\nAccept: */*\r\nX-New: %b\r\n\r\n" % (n, b"v" * n)
        for n in range(1, 51)
    ]
    bad = [head[:-n] for n, head in enumerate(heads, 1)]

    def work() -> None:
        for data in heads:
            assert native.parse_plain(data, 100) is not None
            native.parse_plain(data[:-2] + b"content-length: 3\r\n\r\nabc", 100)
        for data in bad:
            native.parse_plain(data, 100)
        for _ in range(50):
            native.encode_fields(good)
            native.encode_fields(headers=good, keep_length=False)
            native.encode_head(request, 200, good, 3, state)
            native.encode_head(request, 200, [], None, state)
            outcome(native.encode_fields, [(b"a\r", b"b")])
            outcome(native.encode_head, request, 100, good, None, state)

    def references() -> list[int]:
        held = (plain, None, True, False, state.default_lines, good[0][0], heads[0], request)
        return [sys.getrefcount(item) for item in held]

    work()
    tracemalloc.start()
    try:
        work()
        gc.collect()
        before, blocks = references(), sys.getallocatedblocks()
        memory = tracemalloc.get_traced_memory()[0]
        for _ in range(20):
            work()
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] - memory < 10_000
        assert sys.getallocatedblocks() - blocks < 200
        # None and the two truths are held by whatever else goes on.
        assert all(after - was < 100 for was, after in zip(before, references()))
    finally:
        tracemalloc.stop()


MAP_NAMES = (
    *(b"host", b"expect", b"upgrade", b"connection", b"keep-alive", b"x-request-id", b"accept"),
    *(b"x-forwarded-for", b"x-forwarded-proto", b"proxy-connection", b"transfer-encoding", b""),
    *(b"content-length", b":path", b"x-envoy-expected-rq-timeout-ms", b"x-b"),
)
MAP_VALUES = (
    b"close",
    b"Keep-Alive",
    b"close, x-b",
    b"7",
    b"07",
    b"-1",
    b"7 ",
    b"9" * 18,
    b"9" * 19,
    b"",
)
PAIRS = st.lists(st.tuples(st.sampled_from(MAP_NAMES), st.sampled_from(MAP_VALUES)), max_size=6)


@given(PAIRS, st.booleans())
def test_what_goes_onto_the_wire_is_the_same(pairs: list[Header], to_upstream: bool) -> None:
    kept = list(pairs)
    assert native.wire_fields(pairs, to_upstream) == wire.wire_fields(pairs, to_upstream)
    assert native.declared_length(pairs) == wire.declared_length(pairs)
    assert pairs == kept


@given(
    PAIRS,
    st.sampled_from([b"/", b"/a?b", b"*", b"", b"http://h/p", b"https://h?q"]),
    st.sampled_from([None, b"1.2.3.4"]),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
def test_request_maps_are_the_same(
    fields: list[Header], target: bytes, client: bytes | None, trusts: bool, id: bool, up: bool
) -> None:
    arguments = (fields, b"GET", target, b"http", client, trusts, id, up)
    made, expected = native.request_pairs(*arguments), request_map.request_pairs(*arguments)
    if id and not any(name == b"x-request-id" for name, _ in fields):
        assert made.pop()[0] == expected.pop()[0] == b"x-request-id"
    assert made == expected


@pytest.mark.parametrize("strange", [[b"a"], [(b"a",)], [("a", "b")], [(b"", 1)], [None]])
def test_strange_pairs_are_left_to_python(strange: Any) -> None:
    arguments = (strange, b"GET", b"/", b"http", None, False, False, False)
    calls: list[tuple[Callable[..., Any], Callable[..., Any], tuple[Any, ...]]] = [
        (native.wire_fields, wire.wire_fields, (strange, True)),
        (native.declared_length, wire.declared_length, (strange,)),
        (native.request_pairs, request_map.request_pairs, arguments),
    ]
    for in_c, in_python, given_arguments in calls:
        told: list[object] = []
        for call in (in_c, in_python):
            try:
                told.append(call(*given_arguments))
            except (TypeError, ValueError, IndexError, AttributeError) as error:
                told.append(type(error))
        assert told[0] == told[1]


@pytest.mark.parametrize("make", [native.request_id, request_id.request_id])
def test_request_ids_are_random_uuids(make: Callable[[], bytes]) -> None:
    made = [make() for _ in range(1000)]
    assert len(set(made)) == len(made)
    for told in made:
        read = uuid.UUID(told.decode())
        assert str(read).encode() == told
        assert (read.version, read.variant) == (4, uuid.RFC_4122)


def test_a_forked_process_hands_out_other_request_ids() -> None:
    code = (
        "import os; from anywasm.server.http._head import request_id; request_id(); "
        "child = os.fork(); child and os.wait(); print(request_id().decode(), flush=True)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert len(set(done.stdout.split())) == 2


@pytest.mark.parametrize("enabled", ["1", "0"])
def test_the_environment_chooses(monkeypatch: pytest.MonkeyPatch, enabled: str) -> None:
    monkeypatch.setenv("ANYWASM_FASTCALL", enabled)
    code = (
        "from anywasm.server.http import _head, codec; "
        "print(int(codec.encode_head is _head.encode_head))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == enabled
