"""Host functions on properties, buffers, contexts and services do the same in C and in Python."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from anywasm.abi.binding import bind_host_function
from anywasm.abi.buffer import Buffer
from anywasm.abi.enums import BufferType, LogLevel, MapType
from anywasm.abi.guest import Guest
from anywasm.abi.headers import HeaderMap, PythonHeaderMap
from anywasm.abi.host import HostServices
from anywasm.abi.native import native
from anywasm.abi.plugin import PluginIdentity
from anywasm.abi.properties import MAX_PATH, MAX_STATE, MAX_STATE_BYTES
from anywasm.abi.property_paths import (
    _HIGRESS,
    _KNOWN,
    FOUND,
    Property,
    PropertyKind,
    find_property,
)
from anywasm.abi.table import HOST_FUNCTIONS
from anywasm.core.registry import get_wasm_engine
from anywasm.engines.null.library import export, register_guest
from anywasm.testing.null_filter import NullFilter

pytestmark = pytest.mark.skipif(native is None, reason="there is no extension to compare")

NAMES = (
    "get_property",
    "set_property",
    "log",
    "get_log_level",
    "get_buffer_bytes",
    "get_buffer_status",
    "set_effective_context",
    "get_current_time_nanoseconds",
)
FUNCTIONS = {name: HOST_FUNCTIONS[f"proxy_{name}"] for name in NAMES}
KNOWN = [*_KNOWN, *_HIGRESS]
REQUEST = [
    (b":path", b"/a?b#c"),
    (b":authority", b"h"),
    (b"user-agent", b"u"),
    (b"x", b"1"),
    (b"x", b"2"),
]


class Roomy(NullFilter):
    """A guest that has memory."""

    @export("i32 -> i32")
    def proxy_on_memory_allocate(self, size: int) -> int:
        """Memory for anything, time and again the same; not for too much."""
        return 32768 if 0 < size <= 32768 else 0


register_guest("roomy", Roomy)


class Caller:
    """A guest with two streams, and what its host functions tell it."""

    def __init__(self, profile: Any, level: LogLevel) -> None:
        self.lines: list[tuple[LogLevel, str]] = []
        identity = PluginIdentity("roomy", root_id="r\u00e9", profile=profile)
        services = HostServices(
            log=lambda level, plugin, line: self.lines.append((level, line)),
            log_level=level,
            realtime=lambda: 2**63 + 5,
        )
        self.guest = Guest(get_wasm_engine("null").compile(b"roomy"), identity, services)
        self.root = self.guest.create_root(identity)
        self.streams = [self.guest.create_stream(self.root) for _ in range(2)]
        self.use(self.streams[0])
        self.functions = {name: bind_host_function(f, self.guest) for name, f in FUNCTIONS.items()}
        self.lines.clear()

    def use(self, context: Any) -> None:
        """Have host functions act on a context."""
        self.guest.effective = context

    def call(self, name: str, *values: Any) -> tuple[Any, ...]:
        """The status, the results, and what is left behind."""
        memory: Any = self.guest.instance.memory
        memory.write(1024, bytes(16))
        args, at = [], 2048
        for value in values:
            if isinstance(value, bytes):
                memory.write(at, value)
                args += [at, len(value)]
                at += len(value)
            else:
                args.append(value)
        outputs = FUNCTIONS[name].signature.outputs
        args += [1024, 1028] if outputs in {("data",), ("u32", "u32")} else [1024] * len(outputs)
        status = int(self.functions[name](*args))
        results: Any = memory.read(1024, 8)
        if status == 0 and outputs == ("data",):
            results = memory.read(memory.read_u32(1024), memory.read_u32(1028))
        states = [dict(stream.info.filter_state) for stream in self.streams]
        return status, results, self.guest.effective.id, states, self.lines


@contextmanager
def both(profile: str = "envoy", level: LogLevel = LogLevel.INFO) -> Iterator[tuple[Caller, ...]]:
    """A caller of the functions in C, and one of those in Python."""
    ours = Caller(profile, level)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("anywasm.abi.binding.native", None)
        theirs = Caller(profile, level)
    yield ours, theirs
    for caller in (ours, theirs):
        caller.guest.close()


def same(callers: tuple[Caller, ...], *call: Any) -> Any:
    """What both answer: at the first call, and where the path is known."""
    for _ in range(2):
        answers = [caller.call(*call) for caller in callers]
        assert answers[0] == answers[1], call
    return answers[0]


ENDPOINTS = st.sampled_from(
    [
        *(None, ("10.0.0.1", 80), ("::1", 65535), ("", 0), ("h\0st", 1), ("h", 2**63), ("h", -1)),
        *(("h\u00e9", 1), ("h", True), ["h", 1]),
    ]
)
NUMBERS = st.none() | st.sampled_from([0, -1, 5, 2**63 - 1, 2**63, 2**64 - 1, -(2**63), True])
TEXTS = st.sampled_from([None, "", "text", "t\u00e9xt", "with\0nul", "x" * 5000])
INFO = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(["source", "destination", "upstream", "upstream_local"], ENDPOINTS),
        **dict.fromkeys(["duration", "response_code"], NUMBERS),
        **dict.fromkeys(["start_time", "request_size", "connection_id"], NUMBERS.filter(bool)),
        **dict.fromkeys(["route_name", "cluster_name", "tls_version", "node_id"], TEXTS),
    },
)
PATHS = st.one_of(
    st.sampled_from(KNOWN),
    st.sampled_from(KNOWN).map(lambda path: path + b"\0"),
    st.sampled_from([b"k", b"k\0", b"k\0l", b"filter_state\0wasm.k", b"x_request_id", b"\0\0"]),
    st.sampled_from([b"request\0headers\0X", b"request\0headers\0x\0", b"response\0headers\0x"]),
    st.binary(max_size=8),
    st.just(b"x" * (MAX_PATH + 1)),
)
CALLS = st.lists(
    st.tuples(st.just("get_property"), PATHS)
    | st.tuples(st.just("set_property"), PATHS, st.binary(max_size=8)),
    max_size=10,
)


def fill(caller: Caller, info: dict[str, Any], headers: Any) -> None:
    """Let something be known about a stream."""
    for name, value in info.items():
        setattr(caller.streams[0].info, name, value)
    if headers is not None:
        caller.streams[0].maps[MapType.HTTP_REQUEST_HEADERS] = headers(REQUEST)


@settings(deadline=None, max_examples=200)
@given(
    st.sampled_from(["envoy", "higress"]),
    INFO,
    st.sampled_from([None, HeaderMap, PythonHeaderMap]),
    CALLS,
)
@example(
    "higress",
    {"route_name": "r"},
    None,
    [
        ("get_property", b"route_name"),
        ("set_property", b"route_name", b"mine"),
        ("get_property", b"route_name"),
    ],
)
def test_properties_are_the_same(
    profile: str, info: dict[str, Any], headers: Any, calls: list[tuple[Any, ...]]
) -> None:
    with both(profile) as callers:
        try:
            for caller in callers:
                fill(caller, info, headers)
        except TypeError:
            return  # the compiled class does not take what is none
        for call in calls:
            try:
                expected = callers[1].call(*call)
            except Exception as error:
                with pytest.raises(type(error)):
                    callers[0].call(*call)
                continue
            assert callers[0].call(*call) == expected, call


@pytest.mark.parametrize("profile", ["envoy", "higress"])
def test_every_known_path_is_answered_alike_everywhere(profile: str) -> None:
    info = {
        "start_time": 7, "duration": 8, "source": ("10.0.0.1", 4711), "destination": ("::1", 80),
        "upstream": ("h", 1), "upstream_local": ("::2", 2), "route_name": "r\u00e9",
        "tls_version": "v", "response_code": 200, "node_id": "",
    }  # fmt: skip
    with both(profile) as callers:
        for path in KNOWN:
            same(callers, "get_property", path)
        for caller in callers:
            fill(caller, info, HeaderMap)
        for path in KNOWN:
            same(callers, "get_property", path)
        for context in ("root", "base"):
            for caller in callers:
                caller.use(caller.root if context == "root" else caller.guest.base)
            for path in (*KNOWN, b"k", b"\0"):
                same(callers, "get_property", path)
            same(callers, "set_property", b"k", b"v")


def test_what_is_set_ends_at_the_same_limits() -> None:
    with both() as callers:
        for caller in callers:
            state = caller.streams[0].info.filter_state
            state.update({b"wasm.%d" % index: b"" for index in range(MAX_STATE - 1)})
        assert same(callers, "set_property", b"last", b"v")[0] == 0
        assert same(callers, "set_property", b"one more", b"v")[0] == 10
        assert same(callers, "set_property", b"0", b"changed")[0] == 0
        assert same(callers, "set_property", b"x" * MAX_PATH, b"v")[0] == 10
        for more in (-1, 0, 1):
            for caller in callers:
                state = caller.streams[0].info.filter_state
                state.clear()
                state[b"wasm.k"] = bytes(MAX_STATE_BYTES - 10)
            assert same(callers, "set_property", b"n", bytes(10 + more))[0] == (
                10 if more > 0 else 0
            )
        assert same(callers, "set_property", b"k", b"smaller")[0] == 0
        assert same(callers, "set_property", b"x" * MAX_PATH, b"v")[0] == 0
        assert same(callers, "set_property", b"x" * (MAX_PATH + 1), b"v")[0] == 1


@pytest.mark.parametrize("least", list(LogLevel))
def test_lines_are_kept_alike(least: LogLevel) -> None:
    with both(level=least) as callers:
        for level in (*range(8), 2**31, 2**32 - 1):
            status, *_, lines = same(callers, "log", level, b"l\xffne\0")
            assert status == (0 if level <= LogLevel.CRITICAL else 2)
            assert any(kept == level for kept, _ in lines) == (least <= level <= LogLevel.CRITICAL)
        assert same(callers, "get_log_level")[1][:4] == bytes([least, 0, 0, 0])
        assert same(callers, "get_current_time_nanoseconds")[1] == (2**63 + 5).to_bytes(8, "little")


@settings(deadline=None)
@given(
    st.none() | st.binary(max_size=40),
    st.sampled_from([*BufferType, 10, 99, 2**32 - 1]),
    st.integers(0, 50) | st.sampled_from([2**31, 2**32 - 1]),
    st.integers(0, 50) | st.sampled_from([2**31, 2**32 - 1]),
)
def test_buffers_are_read_alike(data: bytes | None, kind: int, start: int, size: int) -> None:
    with both() as callers:
        for caller in callers:
            if data is not None:
                caller.streams[0].buffers[:] = [Buffer(data) for _ in BufferType]
                caller.root.buffers[:] = [Buffer(b"of the root") for _ in BufferType]
        for number in (kind, 0, BufferType.HTTP_CALL_RESPONSE_BODY):
            same(callers, "get_buffer_bytes", int(number), start, size)
            same(callers, "get_buffer_status", int(number))


def test_contexts_are_chosen_alike() -> None:
    with both() as callers:
        numbers = {context.id for caller in callers for context in caller.streams}
        for number in (*numbers, callers[0].root.id, 0, 77, 2**31, 2**32 - 1):
            chosen = same(callers, "set_effective_context", number)
            assert chosen[0] == (0 if number in numbers | {callers[0].root.id} else 2)
        for caller in callers:
            caller.guest.end(caller.streams[1])
            caller.use(caller.streams[0])
        assert same(callers, "set_effective_context", callers[0].streams[1].id)[0] == 2


def test_each_has_an_equal_in_c() -> None:
    for name, function in FUNCTIONS.items():
        bound = native.accelerated(function.name, function.implementation)
        assert bound is not function.implementation, name
    assert {kind.name: kind.value for kind in PropertyKind} == {
        "OTHER": 0, "PLUGIN": 1, "TEXT": 2, "NUMBER": 3, "ADDRESS": 4, "PORT": 5,
        "REQUEST_HEADER": 6, "STATE": 7, "HIGRESS_TEXT": 8, "HIGRESS_MEMORY": 9,
    }  # fmt: skip


def test_usual_paths_need_no_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever has a kind is found without `resolve`."""
    with both("higress") as (ours, _):
        fill(ours, {"source": ("::1", 1), "route_name": "r"}, HeaderMap)
        for path in [*KNOWN, b"k"]:
            expected, known = ours.call("get_property", path), find_property(path)
            if known.kind is PropertyKind.OTHER:
                continue

            def refuse(context: Any) -> bytes:
                raise AssertionError("the function in Python was called")

            monkeypatch.setitem(FOUND, path, Property(refuse, known.kind, known.name))
            assert ours.call("get_property", path) == expected


def test_they_keep_nothing_of_what_they_let_go() -> None:
    with both("higress") as (ours, _):
        text = "".join(["a-route-of", "-a-test"])
        fill(ours, {"route_name": text, "source": ("::1", 1)}, HeaderMap)
        data = bytes(bytearray(b"the content of a buffer"))
        ours.streams[0].buffers[0] = Buffer(data)

        def once() -> None:
            for path in (*KNOWN, b"k", b"k\0l", b"x" * 5000):
                ours.call("get_property", path)
            for index in range(3):
                ours.call("set_property", b"k%d" % index, b"v" * 100)
            for kind in (0, 1, 4, 99):
                ours.call("get_buffer_status", kind)
                for start, size in ((0, 9), (0, 99), (5, 5), (99, 9)):
                    ours.call("get_buffer_bytes", kind, start, size)
            for number in (*(stream.id for stream in ours.streams), ours.root.id, 99):
                ours.call("set_effective_context", number)
            ours.use(ours.streams[0])
            for level in (0, 2, 9):
                ours.call("log", level, b"line")
            ours.call("get_current_time_nanoseconds")
            ours.call("get_log_level")
            ours.lines.clear()

        def count() -> tuple[int, ...]:
            gc.collect()
            info = ours.streams[0].info
            objects = (text, data, info, info.filter_state, FOUND, ours.guest, ours.root)
            more = (*ours.streams, *(function.implementation for function in FUNCTIONS.values()))
            return tuple(map(sys.getrefcount, (*objects, *more, *FOUND.values())))

        once()
        before, blocks = count(), sys.getallocatedblocks()
        for _ in range(30):
            once()
        assert count() == before
        assert sys.getallocatedblocks() - blocks < 30
