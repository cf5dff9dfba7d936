"""HTTP and Redis calls of guests, with every order of events.

The callers are the test's own: no upstream answers late, twice, or after its guest has gone.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from anywasm.abi import callouts
from anywasm.abi.calls import HttpCall, HttpCallResponse, RedisServer
from anywasm.abi.limits import AbiLimits
from anywasm.abi.pairs import encode_pairs
from anywasm.abi.plugin import PluginIdentity
from anywasm.core.errors import TrapError

CALL = "proxy_http_call"
HEAD = encode_pairs([(b":method", b"GET"), (b":path", b"/"), (b":authority", b"a")])
RESPONSE = HttpCallResponse(
    ((b":status", b"200"), (b"x", b"1")), b"the body", ((b"trailer", b"t"),)
)


def form(data: bytes) -> str:
    """For a script's argument."""
    return "".join(f"%{byte:02x}" for byte in data)


HTTP = f"{CALL} up {form(HEAD)} body  100"
ARRIVED = "http_call_response "
READ = "".join(
    ARRIVED + command + "\n"
    for command in (
        "proxy_get_header_map_value 6 x",
        "proxy_get_header_map_size 6",
        "proxy_get_header_map_value 7 trailer",
        "proxy_get_buffer_bytes 4 0 100",
        "proxy_get_status",
    )
)


class Call:
    """A call under way."""

    def __init__(self, callback: Callable[..., None]) -> None:
        self.answer = callback
        self.cancelled = 0

    def cancel(self) -> None:
        self.cancelled += 1


class Upstream:
    """`HttpCaller` and `RedisCaller` that answer when the test says so."""

    def __init__(self) -> None:
        self.begun: list[Any] = []
        self.calls: list[Call] = []
        self.servers: list[RedisServer] = []
        self.time_left: float | None = None

    def call(self, *args: Any, owner: str = "", time_left: float | None = None) -> Call | None:
        *what, callback = args
        self.time_left = time_left
        if "missing" in (what[0], getattr(what[0], "cluster", "")):
            return None
        self.begun.append(tuple(what) if len(what) > 1 else what[0])
        self.calls.append(Call(callback))
        return self.calls[-1]

    def configure(self, server: RedisServer, *, owner: str = "") -> bool:
        self.servers.append(server)
        return server.cluster != "missing"


@pytest.fixture
def upstream() -> Upstream:
    """An upstream that waits."""
    return Upstream()


@pytest.fixture
def caller(probing: Callable[..., Any], upstream: Upstream) -> Any:
    """A probe that can call out."""
    return probing(http=upstream)


# --- beginning -----------------------------------------------------------------------------------


def test_a_call_is_passed_on_as_it_was_said(caller: Any, upstream: Upstream) -> None:
    caller.stream.deadline = math.inf  # as a filter's
    trailers = encode_pairs([(b"T", b"v")])
    assert caller.tell(CALL, "up", HEAD + b"", "body", trailers, 1500) == (4,)
    assert caller.tell(CALL, "up", HEAD, "", "", 0) == (8,)
    head = ((b":method", b"GET"), (b":path", b"/"), (b":authority", b"a"))
    assert upstream.begun == [
        HttpCall("up", head, b"body", ((b"t", b"v"),), 1.5),
        HttpCall("up", head, b"", (), None),
    ]


def test_a_call_gets_no_more_time_than_who_waits_has(caller: Any, upstream: Upstream) -> None:
    stream = caller.guest.create_stream(caller.root, deadline=time.monotonic() + 5)
    for timeout in (0, 60_000, 100):
        caller.tell(CALL, "up", HEAD, "", "", timeout, context=stream)
    caller.tell(CALL, "up", HEAD, "", "", 60_000, context=caller.root)
    bounded, shortened, own, root = (call.timeout for call in upstream.begun)
    assert 0 < shortened <= bounded <= 5
    assert own == 0.1
    assert root == 60


@pytest.mark.parametrize("leave_out", [b":method", b":path", b":authority"])
def test_three_headers_are_needed(caller: Any, upstream: Upstream, leave_out: bytes) -> None:
    full = {b":method": b"GET", b":path": b"/", b":authority": b"a"}
    without = encode_pairs([pair for pair in full.items() if pair[0] != leave_out])
    assert caller.tell(CALL, "up", without, "", "", 0) == 2
    empty = encode_pairs(list((full | {leave_out: b""}).items()))
    assert caller.tell(CALL, "up", empty, "", "", 0) == 2
    assert upstream.begun == []


@pytest.mark.parametrize(
    "args",
    [
        ("missing", HEAD, b"", b"", 0),
        ("up", HEAD, b"", b"", 2**31),
        ("up", HEAD, b"", b"", 2**32 - 1),
        ("up", b"\x01", b"", b"", 0),
        ("up", HEAD + b"\0", b"", b"", 0),
        ("up", HEAD, b"", b"\xff\xff\xff\xff", 0),
        ("up", encode_pairs([(b":method", b"GET"), (b":path", b"/ HTTP/1.1\r\nx: y"),
                             (b":authority", b"a")]), b"", b"", 0),
        ("up", HEAD, b"", encode_pairs([(b"x", b"1\r\ny: 2")]), 0),
    ],
)  # fmt: skip
def test_a_bad_call_is_a_bad_argument(caller: Any, upstream: Upstream, args: Any) -> None:
    assert caller.tell(CALL, *args) == 2
    assert upstream.calls == []
    # It takes no id.
    assert caller.tell(CALL, "up", HEAD, b"", b"", 0) == (4,)


def test_a_host_without_upstreams_refuses(probe: Any) -> None:
    assert probe.tell(CALL, "up", HEAD, "", "", 0) == 2


def test_a_bad_pointer_for_the_id_begins_nothing(caller: Any, upstream: Upstream) -> None:
    name, head = caller.put(b"up"), caller.put(HEAD)
    assert caller.call(CALL, *name, *head, 0, 0, 0, 0, 0, 2**32 - 2) == 6
    assert upstream.begun == []


def test_a_flood_of_calls_ends(
    caller: Any, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert callouts.MAX_CALLS == 65536
    monkeypatch.setattr(callouts, "MAX_CALLS", 100)
    ids = [caller.tell(CALL, "up", HEAD, "", "", 0) for _ in range(100)]
    assert ids == [(4 + 4 * index,) for index in range(100)]
    assert caller.tell(CALL, "up", HEAD, "", "", 0) == 10
    upstream.calls[50].answer(RESPONSE)
    assert caller.tell(CALL, "up", HEAD, "", "", 0) == (404,)


def test_the_bytes_that_calls_hold_are_bounded(
    probing: Callable[..., Any], upstream: Upstream
) -> None:
    caller = probing(http=upstream, limits=AbiLimits(calls_bytes=1000))
    assert caller.tell(CALL, "up", HEAD, "b" * 500, "", 0) == (4,)
    assert caller.tell(CALL, "up", HEAD, "b" * 500, "", 0) == 10
    upstream.calls[0].answer(RESPONSE)
    assert caller.tell(CALL, "up", HEAD, "b" * 500, "", 0) == (8,)


def test_the_bytes_of_answers_that_wait_are_bounded(
    scripted: Callable[..., Any], upstream: Upstream
) -> None:
    script = f"configure {HTTP}\nconfigure {HTTP}\nconfigure {HTTP}"
    guest = scripted(script, http=upstream, limits=AbiLimits(calls_bytes=1000))
    guest.start()
    guest.said()
    jobs: list[Callable[[], None]] = []
    guest.guest.poster = jobs.append  # as while the guest is busy
    big = HttpCallResponse(((b":status", b"200"),), b"b" * 600)
    for call in upstream.calls[:2]:
        call.answer(big)
    for job in jobs:
        job()
    too_much = len(b"too much waits for the guest")
    assert guest.said() == [
        "http_call_response 1 4 1 600 0",
        f"http_call_response 1 8 3 {too_much} 0",
    ]
    upstream.calls[2].answer(big)  # there is room again
    jobs[-1]()
    assert guest.said() == ["http_call_response 1 12 1 600 0"]


# --- answers -------------------------------------------------------------------------------------


def test_an_answer_can_be_read_while_it_is_told(
    scripted: Callable[..., Any], upstream: Upstream
) -> None:
    guest = scripted(f"request_headers {HTTP}\n{READ}tick proxy_get_buffer_bytes 4 0 9\n"
                     "tick proxy_get_header_map_value 6 x", http=upstream)  # fmt: skip
    root = guest.start()
    stream = guest.guest.create_stream(root)
    guest.guest.call(stream, guest.guest.callbacks.on_request_headers, stream.id, 0, 1)
    assert guest.said()[-1] == f"{CALL} = 0 4"
    upstream.calls[0].answer(RESPONSE)
    assert guest.said() == [
        "http_call_response 1 4 2 8 1",
        "proxy_get_header_map_value = 0 [1]",
        "proxy_get_header_map_size = 0 12",
        "proxy_get_header_map_value = 0 [t]",
        "proxy_get_buffer_bytes = 0 [the body]",
        "proxy_get_status = 0 0 []",
    ]
    guest.guest.call(root, guest.guest.callbacks.on_tick, root.id)
    assert guest.said() == [
        "tick 1",
        "proxy_get_buffer_bytes = 1",
        "proxy_get_header_map_value = 2",
    ]
    assert len(guest.guest.callouts) == 0


def test_an_answer_is_read_from_the_stream_it_is_for(
    scripted: Callable[..., Any], upstream: Upstream
) -> None:
    guest = scripted(
        f"configure {HTTP}\n{ARRIVED}proxy_set_effective_context 2\n{READ}"
        f"{ARRIVED}proxy_set_property k v\n{ARRIVED}proxy_continue_stream 0",
        http=upstream,
    )
    stream = guest.guest.create_stream(guest.start())
    woken: list[bool] = []
    stream.driver = SimpleNamespace(notify=lambda: woken.append(True))
    guest.said()
    upstream.calls[0].answer(RESPONSE)
    said = guest.said()
    assert "proxy_get_buffer_bytes = 0 [the body]" in said
    assert said[-2:] == ["proxy_set_property = 0", "proxy_continue_stream = 0"]
    assert stream.continued == {0}
    assert woken == [True]
    assert stream.info.filter_state == {b"wasm.k": b"v"}


def test_an_answer_without_trailers(scripted: Callable[..., Any], upstream: Upstream) -> None:
    guest = scripted(f"configure {HTTP}\n{READ}", http=upstream)
    guest.start()
    upstream.calls[0].answer(HttpCallResponse(((b":status", b"504"),)))
    assert guest.said() == [
        "http_call_response 1 4 1 0 0",
        "proxy_get_header_map_value = 1",
        "proxy_get_header_map_size = 0 10",
        "proxy_get_header_map_value = 2",
        "proxy_get_buffer_bytes = 0 []",
        "proxy_get_status = 0 0 []",
    ]


def test_what_an_answer_brings_is_read_only(
    scripted: Callable[..., Any], upstream: Upstream
) -> None:
    guest = scripted(
        f"configure {HTTP}\n{ARRIVED}proxy_set_buffer_bytes 4 0 0 x\n"
        f"{ARRIVED}proxy_get_buffer_status 4",
        http=upstream,
    )
    guest.start()
    upstream.calls[0].answer(RESPONSE)
    assert guest.said()[1:] == ["proxy_set_buffer_bytes = 2", "proxy_get_buffer_status = 0 8 0"]


def test_an_answer_after_the_stream_has_ended_reaches_the_root(
    scripted: Callable[..., Any], upstream: Upstream
) -> None:
    guest = scripted(
        f"request_headers {HTTP}\n{ARRIVED}proxy_set_effective_context 2", http=upstream
    )
    stream = guest.guest.create_stream(guest.start())
    guest.guest.call(stream, guest.guest.callbacks.on_request_headers, stream.id, 0, 1)
    guest.guest.end(stream)
    guest.said()
    upstream.calls[0].answer(RESPONSE)
    assert guest.said() == ["http_call_response 1 4 2 8 1", "proxy_set_effective_context = 2"]


def test_an_answer_during_a_call_waits_for_its_end(
    scripted: Callable[..., Any], upstream: Upstream
) -> None:
    def log(level: int, plugin: str, line: str) -> None:
        lines.append(line)
        if line.startswith("tick"):
            upstream.calls[0].answer(RESPONSE)

    lines: list[str] = []
    guest = scripted(f"configure {HTTP}\ntick proxy_log 2 busy", http=upstream, log=log)
    root = guest.guest.create_root(guest.identity)
    lines.clear()
    guest.guest.call(root, guest.guest.callbacks.on_tick, root.id)
    assert lines == ["tick 1", "busy", "proxy_log = 0", "http_call_response 1 4 2 8 1"]


def test_a_second_answer_is_dropped(scripted: Callable[..., Any], upstream: Upstream) -> None:
    guest = scripted(f"configure {HTTP}", http=upstream)
    guest.start()
    for _ in range(2):
        upstream.calls[0].answer(RESPONSE)
    assert guest.said() == ["http_call_response 1 4 2 8 1"]


def test_an_answer_may_be_followed_by_another_call(
    scripted: Callable[..., Any], upstream: Upstream
) -> None:
    guest = scripted(f"configure {HTTP}\n{ARRIVED}{HTTP}", http=upstream)
    guest.start()
    for index in range(3):
        upstream.calls[index].answer(RESPONSE)
    assert [line for line in guest.said() if line.startswith(CALL)] == [
        f"{CALL} = 0 {number}" for number in (8, 12, 16)
    ]


def test_answers_to_a_broken_guest_are_dropped_and_its_calls_cancelled(
    scripted: Callable[..., Any], upstream: Upstream
) -> None:
    guest = scripted(f"configure {HTTP}\nconfigure {HTTP}\ntick x", http=upstream)
    root = guest.start()
    with pytest.raises(TrapError):
        guest.guest.call(root, guest.guest.callbacks.on_tick, root.id)
    assert [call.cancelled for call in upstream.calls] == [1, 1]
    guest.said()
    upstream.calls[0].answer(RESPONSE)
    assert guest.said() == []


def test_a_guest_that_traps_at_its_answer_fails_and_its_host_goes_on(
    scripted: Callable[..., Any], upstream: Upstream
) -> None:
    guest = scripted(f"configure {HTTP}\nconfigure {HTTP}\n{ARRIVED}x", http=upstream)
    guest.start()
    broken: list[bool] = []
    guest.guest.on_failed = lambda: broken.append(True)
    upstream.calls[0].answer(RESPONSE)
    assert isinstance(guest.guest.failed, TrapError)
    assert broken == [True]
    assert upstream.calls[1].cancelled == 1


def test_answers_to_a_closed_guest_are_dropped_and_its_calls_cancelled(
    scripted: Callable[..., Any], upstream: Upstream
) -> None:
    guest = scripted(f"configure {HTTP}", http=upstream)
    guest.start()
    guest.guest.close()
    guest.said()
    assert upstream.calls[0].cancelled == 1
    upstream.calls[0].answer(RESPONSE)
    assert guest.said() == []


def test_calls_go_with_the_root_that_made_them(
    scripted: Callable[..., Any], upstream: Upstream
) -> None:
    guest = scripted(f"configure {HTTP}", http=upstream)
    first, second = guest.start(), guest.start()
    guest.guest.end(first)
    guest.said()
    assert [call.cancelled for call in upstream.calls] == [1, 0]
    for call in upstream.calls:
        call.answer(RESPONSE)
    assert guest.said() == [f"http_call_response {second.id} 8 2 8 1"]


def test_a_root_that_is_kept_still_gets_its_answer(
    scripted: Callable[..., Any], upstream: Upstream
) -> None:
    guest = scripted(f"configure {HTTP}\ndone return 0\n{ARRIVED}proxy_done", http=upstream)
    guest.guest.end(guest.start())
    upstream.calls[0].answer(RESPONSE)
    assert guest.said() == [
        "done 1",
        "http_call_response 1 4 2 8 1",
        "proxy_done = 0",
        "delete 1",
    ]
    assert upstream.calls[0].cancelled == 0


def test_a_root_that_was_refused_gets_no_answer(
    scripted: Callable[..., Any], upstream: Upstream
) -> None:
    guest = scripted(f"configure {HTTP}\nconfigure return 0", http=upstream)
    with pytest.raises(Exception, match="proxy_on_configure returned false"):
        guest.start()
    assert upstream.calls[0].cancelled == 1
    guest.said()
    upstream.calls[0].answer(RESPONSE)
    assert guest.said() == []


def test_a_guest_without_the_callback_does_not_mind(caller: Any, upstream: Upstream) -> None:
    caller.tell(CALL, "up", HEAD, "", "", 0)
    upstream.calls[0].answer(RESPONSE)
    assert len(caller.guest.callouts) == 0
    assert caller.guest.failed is None


# --- Redis (Higress) -----------------------------------------------------------------------------

REDIS = "proxy_redis_call"
PING = b"*1\r\n$4\r\nPING\r\n"


@pytest.fixture
def redis(probing: Callable[..., Any], upstream: Upstream) -> Any:
    """A Higress probe that notes at 256 what its Redis callback was called with."""
    return probing(
        PluginIdentity("p", profile="higress"),
        version="0_2_100",
        callbacks='(func (export "proxy_on_redis_call_response") (param i32 i32 i32 i32)'
        "(i32.store (i32.const 256) (local.get 0)) (i32.store (i32.const 260) (local.get 1))"
        "(i32.store (i32.const 264) (local.get 2)) (i32.store (i32.const 268) (local.get 3))"
        "(i32.store (i32.const 280) (call $proxy_get_buffer_bytes (i32.const 9) (i32.const 0)"
        " (i32.const 99) (i32.const 272) (i32.const 276))))",
        redis=upstream,
    )


def test_redis_is_told_what_who_waits_has_left(redis: Any, upstream: Upstream) -> None:
    stream = redis.guest.create_stream(redis.root, deadline=time.monotonic() + 5)
    redis.tell(REDIS, "cache", PING, context=stream)
    assert upstream.time_left is not None
    assert 0 < upstream.time_left <= 5
    redis.tell(REDIS, "cache", PING, context=redis.root)
    assert upstream.time_left is None


def test_redis_is_set_up_with_a_database(redis: Any, upstream: Upstream) -> None:
    init = "proxy_redis_init"
    assert redis.tell(init, "cache", "user", "secret", 1500) == 0
    assert redis.tell(init, "cache?x=1&db=3", "", "", 1) == 0
    assert redis.tell(init, "missing", "", "", 1) == 2
    assert upstream.servers[:2] == [
        RedisServer("cache", "user", "secret", 0, 1.5),
        RedisServer("cache", "", "", 3, 0.001),
    ]
    for bad in ("db=\u00b2", "db=x", "db=-1", "db=" + "9" * 5000, "db=", "db", "&&=&"):
        assert redis.tell(init, f"cache?{bad}", "", "", 1) == 0
        assert upstream.servers[-1].database == 0


def test_a_redis_answer_can_be_read_while_it_is_told(redis: Any, upstream: Upstream) -> None:
    assert redis.tell(REDIS, "cache?db=1", PING) == (7,)
    assert redis.tell(REDIS, "cache", PING) == (11,)
    assert redis.tell(REDIS, "missing", PING) == 2
    assert upstream.begun == [("cache", PING)] * 2
    upstream.calls[0].answer(0, b"+PONG\r\n")
    assert [redis.u32(256 + 4 * index) for index in range(4)] == [1, 7, 0, 7]
    assert (redis.u32(280), redis.given(272)) == (0, b"+PONG\r\n")
    assert redis.call("proxy_get_buffer_bytes", 9, 0, 9, 16, 20) == 1
    upstream.calls[1].answer(2, b"")
    assert [redis.u32(256 + 4 * index) for index in range(4)] == [1, 11, 2, 0]


def test_without_redis_there_is_none(probing: Callable[..., Any]) -> None:
    probe = probing(version="0_2_100")
    assert probe.tell(REDIS, "cache", PING) == 2
    assert probe.tell("proxy_redis_init", "cache", "", "", 1) == 2


def test_higress_hosts_and_injection_as_imports(redis: Any) -> None:
    assert redis.tell("proxy_get_upstream_hosts") == 1
    redis.stream.driver = SimpleNamespace(upstream_hosts=lambda: b"hosts")
    assert redis.tell("proxy_get_upstream_hosts") == (b"hosts",)
    inject = "proxy_inject_encoded_data_to_filter_chain"
    assert redis.tell(inject, "abc", 1) == 0
    assert redis.stream.injected == ((1, b"abc", True),)
    assert redis.tell(inject, "abc", 1, context=redis.root) == 2
