"""Host functions on header maps do the same in C and in Python."""

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
from anywasm.abi.enums import LogLevel, MapType
from anywasm.abi.guest import Guest
from anywasm.abi.headers import PythonHeaderMap
from anywasm.abi.host import HostServices
from anywasm.abi.limits import AbiLimits
from anywasm.abi.native import native
from anywasm.abi.pairs import Pair, encode_pairs
from anywasm.abi.plugin import PluginIdentity
from anywasm.abi.table import HOST_FUNCTIONS
from anywasm.core.registry import get_wasm_engine
from anywasm.engines.null.library import export, register_guest
from anywasm.testing.null_filter import NullFilter

pytestmark = pytest.mark.skipif(native is None, reason="there is no extension to compare")

NAMES = st.binary(max_size=4) | st.sampled_from(
    [b"", b":", b":path", b":PATH", b"::", b"a", b"A", b"aA", b"B-b", b"\0", b"a\r", b"a b"]
)
VALUES = st.sampled_from([b"", b"1", b"\0", b"a\r\nb: c", b"\xff\xfe", b"v" * 40]) | st.binary(
    max_size=60
)
PAIRS = st.lists(st.tuples(NAMES, VALUES), max_size=8)


class Idle(NullFilter):
    """A guest that has memory."""

    @export("i32 -> i32")
    def proxy_on_memory_allocate(self, size: int) -> int:
        """Memory for anything, time and again the same."""
        return 32768 if 0 < size <= 32768 else 0


class OldIdle(Idle):
    """One that speaks the oldest version."""

    proxy_abi_version_0_2_1 = None  # type: ignore[assignment]

    @export("->")
    def proxy_abi_version_0_1_0(self) -> None:
        """Marks the version."""


register_guest("idle_0_2_1", Idle)
register_guest("idle_0_1_0", OldIdle)

FUNCTIONS = {
    name.removeprefix("proxy_").replace("_header_map", ""): function
    for name, function in HOST_FUNCTIONS.items()
    if "_header_map_" in name
}
KINDS = st.sampled_from([0, 0, 0, 1, 2, 3, 4, 6, 7, 8, 99, 2**32 - 1])
CALLS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["get_size", "get_pairs"]), KINDS),
        st.tuples(st.sampled_from(["get_value", "remove_value"]), KINDS, NAMES),
        st.tuples(st.sampled_from(["add_value", "replace_value"]), KINDS, NAMES, VALUES),
        st.tuples(st.just("set_pairs"), KINDS, PAIRS.map(encode_pairs) | st.binary(max_size=30)),
    ),
    max_size=12,
)
LIMITS = st.sampled_from(
    [
        AbiLimits(),
        AbiLimits(pairs=3, pairs_bytes=64),
        AbiLimits(pairs=0),
        AbiLimits(pairs_bytes=0),
        AbiLimits(pairs=2**80, pairs_bytes=2**80),
        AbiLimits(pairs=-1, pairs_bytes=-1),
    ]
)


class Caller:
    """A guest, and what its host functions tell it."""

    def __init__(self, in_c: bool, limits: AbiLimits, version: str = "0_2_1") -> None:
        self.in_c = in_c
        self.lines: list[tuple[LogLevel, str]] = []
        identity = PluginIdentity("idle")
        services = HostServices(
            log=lambda level, plugin, line: self.lines.append((level, line)), limits=limits
        )
        module = get_wasm_engine("null").compile(f"idle_{version}".encode())
        self.guest = Guest(module, identity, services)
        self.stream = self.guest.create_stream(self.guest.create_root(identity))
        self.guest.effective = self.stream
        self.functions = {name: bind_host_function(f, self.guest) for name, f in FUNCTIONS.items()}

    def fill(self, pairs: list[Pair]) -> None:
        """Make maps available, some on the stream, some on its root."""
        cls: Any = native.HeaderMap if self.in_c else PythonHeaderMap
        for kind in (MapType.HTTP_REQUEST_HEADERS, MapType.HTTP_RESPONSE_TRAILERS):
            self.stream.maps[kind] = cls(pairs)
        self.stream.root.maps[MapType.HTTP_CALL_RESPONSE_HEADERS] = cls(pairs)

    def call(self, name: str, *values: Any) -> tuple[Any, ...]:
        """The status, the result, and what is left behind."""
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
        args += {"data": [1024, 1028], "u32": [1024]}[outputs[0]] if outputs else []
        status = int(self.functions[name](*args))
        result: Any = memory.read_u32(1024)
        if "data" in outputs:
            result = memory.read(result, memory.read_u32(1028))
        maps = [*self.stream.maps, *self.stream.root.maps]
        return status, result, [None if held is None else held.pairs for held in maps], self.lines

    def close(self) -> None:
        self.guest.close()


@contextmanager
def both(limits: AbiLimits, version: str = "0_2_1") -> Iterator[tuple[Caller, Caller]]:
    """A caller of the functions in C, and one of those in Python."""
    ours = Caller(True, limits, version)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("anywasm.abi.binding.native", None)
        theirs = Caller(False, limits, version)
    yield ours, theirs
    ours.close()
    theirs.close()


@settings(deadline=None)
@given(st.sampled_from(["0_2_1", "0_1_0"]), LIMITS, PAIRS, CALLS)
@example("0_2_1", AbiLimits(), [(b"a", b"1")], [("get_value", 0, b"b"), ("get_value", 0, b"A")])
@example("0_1_0", AbiLimits(), [(b"a", b"1")], [("get_value", 0, b"b"), ("get_value", 0, b"A")])
@example("0_2_1", AbiLimits(), [(b"a", b"1")], [("set_pairs", 0, b"\1\0\0\0")])
def test_host_functions_do_the_same(
    version: str, limits: AbiLimits, pairs: list[Pair], calls: list[tuple[Any, ...]]
) -> None:
    with both(limits, version) as (ours, theirs):
        for caller in (ours, theirs):
            caller.fill(pairs)
        for call in calls:
            assert ours.call(*call) == theirs.call(*call), call


@pytest.mark.parametrize("name", ["add_value", "replace_value"])
@pytest.mark.parametrize("more", [-1, 0, 1])
def test_limits_are_as_exact(name: str, more: int) -> None:
    limits = AbiLimits(pairs=4, pairs_bytes=400)
    with both(limits) as (ours, theirs):
        for caller in (ours, theirs):
            caller.fill([(b"a", b"v" * 100), (b"b", b"v" * 100)])
        # Many small ones are within every limit of bytes; a large one has to be counted.
        call = name, 0, b"c", b"v" * (400 - 202 - 1 + more)
        answers = [ours.call(*call), theirs.call(*call)]
        assert answers[0] == answers[1]
        assert answers[0][0] == (10 if more > 0 else 0)
        for kind, header in ((0, b"d"), (0, b"e"), (0, b"a"), (3, b"x"), (3, b"y"), (3, b"z")):
            assert ours.call(name, kind, header, b"") == theirs.call(name, kind, header, b"")
    count = [(b"k", b"v")] * (4 + more)
    with both(limits) as (ours, theirs):
        for caller in (ours, theirs):
            caller.fill([])
        answers = [caller.call("set_pairs", 0, encode_pairs(count)) for caller in (ours, theirs)]
        assert answers[0] == answers[1]
        assert answers[0][0] == (2 if more > 0 else 0)


@pytest.mark.parametrize("name", ["add_value", "replace_value"])
def test_every_byte_of_names_and_values_is_judged_alike(name: str) -> None:
    with both(AbiLimits(pairs=10_000)) as (ours, theirs):
        for caller in (ours, theirs):
            caller.fill([])
        for byte in range(256):
            one = bytes([byte])
            for header, value in (
                (one, b""), (b"n" + one, b""), (b":" + one, b""), (b"n", one), (b"n", b"v" + one),
            ):  # fmt: skip
                answers = [caller.call(name, 0, header, value) for caller in (ours, theirs)]
                assert answers[0] == answers[1], (header, value)


@settings(deadline=None)
@given(st.data())
def test_damaged_maps_are_refused_alike(data: st.DataObject) -> None:
    wire = bytearray(encode_pairs([(b"x-One", b"1"), (b":two", b""), (b"three", b"33")]))
    damage = data.draw(st.sampled_from(["byte", "cut", "more"]))
    if damage == "byte":
        at = data.draw(st.integers(0, len(wire) - 1))
        wire[at] = data.draw(st.sampled_from([0, 1, 2, 10, 0x7F, 0xFF]) | st.integers(0, 255))
    elif damage == "cut":
        del wire[data.draw(st.integers(0, len(wire) - 1)) :]
    else:
        wire += data.draw(st.binary(min_size=1, max_size=4))
    with both(AbiLimits(pairs=3)) as (ours, theirs):
        for caller in (ours, theirs):
            caller.fill([(b"a", b"1")])
        answer = ours.call("set_pairs", 0, bytes(wire))
        assert answer == theirs.call("set_pairs", 0, bytes(wire))
        assert answer[0] == 2 or damage != "more"


def test_maps_of_another_kind_are_left_to_python() -> None:
    """A driver may hold anything that does what a map does."""
    with both(AbiLimits()) as (ours, theirs):
        for caller in (ours, theirs):
            caller.stream.maps[0] = PythonHeaderMap([(b"a", b"1")])
        for call in (
            ("get_value", 0, b"A"), ("add_value", 0, b"b", b"2"), ("replace_value", 0, b"a", b"3"),
            ("get_size", 0), ("get_pairs", 0), ("remove_value", 0, b"a"),
            ("set_pairs", 0, encode_pairs([(b"X", b"1")])), ("get_pairs", 0),
        ):  # fmt: skip
            assert ours.call(*call) == theirs.call(*call), call
            assert ours.call(*call)[0] == 0 or call[0] == "get_value"
            theirs.call(*call)


def test_what_has_an_equal_in_c_is_bound_to_it() -> None:
    for name, function in FUNCTIONS.items():
        bound = native.accelerated(function.name, function.implementation)
        assert bound is not function.implementation, name
        assert bound.__self__ is function.implementation  # type: ignore[attr-defined]
    other = HOST_FUNCTIONS["proxy_done"]
    assert native.accelerated("proxy_done", other.implementation) is other.implementation


def test_host_functions_keep_nothing_of_what_they_let_go() -> None:
    with both(AbiLimits(pairs=5, pairs_bytes=400)) as (ours, _):
        value = bytes(bytearray(b"value-of-a-header"))
        wire = encode_pairs([(b"X-One", value), (b":two", b"2"), (b"three", b"3")])

        def once() -> None:
            ours.fill([(b"name", value), (b"name", value)])
            for kind in (0, 1, 3, 6, 99):
                for header in (b"name", b"NAME", b"absent", b"", b"\r", b":p"):
                    ours.call("get_value", kind, header)
                    ours.call("replace_value", kind, header, value)
                    ours.call("replace_value", kind, header, value * 30)
                    ours.call("add_value", kind, header, value)
                    ours.call("add_value", kind, header, value * 30)
                    ours.call("get_pairs", kind)
                    ours.call("remove_value", kind, header)
                ours.call("get_size", kind)
                for data in (wire, wire[:-1], wire + b"x", b"", b"\0", b"\xff" * 40):
                    ours.call("set_pairs", kind, data)
            ours.lines.clear()

        def count() -> tuple[int, ...]:
            gc.collect()
            implementations = [function.implementation for function in FUNCTIONS.values()]
            objects = (value, native.HeaderMap, ours.stream, ours.guest, *implementations)
            return tuple(map(sys.getrefcount, objects))

        once()
        before = count()
        blocks = sys.getallocatedblocks()
        for _ in range(30):
            once()
        assert count() == before
        assert sys.getallocatedblocks() - blocks < 30
