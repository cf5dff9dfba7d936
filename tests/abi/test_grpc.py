"""gRPC calls and streams of guests, with every order of events."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import pytest

from anywasm.abi.calls import MESSAGE_COST, GrpcEvents, GrpcTarget
from anywasm.abi.limits import AbiLimits
from anywasm.abi.pairs import encode_pairs
from anywasm.core.errors import TrapError

META = encode_pairs([(b"Key", b"v")])
CALL, STREAM = "proxy_grpc_call", "proxy_grpc_stream"
UNARY = f"{CALL} up svc m  message 100"
OPEN = f"{STREAM} up svc m "
EVENTS = (
    "grpc_receive_initial_metadata proxy_get_header_map_value 4 k\n"
    "grpc_receive proxy_get_buffer_bytes 5 0 99\n"
    "grpc_receive_trailing_metadata proxy_get_header_map_value 5 k\n"
    "grpc_close proxy_get_status\n"
)


class Run:
    """A call or stream under way."""

    def __init__(self, events: GrpcEvents) -> None:
        self.events = events
        self.said: list[Any] = []
        self.unsent = 0

    def cancel(self) -> None:
        self.said.append("cancel")

    def send(self, message: bytes, end_stream: bool) -> None:
        self.said.append((message, end_stream))
        self.unsent += len(message) + MESSAGE_COST

    def half_close(self) -> None:
        self.said.append("half close")


class Server:
    """`GrpcCaller` whose answers come when the test says so."""

    def __init__(self) -> None:
        self.begun: list[tuple[Any, ...]] = []
        self.runs: list[Run] = []

    def call(
        self, target: GrpcTarget, message: bytes, timeout: float | None, events: GrpcEvents
    ) -> Run | None:
        return self._begin(events, target, message, timeout)

    def stream(self, target: GrpcTarget, events: GrpcEvents) -> Run | None:
        return self._begin(events, target)

    def _begin(self, events: GrpcEvents, target: GrpcTarget, *more: Any) -> Run | None:
        if target.upstream == b"missing":
            return None
        self.begun.append((target, *more))
        self.runs.append(Run(events))
        return self.runs[-1]


@pytest.fixture
def server() -> Server:
    """A server that waits."""
    return Server()


@pytest.fixture
def caller(probing: Callable[..., Any], server: Server) -> Any:
    """A probe that can call out."""
    return probing(grpc=server)


def test_calls_are_passed_on_and_ids_tell_their_kind(caller: Any, server: Server) -> None:
    caller.stream.deadline = math.inf  # as a filter's
    assert caller.tell(CALL, b"\x0a\x00", "svc", "m", META, "hello", 1500) == (5,)
    assert caller.tell(STREAM, "up", "svc", "m", "") == (6,)
    assert caller.tell(CALL, "up", "svc", "m", "", "", 0) == (9,)
    assert caller.tell(STREAM, "up", "svc", "m", "") == (10,)
    assert caller.tell(CALL, "up", "svc", "m", "", "", 2**31) == (13,)
    target = GrpcTarget(b"up", "svc", "m", ())
    assert server.begun == [
        (GrpcTarget(b"\x0a\x00", "svc", "m", ((b"key", b"v"),)), b"hello", 1.5),
        (target,),
        (target, b"", None),
        (target,),
        (target, b"", None),
    ]


def test_calls_and_streams_are_told_what_who_waits_has_left(caller: Any, server: Server) -> None:
    stream = caller.guest.create_stream(caller.root, deadline=time.monotonic() + 5)
    for context in (stream, caller.root):
        caller.tell(CALL, "up", "svc", "m", "", "", 0, context=context)
        caller.tell(STREAM, "up", "svc", "m", "", context=context)
    call, opened, *of_root = (target.time_left for target, *_ in server.begun)
    assert 0 < opened <= call <= 5
    assert of_root == [None, None]


@pytest.mark.parametrize("name", [CALL, STREAM])
@pytest.mark.parametrize(
    "target",
    [
        ("missing", "svc", "m", b""),
        ("up", b"\xff", "m", b""),
        ("up", "svc", b"\xff", b""),
        ("up", "svc", "m", b"\x01"),
    ],
)
def test_what_is_not_understood_is_4(
    caller: Any, probe: Any, server: Server, name: str, target: tuple[Any, ...]
) -> None:
    more: tuple[Any, ...] = ("", 0) if name == CALL else ()
    assert caller.tell(name, *target, *more) == 4
    assert probe.tell(name, "up", "svc", "m", b"", *more) == 4  # without a caller at all
    assert server.begun == []


def test_a_unary_success_is_one_message(scripted: Callable[..., Any], server: Server) -> None:
    guest = scripted(f"configure {UNARY}\n{EVENTS}", grpc=server)
    guest.start()
    events = server.runs[0].events
    events.on_message(b"answer")
    assert guest.said() == ["grpc_receive 1 5 6", "proxy_get_buffer_bytes = 0 [answer]"]
    events.on_message(b"again")
    events.on_close(0, "")
    assert guest.said() == []
    assert len(guest.guest.callouts) == 0


def test_a_unary_failure_is_a_close(scripted: Callable[..., Any], server: Server) -> None:
    guest = scripted(f"configure {UNARY}\n{EVENTS}tick proxy_get_status", grpc=server)
    root = guest.start()
    server.runs[0].events.on_close(14, "unavailable é")
    assert guest.said() == ["grpc_close 1 5 14", "proxy_get_status = 0 14 [unavailable é]"]
    guest.guest.call(root, guest.guest.callbacks.on_tick, root.id)
    assert guest.said() == ["tick 1", "proxy_get_status = 0 14 []"]
    server.runs[0].events.on_message(b"late")
    assert guest.said() == []


def test_a_stream_tells_all_of_its_events(scripted: Callable[..., Any], server: Server) -> None:
    guest = scripted(f"configure {OPEN}\n{EVENTS}tick proxy_get_header_map_value 4 k", grpc=server)
    root = guest.start()
    events = server.runs[0].events
    events.on_initial_metadata(((b"k", b"1"), (b"l", b"2")))
    events.on_message(b"one")
    events.on_message(b"")
    events.on_trailing_metadata(((b"k", b"3"),))
    events.on_close(0, "fine")
    events.on_message(b"late")
    assert guest.said() == [
        "grpc_receive_initial_metadata 1 6 2",
        "proxy_get_header_map_value = 0 [1]",
        "grpc_receive 1 6 3",
        "proxy_get_buffer_bytes = 0 [one]",
        "grpc_receive 1 6 0",
        "proxy_get_buffer_bytes = 0 []",
        "grpc_receive_trailing_metadata 1 6 1",
        "proxy_get_header_map_value = 0 [3]",
        "grpc_close 1 6 0",
        "proxy_get_status = 0 0 [fine]",
    ]
    guest.guest.call(root, guest.guest.callbacks.on_tick, root.id)
    assert guest.said() == ["tick 1", "proxy_get_header_map_value = 2"]


def test_a_guest_sends_closes_and_resets(caller: Any, server: Server) -> None:
    (stream,) = caller.tell(STREAM, "up", "svc", "m", "")
    assert caller.tell("proxy_grpc_send", stream, "one", 0) == 0
    assert caller.tell("proxy_grpc_send", stream, "last", 1) == 0
    assert caller.tell("proxy_grpc_close", stream) == 0
    assert caller.tell("proxy_grpc_cancel", stream) == 0
    assert server.runs[0].said == [(b"one", False), (b"last", True), "half close", "cancel"]
    for name, args in (("send", ("x", 0)), ("close", ()), ("cancel", ())):
        assert caller.tell(f"proxy_grpc_{name}", stream, *args) == 1


def test_what_streams_have_not_sent_is_bounded(probing: Callable[..., Any], server: Server) -> None:
    most = 10 * (1000 + MESSAGE_COST)
    caller = probing(grpc=server, limits=AbiLimits(calls_bytes=most))
    streams = [caller.tell(STREAM, "up", "svc", "m", "")[0] for _ in range(2)]
    sent = [caller.tell("proxy_grpc_send", streams[i % 2], "x" * 1000, 0) for i in range(12)]
    assert sent == [0] * 10 + [10] * 2
    # Neither further streams nor messages without content get past it, and it harms neither one.
    assert caller.tell(STREAM, "up", "svc", "m", META) == 10
    assert caller.tell("proxy_grpc_send", streams[0], "", 0) == 10
    server.runs[0].unsent = 0
    sent = [caller.tell("proxy_grpc_send", streams[1], "", 0) for _ in range(100)]
    assert sent.count(0) == 5 * (1000 + MESSAGE_COST) // MESSAGE_COST
    assert caller.tell("proxy_grpc_cancel", streams[1]) == 0
    assert caller.tell("proxy_grpc_send", streams[0], "x" * 5000, 1) == 0


def test_what_waits_for_the_guest_is_bounded(scripted: Callable[..., Any], server: Server) -> None:
    most = 2 * (1000 + MESSAGE_COST)
    script = f"configure {OPEN}\nconfigure {UNARY}\nconfigure {UNARY}"
    guest = scripted(script, grpc=server, limits=AbiLimits(calls_bytes=most))
    guest.start()
    guest.said()
    jobs: list[Callable[[], None]] = []
    guest.guest.poster = jobs.append  # as while the guest is busy
    stream, first, second = (run.events for run in server.runs)
    stream.on_message(b"m" * 1000)
    first.on_message(b"m" * 1000)
    assert not stream.full
    # A unary call fails; of a stream no more is read, but what was read is delivered.
    second.on_message(b"m")
    stream.on_message(b"m")
    assert stream.full
    for job in jobs:
        job()
    assert guest.said() == [
        "grpc_receive 1 6 1000",
        "grpc_receive 1 5 1000",
        "grpc_close 1 9 8",
        "grpc_receive 1 6 1",
    ]
    assert not stream.full
    first.on_message(b"late")
    jobs[-1]()
    assert guest.guest.callouts.inbox.put(1, most)


@pytest.mark.parametrize("name", ["proxy_grpc_close", "proxy_grpc_cancel"])
def test_a_unary_call_is_cancelled_either_way(caller: Any, server: Server, name: str) -> None:
    (call,) = caller.tell(CALL, "up", "svc", "m", "", "", 0)
    assert caller.tell("proxy_grpc_send", call, "x", 0) == 2
    assert caller.tell(name, call) == 0
    assert server.runs[0].said == ["cancel"]
    assert caller.tell(name, call) == 1


@pytest.mark.parametrize(
    ("number", "send", "other"),
    [(0, 2, 2), (4, 2, 2), (7, 2, 2), (5, 2, 1), (6, 1, 1), (0xFFFFFFFE, 1, 1), (0xFFFFFFFF, 2, 2)],
)
def test_ids_of_another_kind_are_bad_and_unknown_ones_not_found(
    caller: Any, number: int, send: int, other: int
) -> None:
    assert caller.tell("proxy_grpc_send", number, "x", 0) == send
    assert caller.tell("proxy_grpc_close", number) == other
    assert caller.tell("proxy_grpc_cancel", number) == other


def test_a_cancelled_stream_is_told_nothing(scripted: Callable[..., Any], server: Server) -> None:
    guest = scripted(f"configure {OPEN}\nconfigure proxy_grpc_cancel 6\n{EVENTS}", grpc=server)
    guest.start()
    events = server.runs[0].events
    events.on_initial_metadata(())
    events.on_message(b"x")
    events.on_trailing_metadata(())
    events.on_close(0, "")
    assert guest.said() == []


def test_a_guest_may_cancel_in_the_middle_of_an_event(
    scripted: Callable[..., Any], server: Server
) -> None:
    guest = scripted(f"configure {OPEN}\ngrpc_receive proxy_grpc_cancel 6", grpc=server)
    guest.start()
    for _ in range(2):
        server.runs[0].events.on_message(b"x")
    assert guest.said() == ["grpc_receive 1 6 1", "proxy_grpc_cancel = 0"]


def test_events_to_broken_and_closed_guests_are_dropped(
    scripted: Callable[..., Any], server: Server
) -> None:
    guest = scripted(f"configure {UNARY}\nconfigure {OPEN}\ngrpc_receive x", grpc=server)
    guest.start()
    server.runs[1].events.on_message(b"x")
    assert isinstance(guest.guest.failed, TrapError)
    assert [run.said for run in server.runs] == [["cancel"], ["cancel"]]
    guest.said()
    for run in server.runs:
        run.events.on_close(0, "")
    guest.guest.close()
    for run in server.runs:
        run.events.on_message(b"x")
    assert guest.said() == []


def test_a_guest_without_callbacks_does_not_mind(caller: Any, server: Server) -> None:
    caller.tell(CALL, "up", "svc", "m", "", "", 0)
    caller.tell(STREAM, "up", "svc", "m", "")
    unary, stream = (run.events for run in server.runs)
    unary.on_message(b"x")
    stream.on_initial_metadata(())
    stream.on_message(b"x")
    stream.on_trailing_metadata(())
    stream.on_close(0, "")
    assert len(caller.guest.callouts) == 0
    assert caller.tell("proxy_get_status") == (0, b"")


def test_status_is_nothing_before_any_call(caller: Any) -> None:
    assert caller.tell("proxy_get_status") == (0, b"")
    assert caller.tell("proxy_get_status", context=caller.root) == (0, b"")
