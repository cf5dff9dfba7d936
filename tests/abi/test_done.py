"""The end of contexts that a guest keeps: `proxy_on_done` answers 0, `proxy_done` follows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

KEPT = "done return 0\n"


def callback(guest: Any, context: Any, name: str, *args: int) -> None:
    guest.guest.call(context, getattr(guest.guest.callbacks, name), context.id, *args)


def test_a_kept_stream_waits_until_it_is_let_go(scripted: Callable[..., Any]) -> None:
    guest = scripted(KEPT + "request_headers proxy_done")
    stream = guest.guest.create_stream(guest.start())
    guest.said()
    guest.guest.end(stream)
    assert guest.said() == [f"done {stream.id}"]
    assert guest.guest.context(stream.id) is stream
    guest.guest.end(stream)
    assert guest.said() == []
    callback(guest, stream, "on_request_headers", 0, 1)
    assert guest.said() == [
        f"request_headers {stream.id} 0 1",
        "proxy_done = 0",
        f"log {stream.id}",
        f"delete {stream.id}",
    ]
    assert guest.guest.context(stream.id) is None


def test_a_kept_root_waits_until_it_is_let_go(scripted: Callable[..., Any]) -> None:
    guest = scripted(KEPT + "queue_ready proxy_done")
    root = guest.start()
    guest.guest.end(root)
    assert guest.said() == ["done 1"]
    callback(guest, root, "on_queue_ready", 1)
    assert guest.said() == ["queue_ready 1 1", "proxy_done = 0", "delete 1"]


def test_a_root_may_let_go_of_a_stream(scripted: Callable[..., Any]) -> None:
    guest = scripted(KEPT + "tick proxy_set_effective_context 2\ntick proxy_done")
    root = guest.start()
    stream = guest.guest.create_stream(root)
    guest.guest.end(stream)
    guest.said()
    callback(guest, root, "on_tick")
    assert guest.said()[1:] == [
        "proxy_set_effective_context = 0",
        "proxy_done = 0",
        "log 2",
        "delete 2",
    ]


@pytest.mark.parametrize("phase", ["context_create", "request_headers", "log", "delete"])
def test_who_keeps_nothing_has_nothing_to_let_go(scripted: Callable[..., Any], phase: str) -> None:
    guest = scripted(f"{phase} proxy_done")
    stream = guest.guest.create_stream(guest.start())
    callback(guest, stream, "on_request_headers", 0, 1)
    guest.guest.end(stream)
    said = guest.said()
    said.remove("proxy_done = 1")
    expected = ["context_create 2 1", "request_headers 2 0 1", "done 2", "log 2", "delete 2"]
    assert said == expected


@pytest.mark.parametrize("answer", [0, 1])
def test_letting_go_while_being_asked(scripted: Callable[..., Any], answer: int) -> None:
    guest = scripted(f"done proxy_done\ndone return {answer}")
    stream = guest.guest.create_stream(guest.start())
    guest.said()
    guest.guest.end(stream)
    assert guest.said() == ["done 2", "proxy_done = 0", "log 2", "delete 2"]


def test_letting_go_twice_deletes_once(scripted: Callable[..., Any]) -> None:
    guest = scripted(KEPT + "tick proxy_done\ntick proxy_done")
    root = guest.start()
    guest.guest.end(root)
    guest.said()
    callback(guest, root, "on_tick")
    assert guest.said() == ["tick 1", "proxy_done = 0", "proxy_done = 0", "delete 1"]


def test_closing_deletes_what_is_kept(scripted: Callable[..., Any]) -> None:
    guest = scripted(KEPT)
    root = guest.start()
    kept, living = guest.guest.create_stream(root), guest.guest.create_stream(root)
    guest.guest.end(kept)
    guest.said()
    guest.guest.close()
    assert guest.said() == [
        *("done 3", "log 3", "delete 3"),
        *("log 2", "delete 2"),
        *("done 1", "delete 1"),
    ]
    assert guest.guest.context(living.id) is None


def test_a_failed_guest_is_not_asked(scripted: Callable[..., Any]) -> None:
    guest = scripted(KEPT + "tick x")
    root = guest.start()
    stream = guest.guest.create_stream(root)
    with pytest.raises(Exception, match="unreachable"):
        callback(guest, root, "on_tick")
    guest.said()
    guest.guest.end(stream)
    guest.guest.close()
    assert guest.said() == []
    assert guest.guest.context(stream.id) is None


def test_contexts_that_have_gone_cannot_be_chosen(scripted: Callable[..., Any]) -> None:
    guest = scripted("tick proxy_set_effective_context 2")
    root = guest.start()
    guest.guest.end(guest.guest.create_stream(root))
    guest.said()
    callback(guest, root, "on_tick")
    assert guest.said() == ["tick 1", "proxy_set_effective_context = 2"]
