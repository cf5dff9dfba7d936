"""Streams begin and end in C as they do in Python."""

from __future__ import annotations

import math
import sys
import weakref
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

from anywasm.abi import contexts
from anywasm.abi.context import RootContext, StreamContext
from anywasm.abi.guest import Guest
from anywasm.abi.plugin import PluginIdentity
from anywasm.abi.stream_info import StreamInfo
from anywasm.core.errors import TrapError

NATIVE = hasattr(contexts, "NativeContexts")


class Way(NamedTuple):
    """How streams are made and ended."""

    begin: Callable[..., StreamContext]
    end: Callable[[Guest, StreamContext], None]


def _begin(guest: Guest, *args: Any) -> StreamContext:
    return guest.create_stream(*args)


def _end(guest: Guest, stream: StreamContext) -> None:
    guest.end(stream)


def _begin_in_python(guest: Guest, *args: Any) -> StreamContext:
    return contexts.Contexts.create_stream(guest.contexts, *args)


def _end_in_python(guest: Guest, stream: StreamContext) -> None:
    contexts.Contexts.end(guest.contexts, stream)


@pytest.fixture(params=["c", "python"])
def way(request: pytest.FixtureRequest) -> Way:
    """Both, where there is a C extension."""
    if request.param == "python":
        return Way(_begin_in_python, _end_in_python)
    if not NATIVE:
        pytest.skip("the C extension was not built")
    return Way(_begin, _end)


def _guest(start: Callable[..., Guest], module_text: Callable[..., str], **bodies: str) -> Guest:
    """A guest with such callbacks; each is given (what is pushed is what it answers)."""
    types = {
        "context_create": "(param i32 i32)",
        "done": "(param i32) (result i32)",
        "log": "(param i32)",
        "delete": "(param i32)",
    }
    parts = [
        f'(func (export "proxy_on_{name}") {types[name]} {body})' for name, body in bodies.items()
    ]
    return start(module_text(*parts), PluginIdentity("p"))


def _arguments(root: RootContext) -> tuple[Any, ...]:
    driver = SimpleNamespace(notify=lambda: None)
    return root, math.inf, ("a",), StreamInfo(), driver


def test_a_stream_is_made_of_what_is_given(way: Way, scripted: Callable[..., Any]) -> None:
    guest = scripted()
    root, deadline, chain, info, driver = _arguments(guest.start())
    stream = way.begin(guest.guest, root, deadline, chain, info, driver)
    assert guest.said() == [f"context_create {stream.id} {root.id}"]
    assert guest.guest.context(stream.id) is stream
    assert (stream.root, stream.plugin, stream.guest) == (root, root.plugin, guest.guest)
    assert (stream.deadline, stream.chain) == (deadline, chain)
    assert (stream.info, stream.driver) == (info, driver)
    plain = StreamContext(guest.guest, stream.id, root, deadline, chain, info, driver)
    for name in (*StreamContext.__slots__, "maps", "buffers"):
        assert getattr(stream, name) == getattr(plain, name), name
    way.end(guest.guest, stream)
    assert guest.said() == [f"done {stream.id}", f"log {stream.id}", f"delete {stream.id}"]
    assert guest.guest.context(stream.id) is None
    assert stream.driver is None
    way.end(guest.guest, stream)
    assert guest.said() == []


def test_a_stream_that_is_kept_is_not_driven(way: Way, scripted: Callable[..., Any]) -> None:
    guest = scripted("done return 0\ntick proxy_set_effective_context 2\ntick proxy_done")
    root = guest.start()
    stream = way.begin(guest.guest, *_arguments(root))
    way.end(guest.guest, stream)
    assert guest.said() == ["context_create 2 1", "done 2"]
    assert guest.guest.context(2) is stream
    assert stream.driver is None
    way.end(guest.guest, stream)
    assert guest.said() == []
    guest.guest.call(root, guest.guest.callbacks.on_tick, root.id)
    assert guest.said()[-2:] == ["log 2", "delete 2"]
    assert guest.guest.context(2) is None


def test_a_stream_whose_creation_traps_does_not_live(
    way: Way, start: Callable[..., Guest], module_text: Callable[..., str]
) -> None:
    guest = _guest(start, module_text, context_create="local.get 1 if unreachable end")
    root = guest.create_root(PluginIdentity("p"))
    with pytest.raises(TrapError):
        way.begin(guest, *_arguments(root))
    assert list(guest.contexts.living.values()) == [root]
    assert guest.failed is not None


@pytest.mark.parametrize("breaks", ["done", "log", "delete"])
def test_a_stream_that_traps_at_its_end_is_gone(
    way: Way, start: Callable[..., Guest], module_text: Callable[..., str], breaks: str
) -> None:
    bodies = {"done": "i32.const 1", "log": "", "delete": "", breaks: "unreachable"}
    guest = _guest(start, module_text, **bodies)
    root = guest.create_root(PluginIdentity("p"))
    first, second = (way.begin(guest, *_arguments(root)) for _ in range(2))
    with pytest.raises(TrapError):
        way.end(guest, first)
    assert guest.context(first.id) is None
    assert first.driver is None
    # What has failed is not asked again.
    way.end(guest, second)
    assert guest.context(second.id) is None
    assert second.driver is None
    assert list(guest.contexts.living.values()) == [root]
    assert not guest.contexts.ending


def test_an_export_may_be_missing(
    way: Way, start: Callable[..., Guest], module_text: Callable[..., str]
) -> None:
    guest = _guest(start, module_text)
    stream = way.begin(guest, *_arguments(guest.create_root(PluginIdentity("p"))))
    way.end(guest, stream)
    assert guest.context(stream.id) is None


def test_nothing_is_left_behind(way: Way, scripted: Callable[..., Any]) -> None:
    guest = scripted()
    arguments = _arguments(guest.start())

    def live() -> StreamContext:
        stream = way.begin(guest.guest, *arguments)
        way.end(guest.guest, stream)
        return stream

    live()
    before = [sys.getrefcount(held) for held in (*arguments, guest.guest)]
    for _ in range(100):
        live()
    assert [sys.getrefcount(held) for held in (*arguments, guest.guest)] == before
    left = weakref.ref(live())
    assert left() is None
