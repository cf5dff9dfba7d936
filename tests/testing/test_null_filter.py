from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest

from anywasm.abi.context import StreamContext
from anywasm.abi.enums import Action, LogLevel, MapType, Status
from anywasm.abi.guest import Guest
from anywasm.abi.headers import HeaderMap
from anywasm.abi.host import HostServices
from anywasm.abi.plugin import PluginIdentity
from anywasm.core.errors import TrapError
from anywasm.core.registry import get_wasm_engine
from anywasm.engines.null.library import export, register_guest, unregister_guest
from anywasm.testing.null_filter import HostCallError, NullFilter

IDENTITY = PluginIdentity("f")


class Filter(NullFilter):
    """Does on request headers what a test asks for."""

    host_functions = (
        "proxy_log",
        "proxy_get_current_time_nanoseconds",
        "proxy_get_buffer_status",
        "proxy_get_header_map_value",
        "proxy_add_header_map_value",
    )

    @export("i32 i32 i32 -> i32")
    def proxy_on_request_headers(self, context: int, count: int, end_of_stream: int) -> int:
        return type(self).act(self)

    @staticmethod
    def act(guest: NullFilter) -> int:
        return Action.CONTINUE


Act = Callable[[Callable[[NullFilter], int]], StreamContext]


@pytest.fixture
def lines() -> list[tuple[LogLevel, str]]:
    return []


@pytest.fixture
def act(lines: list[tuple[LogLevel, str]], monkeypatch: pytest.MonkeyPatch) -> Iterator[Act]:
    """Runs code as the guest, on a stream with the request header `name: value`."""
    register_guest("filter", Filter, replace=True)
    services = HostServices(
        log=lambda level, plugin, message: lines.append((level, message)),
        realtime=lambda: (1 << 63) + 5,
    )
    guest = Guest(get_wasm_engine("null").compile(b"filter"), IDENTITY, services)
    root = guest.create_root(IDENTITY)

    def run(code: Callable[[NullFilter], int]) -> StreamContext:
        monkeypatch.setattr(Filter, "act", staticmethod(code))
        stream = guest.create_stream(root)
        stream.maps[MapType.HTTP_REQUEST_HEADERS] = HeaderMap([(b"name", b"value")])
        assert guest.callbacks.on_request_headers is not None
        guest.call(stream, guest.callbacks.on_request_headers, stream.id, 1, 1)
        return stream

    yield run
    guest.close()
    unregister_guest("filter")


def test_data_crosses_in_both_directions(act: Act, lines: list[tuple[LogLevel, str]]) -> None:
    def code(guest: NullFilter) -> int:
        value = guest.call("proxy_get_header_map_value", MapType.HTTP_REQUEST_HEADERS, b"Name")
        guest.log(LogLevel.WARN, value.decode())
        guest.call("proxy_add_header_map_value", MapType.HTTP_REQUEST_HEADERS, b"empty", b"")
        return Action.CONTINUE

    headers = act(code).maps[MapType.HTTP_REQUEST_HEADERS]
    assert headers is not None
    assert headers.pairs == [(b"name", b"value"), (b"empty", b"")]
    assert lines == [(LogLevel.WARN, "value")]


def test_numbers_and_several_results(act: Act) -> None:
    seen: list[object] = []

    def code(guest: NullFilter) -> int:
        seen.append(guest.call("proxy_get_current_time_nanoseconds"))
        seen.append(guest.call("proxy_get_buffer_status", 0))
        seen.append(guest.call("proxy_log", LogLevel.INFO, b""))
        return Action.CONTINUE

    act(code)
    assert seen == [(1 << 63) + 5, (0, 0), None]


def test_what_is_not_ok_is_an_error_with_the_status(act: Act) -> None:
    seen: list[HostCallError] = []

    def code(guest: NullFilter) -> int:
        try:
            guest.call("proxy_get_header_map_value", MapType.HTTP_REQUEST_HEADERS, b"no")
        except HostCallError as error:
            seen.append(error)
        return Action.CONTINUE

    act(code)
    assert [(error.function, error.status) for error in seen] == [
        ("proxy_get_header_map_value", Status.NOT_FOUND)
    ]


def test_what_a_guest_does_not_catch_is_a_trap(act: Act) -> None:
    with pytest.raises(TrapError, match="proxy_get_header_map_value failed with status 2"):
        act(lambda guest: guest.call("proxy_get_header_map_value", 99, b"x") or 0)


def test_wrong_count_of_arguments_is_a_trap(act: Act) -> None:
    with pytest.raises(TrapError):
        act(lambda guest: guest.call("proxy_log", LogLevel.INFO) or 0)


def test_blocks_do_not_overlap_and_are_used_again(act: Act) -> None:
    seen: list[int] = []

    def code(guest: NullFilter) -> int:
        blocks = {guest.proxy_on_memory_allocate(size): size for size in (1, 16, 17, 100, 70_000)}
        ends = [(start, start + size) for start, size in sorted(blocks.items())]
        assert all(end <= start for (_, end), (start, _) in pairwise(ends))
        assert ends[0][0] > 0
        assert ends[-1][1] <= guest.memory.size
        for start in blocks:
            guest.free(start)
        before = guest.memory.size
        seen.extend(guest.proxy_on_memory_allocate(size) for size in blocks.values())
        assert set(seen) == set(blocks)
        assert guest.memory.size == before
        guest.free(0)
        return Action.CONTINUE

    act(code)
    assert len(set(seen)) == 5


def test_a_second_free_is_a_trap(act: Act) -> None:
    def code(guest: NullFilter) -> int:
        block = guest.proxy_on_memory_allocate(10)
        guest.free(block)
        guest.free(block)
        return Action.CONTINUE

    with pytest.raises(TrapError):
        act(code)


def test_memory_that_cannot_grow_is_address_0(act: Act, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Filter, "memory_maximum", 1)
    guest = Guest(get_wasm_engine("null").compile(b"filter"), IDENTITY, HostServices())
    assert guest.instance.exports["proxy_on_memory_allocate"](100_000) == 0
    assert guest.instance.exports["proxy_on_memory_allocate"](100) != 0
    guest.close()
